"""Notices of failures, sent to a real HTTP server and a real mail server on this machine."""

import email
import json
import logging
import socket
import threading
from collections.abc import Iterator
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from aiosmtpd.controller import Controller

from embed_assets.production.notices import Notice, NoticeError, send

NOTICE = Notice("embed_assets: checkpoint of routers failed", "checkpoint: CUDA out of memory\nRun 1234.")


class Handler(BaseHTTPRequestHandler):
    """Answers with the statuses of its server in turn, the last one for ever, and keeps what it got."""

    def do_POST(self):
        self.server.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        statuses = self.server.statuses
        self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *arguments):
        pass


class Webhook(ThreadingHTTPServer):
    """A server on this machine."""

    def __init__(self, *statuses: int):
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses, self.got = list(statuses), []
        self.url = f"http://127.0.0.1:{self.server_port}/hooks/T0PSECRET"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Sink:
    """Keeps the mails that it gets."""

    def __init__(self):
        self.mails: list[EmailMessage] = []

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 OK"


@pytest.fixture
def sink() -> Iterator[tuple[Sink, dict[str, str]]]:
    """A mail server on this machine, and the environment that names it."""
    sink = Sink()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    controller = Controller(sink, hostname="127.0.0.1", port=port)
    controller.start()
    yield sink, {"EMBED_ASSETS_SMTP_HOST": "127.0.0.1", "EMBED_ASSETS_SMTP_PORT": str(port)}
    controller.stop()


def test_a_webhook_gets_the_notice_as_text():
    webhook = Webhook(200)
    assert send(NOTICE, {"EMBED_ASSETS_WEBHOOK": webhook.url}) == ["webhook"]
    assert webhook.got == [{"text": f"{NOTICE.subject}\n{NOTICE.text}"}]


def test_a_server_that_is_busy_is_asked_again():
    webhook = Webhook(503, 200)
    assert send(NOTICE, {"EMBED_ASSETS_WEBHOOK": webhook.url}, pauses=(0.01,)) == ["webhook"]
    assert len(webhook.got) == 2


@pytest.mark.parametrize("status", [302, 404, 500])
def test_an_answer_that_is_no_success_is_a_failure_that_tells_no_secret(status: int, caplog: pytest.LogCaptureFixture):
    webhook = Webhook(status)
    caplog.set_level(logging.DEBUG)
    with pytest.raises(NoticeError, match=f"webhook: .*status {status}") as failure:
        send(NOTICE, {"EMBED_ASSETS_WEBHOOK": webhook.url}, pauses=(0.01,))
    assert len(webhook.got) == 2
    assert "T0PSECRET" not in str(failure.value) + caplog.text


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/T0PSECRET", "file:///T0PSECRET", "http://[T0PSECRET", "T0PSECRET"])
def test_an_address_that_cannot_be_used_is_not_repeated(address: str):
    with pytest.raises(NoticeError, match="EMBED_ASSETS_WEBHOOK") as failure:
        send(NOTICE, {"EMBED_ASSETS_WEBHOOK": address}, pauses=())
    assert "T0PSECRET" not in str(failure.value)


def test_mail_goes_to_all_receivers(sink):
    mails, environment = sink
    receivers = {"EMBED_ASSETS_MAIL_TO": "a@example.org, b@example.org", "EMBED_ASSETS_MAIL_FROM": "night@example.org"}
    assert send(NOTICE, environment | receivers) == ["mail"]
    (mail,) = mails.mails
    assert (mail["Subject"], mail["From"], mail["To"]) == (NOTICE.subject, "night@example.org", "a@example.org, b@example.org")
    assert mail.get_content().splitlines() == NOTICE.text.splitlines()


def test_a_password_is_not_sent_to_a_server_that_takes_none(sink):
    mails, environment = sink
    login = {"EMBED_ASSETS_SMTP_USER": "u", "EMBED_ASSETS_SMTP_PASSWORD": "T0PSECRET", "EMBED_ASSETS_MAIL_TO": "a@example.org"}
    with pytest.raises(NoticeError, match="mail: ") as failure:
        send(NOTICE, environment | login, pauses=())
    assert not mails.mails and "T0PSECRET" not in str(failure.value)


def test_one_way_that_fails_does_not_stop_the_other(sink):
    mails, environment = sink
    with pytest.raises(NoticeError, match=r"^webhook: "):
        send(NOTICE, environment | {"EMBED_ASSETS_WEBHOOK": "x", "EMBED_ASSETS_MAIL_TO": "a@example.org"}, pauses=())
    assert len(mails.mails) == 1


def test_secrets_and_line_breaks_of_a_subject_are_cut_out():
    webhook = Webhook(200)
    environment = {"EMBED_ASSETS_WEBHOOK": webhook.url, "EMBED_ASSETS_SMTP_PASSWORD": "hunter2"}
    text = f"{webhook.url} hunter2 s3://key:word@bucket/x\nhttps://account.example/c?sv=1&sig=s3cr3t Bearer s3cr3t"
    send(Notice("failed\nBcc: all@example.org", text), environment)
    hidden = "… … s3://…@bucket/x\nhttps://account.example/c?sv=1&sig=… Bearer …"
    assert webhook.got == [{"text": f"failed Bcc: all@example.org\n{hidden}"}]


def test_without_an_address_nothing_is_sent():
    assert send(NOTICE, {}) == []
