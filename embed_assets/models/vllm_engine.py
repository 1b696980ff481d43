"""vLLM in a process of its own, so that its memory is free afterwards."""

import contextlib
import itertools
import json
import logging
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from embed_assets.models.answers import Answer, GenerationError, Sampling
from embed_assets.models.hardware import Compute, visible_gpus
from embed_assets.models.locations import locate_model, model_digest
from embed_assets.models.settings import LanguageModelSettings

logger = logging.getLogger(__name__)
VISIBLE = "CUDA_VISIBLE_DEVICES"


class VllmEngine:
    """Runs vllm_worker.py and talks to it in JSON lines.

    Args:
        settings: the model.
        memos: folder of converted models.
        compute: device, and share of its memory.

    Raises:
        GenerationError: vLLM could not start; the message ends with the last lines that it wrote.
    """

    def __init__(self, settings: LanguageModelSettings, memos: Path, compute: Compute = Compute()):
        logger.info("starting vLLM with %s", settings.name)
        self._name = settings.name
        self._lock = threading.Lock()
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed by close()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "embed_assets.models.vllm_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=_environment(compute, settings.tensor_parallel_size),
        )
        try:
            self._send(
                {
                    "model": str(locate_model(settings.name)),
                    "converted_models": str(memos / "models" / model_digest(settings.name, settings.revision).replace("/", "--")),
                    "settings": settings.model_dump(mode="json"),
                    "memory_share": compute.memory_share,
                }
            )
            if not self._process.stdout.readline():
                raise self._failure()
        except BaseException:
            self._process.kill()
            self.close()
            raise
        self._batches = itertools.count()
        self._waiting: dict[int, queue.SimpleQueue[list[Any] | None]] = {}
        self._ended = False
        threading.Thread(target=self._read, daemon=True).start()

    def answer(self, prompts: Sequence[str], seeds: Sequence[int], sampling: Sampling) -> Iterator[tuple[int, Answer]]:
        """As in Engine; several threads may ask at once, and are answered together."""
        batch, answers = next(self._batches), queue.SimpleQueue[list[Any] | None]()
        self._waiting[batch] = answers
        left = len(prompts)
        try:
            if self._ended:
                raise self._failure()
            self._send({"batch": batch, "prompts": list(prompts), "seeds": list(seeds), "sampling": asdict(sampling)})
            while left:
                if (told := answers.get()) is None:
                    raise self._failure()
                left -= 1
                number, *answer = told
                yield number, Answer(*answer)
        finally:
            del self._waiting[batch]
            if left:  # whoever asked has given up: nothing else would end the process soon
                self._process.kill()

    def _read(self) -> None:
        """Give the answers to those who wait for them; at the end of the process, tell them so."""
        with contextlib.suppress(json.JSONDecodeError):  # the last line of one that was killed
            for line in self._process.stdout:
                for batch, *answer in json.loads(line)["answers"]:
                    if (answers := self._waiting.get(batch)) is not None:  # else whoever asked has given up
                        answers.put(answer)
        self._ended = True
        for answers in [*self._waiting.values()]:
            answers.put(None)

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def _send(self, message: dict) -> None:
        try:
            with self._lock:
                self._process.stdin.write(json.dumps(message) + "\n")
                self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failure() from None

    def _failure(self) -> GenerationError:
        self._process.wait(timeout=20)
        with self._lock:
            self._log.seek(0)
            last = "".join(self._log.readlines()[-15:])
        return GenerationError(f"vLLM with the model {self._name!r} failed:\n{last}")


def _environment(compute: Compute, gpus: int) -> dict[str, str]:
    """That of the process: vLLM takes the first GPUs that it sees, whatever device the others of a run compute on."""
    visible = visible_gpus(compute.device, gpus, os.environ.get(VISIBLE))
    return os.environ | ({} if visible is None else {VISIBLE: visible})
