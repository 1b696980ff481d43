"""An object store on this machine: moto's server, which speaks S3 with conditional writes."""

import logging
import threading
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

BUCKET = "house"
SECRET_KEY = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"


@contextmanager
def s3_server() -> Iterator[str]:
    """A server with a bucket, which the environment names for as long; returns the address of the bucket."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app, lock = DomainDispatcherApplication(create_backend_app), threading.Lock()

    def one_at_a_time(environment: dict[str, Any], respond: Callable[..., Any]) -> Iterable[bytes]:
        # S3 looks at the condition and writes in one step; moto does so in two, between which others may write.
        with lock:
            return list(app(environment, respond))

    server = make_server("127.0.0.1", 0, one_at_a_time, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    urllib.request.urlopen(urllib.request.Request(f"{url}/{BUCKET}", method="PUT")).close()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", url)
        environment.setenv("AWS_ALLOW_HTTP", "true")
        environment.setenv("AWS_REGION", "us-east-1")
        environment.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        environment.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        yield f"s3://{BUCKET}"
    server.shutdown()
