"""Telling people of failures: by a webhook, by mail, or both, as the environment says.

Nothing here ever logs or raises an address, a password or what a server answered: webhook addresses are secrets.
"""

import os
import smtplib
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from json import dumps

from embed_assets.artifacts.secrets import hide_secrets

WEBHOOK = "EMBED_ASSETS_WEBHOOK"
SMTP_HOST, SMTP_PORT = "EMBED_ASSETS_SMTP_HOST", "EMBED_ASSETS_SMTP_PORT"
SMTP_USER, SMTP_PASSWORD = "EMBED_ASSETS_SMTP_USER", "EMBED_ASSETS_SMTP_PASSWORD"
MAIL_FROM, MAIL_TO = "EMBED_ASSETS_MAIL_FROM", "EMBED_ASSETS_MAIL_TO"
SECRETS = (WEBHOOK, SMTP_PASSWORD)
NOWHERE = f"nobody is told: set {WEBHOOK}, or {SMTP_HOST} and {MAIL_TO}"
TIMEOUT = 20.0  # seconds
PAUSES = (1.0, 4.0)  # seconds between tries
IMPLICIT_TLS = 465


class NoticeError(RuntimeError):
    """A notice did not arrive; the message says by which way and why."""


@dataclass(frozen=True)
class Notice:
    """What people are told: one line, and the rest."""

    subject: str
    text: str


def send(notice: Notice, environment: Mapping[str, str] | None = None, pauses: tuple[float, ...] = PAUSES) -> list[str]:
    """Send a notice by every way that the environment names; each is tried a few times.

    Args:
        notice: what to say. Secrets of the environment, and what is secret in addresses and headers, are cut out of it.
        environment: ``EMBED_ASSETS_WEBHOOK`` is an address that takes ``{"text": ...}`` as JSON, as those of Slack,
            Mattermost and Teams do. Mail goes from ``EMBED_ASSETS_MAIL_FROM`` to ``EMBED_ASSETS_MAIL_TO`` (several with
            commas) through ``EMBED_ASSETS_SMTP_HOST`` and ``_PORT`` (25; 465 is TLS from the first byte, elsewhere TLS
            begins if the server offers it), with ``_USER`` and ``_PASSWORD`` if there are any. None: os.environ.
        pauses: seconds before each further try.

    Returns:
        The ways by which it was sent; empty if the environment names none.

    Raises:
        NoticeError: one way failed for good; the others were still tried.
    """
    environment = os.environ if environment is None else environment
    secrets = [environment.get(name, "") for name in SECRETS]
    clean = Notice(*(hide_secrets(text, *secrets) for text in (" ".join(notice.subject.split()), notice.text)))
    ways: dict[str, Callable[[Notice, Mapping[str, str]], None]] = {}
    if environment.get(WEBHOOK):
        ways["webhook"] = _post
    if environment.get(SMTP_HOST):
        ways["mail"] = _mail
    failures = [f"{way}: {reason}" for way, by in ways.items() if (reason := _try(by, clean, environment, pauses))]
    if failures:
        raise NoticeError("; ".join(failures))
    return list(ways)


def _try(
    by: Callable[[Notice, Mapping[str, str]], None], notice: Notice, environment: Mapping[str, str], pauses: tuple[float, ...]
) -> str:
    """Why it failed the last time; empty if it did not."""
    reason = ""
    for pause in (0.0, *pauses):
        time.sleep(pause)
        try:
            by(notice, environment)
            return ""
        except NoticeError as error:
            reason = str(error)
    return reason


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would arrive as a GET without its text."""

    def redirect_request(self, *arguments: object) -> None:
        return None


def _post(notice: Notice, environment: Mapping[str, str]) -> None:
    address = environment[WEBHOOK]
    if not address.startswith(("https://", "http://")):
        raise NoticeError(f"{WEBHOOK} does not begin with https:// or http://")
    body = dumps({"text": f"{notice.subject}\n{notice.text}"}).encode()
    try:
        request = urllib.request.Request(address, body, {"Content-Type": "application/json"}, method="POST")
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT):
            pass
    except urllib.error.HTTPError as error:
        raise NoticeError(f"the address in {WEBHOOK} answered with status {error.code}") from None
    except (OSError, ValueError) as error:  # the message of a ValueError holds the address
        raise NoticeError(f"the address in {WEBHOOK} cannot be reached ({type(error).__name__})") from None


def _mail(notice: Notice, environment: Mapping[str, str]) -> None:
    receivers = [name.strip() for name in environment.get(MAIL_TO, "").split(",") if name.strip()]
    if not receivers:
        raise NoticeError(f"{MAIL_TO} is empty")
    message = EmailMessage()
    message["Subject"] = notice.subject
    message["From"] = environment.get(MAIL_FROM) or receivers[0]
    message["To"] = ", ".join(receivers)
    message.set_content(notice.text)
    try:
        port = int(environment.get(SMTP_PORT) or 25)
        with _connect(environment[SMTP_HOST], port) as server:
            if environment.get(SMTP_USER):
                server.login(environment[SMTP_USER], environment.get(SMTP_PASSWORD, ""))
            server.send_message(message)
    except smtplib.SMTPResponseException as error:
        raise NoticeError(f"the server in {SMTP_HOST} answered with status {error.smtp_code}") from None
    except (OSError, ValueError, smtplib.SMTPException) as error:
        raise NoticeError(f"the server in {SMTP_HOST} cannot be used ({type(error).__name__})") from None


def _connect(host: str, port: int) -> smtplib.SMTP:
    secure = ssl.create_default_context()
    if port == IMPLICIT_TLS:
        return smtplib.SMTP_SSL(host, port, timeout=TIMEOUT, context=secure)
    server = smtplib.SMTP(host, port, timeout=TIMEOUT)
    server.ehlo()
    if server.has_extn("starttls"):
        server.starttls(context=secure)
        server.ehlo()
    return server
