"""What keeps other web pages away from a server on this machine.

A page of somebody else that is open in the same browser can send requests to 127.0.0.1, and by DNS rebinding it can even
read the answers. So the name in the Host header has to be this machine's, a form has to come from a page of this server, and
what a page shows may load nothing from elsewhere.
"""

import secrets
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

NAMES = ("127.0.0.1", "localhost", "[::1]")
POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "img-src data:",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    # Not "no-referrer": browsers then say nothing of where a form comes from.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
LONGEST_FORM = 1_000_000  # bytes


class Guard:
    """Refuses what does not come from a page of this server, and sends the headers that keep documents inert.

    Args:
        app: what answers.
        port: where it is served.
    """

    def __init__(self, app: ASGIApp, port: int):
        self._app = app
        self._hosts = {f"{name}:{port}" for name in NAMES} | (set(NAMES) if port == 80 else set())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refusal = self._refusal(scope["method"], Headers(scope=scope))
        app = PlainTextResponse(refusal, status_code=403) if refusal else self._app
        await app(scope, receive, send_with_headers)

    def _refusal(self, method: str, headers: Headers) -> str:
        if headers.getlist("host") != [headers.get("host")] or headers["host"] not in self._hosts:
            return "this server answers to 127.0.0.1 and localhost alone"
        site = headers.get("sec-fetch-site", "same-origin")
        if method in ("GET", "HEAD"):
            # A link from elsewhere may be followed; nothing may be loaded from here into another page.
            navigates = headers.get("sec-fetch-mode", "navigate") == "navigate"
            return "" if site in ("same-origin", "none") or navigates else "another page may load nothing from here"
        origin = headers.get("origin", f"http://{headers['host']}")
        if site not in ("same-origin", "none") or urlsplit(origin).netloc != headers["host"]:
            return "a form has to come from a page of this server"
        if not headers.get("content-length", "").isdigit() or int(headers["content-length"]) > LONGEST_FORM:
            return "a form has to say its length, and may not be longer than a megabyte"
        return ""


def new_token() -> str:
    """What a form has to send along: another page cannot know it."""
    return secrets.token_urlsafe(32)


def is_token(sent: object, token: str) -> bool:
    """Whether a form sent the token, compared in constant time."""
    return isinstance(sent, str) and secrets.compare_digest(sent.encode(), token.encode())
