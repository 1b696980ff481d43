"""A cache of this machine with models of a hub, which are loaded without the hub, and a hub that has none."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

PINNED, NEWEST = "a" * 40, "b" * 40


def cache_of_hub(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, newest: str = "") -> Path:
    """An empty cache of a model, the only one that is looked into; returns the folder with a folder for each commit.

    Args:
        folder: where to.
        monkeypatch: of the test.
        name: of the model.
        newest: the commit that is loaded where none is named; empty: there is none.
    """
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    repository = folder / f"models--{name.replace('/', '--')}"
    (repository / "snapshots").mkdir(parents=True)
    if newest:
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(newest)
    return repository / "snapshots"


@contextmanager
def empty_hub(cache: Path, monkeypatch: pytest.MonkeyPatch, why: str) -> Iterator[None]:
    """A hub on this machine that is asked, and that answers every request with 404 and this code."""
    import huggingface_hub.constants as constants

    class Answer(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(404)
            self.send_header("X-Error-Code", why)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, address)
    changes = {"ENDPOINT": address, "HUGGINGFACE_CO_URL_TEMPLATE": template, "HF_HUB_OFFLINE": False, "HF_HUB_CACHE": str(cache)}
    for name, value in changes.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
