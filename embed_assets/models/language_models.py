"""Text generation with vLLM in a process of its own, so that its memory is free afterwards."""

import hashlib
import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from embed_assets.models.hardware import Compute
from embed_assets.models.locations import locate_model, model_digest
from embed_assets.progress import track
from embed_assets.settings import WriterSettings
from embed_assets.store import Memo

logger = logging.getLogger(__name__)

PROMPTS_IN_A_BATCH = 64


class GenerationError(RuntimeError):
    """The vLLM process failed; the message ends with the last lines that it wrote."""


class LanguageModel:
    """Answers prompts; every answer is kept in a memo, so no prompt is ever answered twice.

    Args:
        settings: model and sampling.
        memos: folder of the memos and of converted models.
        stop: texts at which an answer ends.
        compute: device and share of its memory.
    """

    def __init__(self, settings: WriterSettings, memos: Path, stop: Sequence[str] = ("\n",), compute: Compute = Compute()):
        self.settings = settings
        self.compute = compute
        self.stop = list(stop)
        self.memos = memos
        sampling = settings.model_dump(mode="json", exclude={"name"}) | {"stop": self.stop, "model": model_digest(settings.name)}
        self._sampling_key = json.dumps(sampling, sort_keys=True)
        self.memo = Memo(memos / "answers.sqlite")

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> tuple[list[str], int]:
        """Answer the prompts.

        Args:
            prompts: texts to continue.
            seeds: seed of the sampling of each prompt; the same prompt with another seed gives another answer.

        Returns:
            The answers in the order of the prompts, and how many of them came from the memo.

        Raises:
            GenerationError: vLLM could not start or died. The answers given until then are kept.
        """
        keys = [
            hashlib.sha256(f"{self._sampling_key}\0{seed}\0{prompt}".encode()).hexdigest()
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]
        known = self.memo.get_many(keys)
        todo = [i for i, key in enumerate(keys) if key not in known]
        if todo:
            with _VllmProcess(self.settings, self.memos, self.compute) as process:
                for start in track(range(0, len(todo), PROMPTS_IN_A_BATCH), f"writing {len(todo)} questions"):
                    batch = todo[start : start + PROMPTS_IN_A_BATCH]
                    answers = process.answer([prompts[i] for i in batch], [seeds[i] for i in batch], self.stop)
                    rows = [(keys[i], answer.encode()) for i, answer in zip(batch, answers, strict=True)]
                    self.memo.put_many(rows)
                    known.update(rows)
        return [known[key].decode() for key in keys], len(keys) - len(todo)


class _VllmProcess:
    """Runs vllm_worker.py and talks to it in JSON lines."""

    def __init__(self, settings: WriterSettings, memos: Path, compute: Compute):
        self._compute = compute
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed by __exit__
        self._settings = settings
        self._memos = memos

    def __enter__(self) -> "_VllmProcess":
        logger.info("starting vLLM with %s", self._settings.name)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "embed_assets.models.vllm_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        try:
            self._ask(
                {
                    "model": str(locate_model(self._settings.name)),
                    "converted_models": str(self._memos / "models" / model_digest(self._settings.name).replace("/", "--")),
                    "settings": self._settings.model_dump(mode="json"),
                    "memory_share": self._compute.memory_share,
                }
            )
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(timeout=20 if error is None else 1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def answer(self, prompts: list[str], seeds: list[int], stop: list[str]) -> list[str]:
        return self._ask({"prompts": prompts, "seeds": seeds, "stop": stop})["answers"]

    def _ask(self, message: dict) -> dict:
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            self._log.seek(0)
            last = "".join(self._log.readlines()[-15:])
            raise GenerationError(f"vLLM with the model {self._settings.name!r} failed:\n{last}") from None
