"""vLLM's own server for the tests."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from embed_assets_tests.ports import free_port

START = """
import os, sys
from pathlib import Path
from embed_assets.models.locations import locate_model
from embed_assets.models.vllm_worker import convert_gguf

model = locate_model(sys.argv[1])
if model.suffix == ".gguf":
    model = convert_gguf(model, Path(sys.argv[2]))
options = ["--model", str(model), "--host", "127.0.0.1", "--port", sys.argv[3], "--enforce-eager"]
# In bfloat16, which not all CPUs have, so small a model gives other answers.
options += ["--dtype", "float32", *sys.argv[4:]]
os.execv(sys.executable, [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *options])
"""


class VllmServer:
    """A server that was started and may not be ready yet.

    Args:
        model: as in the settings.
        folder: for its log and a converted model.
        options: more of the server's options.
    """

    def __init__(self, model: str, folder: Path, options: str):
        self._port = free_port()
        environment = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
        with (folder / "log.txt").open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", START, model, str(folder / "model"), str(self._port), *options.split()],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def url(self) -> str:
        """Its base URL, once it is ready."""
        for _ in range(1500):
            assert self._process.poll() is None, "vLLM's server did not start"
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self._port}/health", timeout=5)
                return f"http://127.0.0.1:{self._port}/v1"
            except OSError:
                time.sleep(0.3)
        pytest.fail("vLLM's server did not become ready")

    def stop(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
