"""Local HTTP servers that speak the OpenAI protocol, with scripted answers."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Reply:
    """What the scripted endpoint sends; it breaks the connection off when fewer bytes follow than announced."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    announced_bytes: int = 0


def answered(text: str = "Yes.", **changes) -> Reply:
    completion = {
        "choices": [{"index": 0, "text": text, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2},
    }
    return Reply(body=json.dumps(completion).encode(), **changes)


def failed(status: int, message: str = "", **changes) -> Reply:
    return Reply(status, json.dumps({"error": {"message": message}}).encode(), **changes)


def said(message: dict, ended: str = "stop") -> Reply:
    """A message of a chat."""
    completion = {
        "choices": [{"index": 0, "message": {"role": "assistant"} | message, "finish_reason": ended}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2},
    }
    return Reply(body=json.dumps(completion).encode())


def _asked(body: dict) -> str:
    return body["messages"][-1]["content"] if "messages" in body else body["prompt"]


class ScriptedEndpoint:
    """A local HTTP server whose answer to a prompt depends on how often that prompt was sent before."""

    def __init__(self, script: Callable[[str, int], Reply]):
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                reply = endpoint.receive({name.lower(): value for name, value in self.headers.items()}, body)
                time.sleep(reply.seconds)
                endpoint.leave()
                self.send_response(reply.status)
                headers = {"Content-Type": "application/json", "Content-Length": reply.announced_bytes or len(reply.body)}
                for name, value in (headers | reply.headers).items():
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(reply.body)

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request, client_address):
                pass

        self._script = script
        self._lock = threading.Lock()
        self._now = 0
        self.most_at_once = 0
        self.times: list[float] = []
        self.headers: list[dict] = []
        self.bodies: list[dict] = []
        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def prompts(self) -> list[str]:
        return [_asked(body) for body in self.bodies]

    def receive(self, headers: dict, body: dict) -> Reply:
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            before = self.prompts.count(_asked(body))
            self.times.append(time.monotonic())
            self.headers.append(headers)
            self.bodies.append(body)
        return self._script(_asked(body), before)

    def leave(self) -> None:
        with self._lock:
            self._now -= 1

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
