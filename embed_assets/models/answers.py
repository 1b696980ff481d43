"""What is asked of a language model, and what it answers: the same for every engine."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from embed_assets.models.settings import LanguageModelSettings

LIKELIEST_TOKENS = 20  # among which choices are looked for
ENDS = ("stop", "length")  # how an answer ends that would end the same if it were asked for again; not so "abort" or "error"

TOO_LONG = "longer than the model's context"
UNFINISHED = "unfinished"


class GenerationError(RuntimeError):
    """The language model cannot be asked any more; the message says why and what to do. Answers given until then are kept."""


@dataclass(frozen=True)
class Sampling:
    """How an answer is taken.

    Args:
        temperature: 0 is greedy.
        top_p: share of the probability mass that is kept.
        max_new_tokens: longest answer in tokens; a longer one is unfinished.
        stop: texts at which an answer ends.
        json_schema: JSON text of the schema that the answer must fit; "" for free text.
        choices: the answer is a JSON object with the log-probability of each of these as the next token, as far
            as they are among the likeliest; nothing is sampled then.
    """

    temperature: float = 0.8
    top_p: float = 0.95
    max_new_tokens: int = 40
    stop: tuple[str, ...] = ()
    json_schema: str = ""
    choices: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: LanguageModelSettings, stop: tuple[str, ...] = (), json_schema: str = "") -> Self:
        """The sampling that the settings of a model ask for.

        JSON is not forced on a model that thinks first, unless it is known where its reasoning ends: it could not think.
        """
        forced = json_schema if not settings.thinks or settings.reasoning_parser else ""
        return cls(settings.temperature, settings.top_p, settings.max_new_tokens, stop, forced)


@dataclass(frozen=True)
class Answer:
    """What a model answered to a prompt.

    Args:
        text: the answer; "" if there is none; what there is of one that is unfinished.
        problem: why there is no whole answer, in words; "" if there is one.
        final: whether asking again would end the same; an answer that is not final is not kept.
        prompt_tokens: length of the prompt.
        new_tokens: length of the answer.
    """

    text: str
    problem: str = ""
    final: bool = True
    prompt_tokens: int = 0
    new_tokens: int = 0


def problem_of(text: str, ended: str) -> str:
    """The problem of an answer that ended in one of ENDS; "" if it is whole."""
    return UNFINISHED if ended == "length" else "" if text else "empty"


class Engine(Protocol):
    """Something that answers prompts."""

    def answer(self, prompts: Sequence[str], seeds: Sequence[int], sampling: Sampling) -> Iterator[tuple[int, Answer]]:
        """Answer the prompts, each with its seed.

        Yields:
            The number of a prompt and its answer, in the order in which they are finished.

        Raises:
            GenerationError: the model cannot be asked any more.
        """

    def close(self) -> None: ...
