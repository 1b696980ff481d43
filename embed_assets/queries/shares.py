"""How many questions of each style, reasoning type and number of hops the writer is asked for."""

import itertools
import random
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TypeVar

from embed_assets.queries.prompts import Prompt
from embed_assets.queries.settings import QuestionsSettings

MULTI_HOP = "multi_hop"
MULTI_HOP_QUESTIONS = 2  # about one bundle
Name = TypeVar("Name", bound=Hashable)


def exact_counts(shares: Mapping[Name, float], whole: int) -> dict[Name, int]:
    """A whole number cut by shares, each part as near to its share as whole parts that add up can be."""
    ends = [0, *(round(whole * end / sum(shares.values())) for end in itertools.accumulate(shares.values()))]
    return {name: end - start for name, (start, end) in zip(shares, itertools.pairwise(ends), strict=True)}


def shares_of_prompts(prompts: Sequence[Prompt], settings: QuestionsSettings) -> Iterator[tuple[Prompt, int, bool]]:
    """Each prompt, how many calls it gets, and whether they show several chunks.

    In batch mode, multi-hop questions have calls of their own: what is asked about one chunk is then a label of that alone.
    """
    if settings.mode == "batch":
        multi_hop = round(settings.max_questions * settings.styles.get(MULTI_HOP, 0) / sum(settings.styles.values()))
        calls = {False: (settings.max_questions - multi_hop) // settings.questions_per_chunk}
        calls[True] = multi_hop // multi_hop_questions(settings)
        yield from ((prompts[0], count, several) for several, count in calls.items() if count)
        return
    counts = exact_counts(settings.styles, settings.max_questions)
    for prompt in prompts:
        yield prompt, counts[prompt.name], "passages" in prompt.variables


def multi_hop_questions(settings: QuestionsSettings) -> int:
    """How many questions one call in batch mode asks about a bundle."""
    return min(MULTI_HOP_QUESTIONS, settings.questions_per_chunk)


def deal_styles(passage: str, several: bool, settings: QuestionsSettings) -> tuple[tuple[str, int], ...]:
    """How many questions of each style one call in batch mode is to write.

    Each style gets its share of questions_per_chunk, rounded up or down by systematic sampling: where it begins to
    count is drawn from the passage, so that a new document does not change the prompts about the others, and over many
    calls the shares come out as stated.

    Args:
        passage: the first one that the call shows.
        several: whether it is for multi-hop questions alone.
        settings: the shares.
    """
    if several:
        return ((MULTI_HOP, multi_hop_questions(settings)),)
    return _deal(_styles_of_one_chunk(settings), settings.questions_per_chunk, f"{settings.seed} {passage}")


def deal_reasoning_types(
    questions: int, sample: int, passages: Sequence[str], settings: QuestionsSettings
) -> tuple[tuple[str, int], ...]:
    """How many questions of each reasoning type a call is to write: equal shares, dealt as the styles are."""
    return _deal(dict.fromkeys(settings.reasoning_types, 1.0), questions, f"{settings.seed} {sample} reasoning {passages}")


def questions_of_calls(calls: int, several: bool, style: str, settings: QuestionsSettings) -> Iterator[tuple[str, int]]:
    """What so many calls of a prompt ask for, in words: style, and hops where the prompt shows several chunks → questions.

    Args:
        calls: how many.
        several: whether they show several chunks.
        style: of the prompt; in batch mode, the calls have all styles.
        settings: the shares.
    """
    if several:
        each = multi_hop_questions(settings) if settings.mode == "batch" else 1
        name = MULTI_HOP if settings.mode == "batch" else style
        for hops, count in exact_counts(settings.hops, calls).items():
            yield f"{name} with {hops_in_words(hops)}", each * count
    elif settings.mode == "batch":
        yield from exact_counts(_styles_of_one_chunk(settings), calls * settings.questions_per_chunk).items()
    else:
        yield style, calls


def hops_in_words(hops: int) -> str:
    """As in "1 hop" and "2 hops"."""
    return f"{hops} hop{'' if hops == 1 else 's'}"


def _styles_of_one_chunk(settings: QuestionsSettings) -> dict[str, float]:
    return {style: share for style, share in settings.styles.items() if share and style != MULTI_HOP}


def _deal(shares: Mapping[str, float], whole: int, seed: str) -> tuple[tuple[str, int], ...]:
    """A whole number dealt by shares through systematic sampling, without what gets nothing."""
    draw = random.Random(seed)
    order = draw.sample(list(shares), len(shares))
    ends = [draw.random(), *(whole * shares[name] / sum(shares.values()) for name in order)]
    counts = [int(end) - int(start) for start, end in itertools.pairwise(itertools.accumulate(ends))]
    # The sum of floats may end a hair below the whole number that it stands for.
    counts[-1] += whole - sum(counts)
    dealt = dict(zip(order, counts, strict=True))
    return tuple((name, dealt[name]) for name in shares if dealt[name])
