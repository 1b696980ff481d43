"""Which chunks the writer is asked about, and with which prompts."""

import hashlib
import itertools
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from embed_assets.models.encoders import Encoder
from embed_assets.queries.bundles import bundle_chunks
from embed_assets.queries.lookups import spread_over_documents
from embed_assets.queries.prompts import Prompt
from embed_assets.queries.settings import TASK_PROMPTS, QuestionsSettings
from embed_assets.text.identifiers import find_identifiers
from embed_assets.text.tokens import count_words

HEADING = re.compile(r"^#+ .*$", re.MULTILINE)
FEWEST_WORDS = 12  # of a chunk beside its headings; about less, nothing sensible is asked
MULTI_HOP = "multi_hop"
MULTI_HOP_QUESTIONS = 2  # about one bundle


@dataclass(frozen=True)
class Job:
    """One call of the writer.

    Args:
        prompt: what it is asked.
        rows: the chunks that it is shown.
        sample: tells calls with the same prompt apart.
        identifier: what a style with the variable ``identifier`` is to ask about.
        styles: in batch mode, how many questions of each style it is to write.
        written: in batch mode, questions about these chunks that are there already.
    """

    prompt: Prompt
    rows: tuple[int, ...]
    sample: int
    identifier: str = ""
    styles: tuple[tuple[str, int], ...] = ()
    written: tuple[str, ...] = ()

    @property
    def questions(self) -> int:
        """How many questions it is to write."""
        return sum(count for _, count in self.styles) if self.styles else 1


def plan_jobs(chunks: pl.DataFrame, prompts: Sequence[Prompt], encoder: Encoder | None, settings: QuestionsSettings) -> list[Job]:
    """The calls of the writer, so that every style has its share and the chunks are spread evenly over documents.

    Chunks that are hardly more than a heading are left out. Jobs of a style stand together: vLLM computes what
    their prompts have in common only once.

    Args:
        chunks: the collection's chunks.
        prompts: one for each style, or in batch mode the batch prompt.
        encoder: the base model, which finds related chunks for prompts that show several; None where no prompt does.
        settings: how many of which style.
    """
    identifiers = [find_identifiers(passage, settings.identifiers.all_patterns) for passage in chunks["passage"]]
    frequency = Counter(identifier for found in identifiers for identifier in found)
    says_something = [count_words(HEADING.sub("", text)) >= FEWEST_WORDS for text in chunks["text"]]
    rarest = [sorted(found, key=lambda identifier: (frequency[identifier], identifier)) for found in identifiers]
    jobs = []
    batch = settings.mode == "batch"
    for prompt, count, several in shares_of_prompts(prompts, settings):
        salt = f"{settings.seed} {MULTI_HOP if several else prompt.name}"
        order = [row for row in spread_over_documents(chunks, salt) if says_something[row]]
        samples = 1 if batch else settings.questions_per_chunk
        candidates = [
            (row, sample)
            for sample in range(samples)
            for row in order
            if "identifier" not in prompt.variables or sample < len(rarest[row])
        ][:count]
        if several and encoder is None:
            raise ValueError(f"the prompt {prompt.name!r} shows several passages: an encoder has to find them")
        related = (
            bundle_chunks(chunks, {row for row, _ in candidates}, says_something, encoder, settings)
            if several and encoder is not None
            else {}
        )
        for row, sample in candidates:
            if several and not related[row]:
                continue
            identifier = rarest[row][sample] if "identifier" in prompt.variables else ""
            styles = deal_styles(chunks["passage"][row], several, settings) if batch else ()
            jobs.append(Job(prompt, (row, *related.get(row, ())), sample, identifier, styles))
    return jobs


def deal_styles(passage: str, several: bool, settings: QuestionsSettings) -> tuple[tuple[str, int], ...]:
    """How many questions of each style one call in batch mode is to write.

    Each style gets its share of questions_per_chunk, rounded up or down by systematic sampling: where it begins to
    count is drawn from the passage, so that a new document does not change the prompts about the others, and over many
    calls the shares come out as stated.

    Args:
        passage: the first one that the call shows.
        several: whether it shows several, for multi-hop questions alone.
        settings: the shares.
    """
    if several:
        return ((MULTI_HOP, min(MULTI_HOP_QUESTIONS, settings.questions_per_chunk)),)
    shares = {style: share for style, share in settings.styles.items() if share and style != MULTI_HOP}
    return _deal(shares, settings.questions_per_chunk, f"{settings.seed} {passage}")


def deal_reasoning_types(job: Job, passages: Sequence[str], settings: QuestionsSettings) -> tuple[tuple[str, int], ...]:
    """How many questions of each reasoning type a job is to write: equal shares, dealt as the styles are."""
    return _deal(
        dict.fromkeys(settings.reasoning_types, 1.0), job.questions, f"{settings.seed} {job.sample} reasoning {passages}"
    )


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


def shares_of_prompts(prompts: Sequence[Prompt], settings: QuestionsSettings) -> Iterator[tuple[Prompt, int, bool]]:
    """Each prompt, how many calls it gets, and whether they show several chunks.

    In batch mode, multi-hop questions have calls of their own: what is asked about one chunk is then a label of that alone.
    """
    whole, share = sum(settings.styles.values()), 0.0
    if settings.mode == "batch":
        multi_hop = round(settings.max_questions * settings.styles.get(MULTI_HOP, 0) / whole)
        calls = {False: (settings.max_questions - multi_hop) // settings.questions_per_chunk}
        calls[True] = multi_hop // min(MULTI_HOP_QUESTIONS, settings.questions_per_chunk)
        yield from ((prompts[0], count, several) for several, count in calls.items() if count)
        return
    for prompt in prompts:
        before, share = share, share + settings.styles[prompt.name] / whole
        count = round(settings.max_questions * share) - round(settings.max_questions * before)
        yield prompt, count, "passages" in prompt.variables


def writing_prompts(prompts: Mapping[str, Prompt], settings: QuestionsSettings) -> list[Prompt]:
    """Those of the prompts, by name, that the writer is asked with in the first round."""
    if settings.mode == "batch":
        return [prompts["batch"]] if "batch" in prompts else []
    return [prompt for name, prompt in prompts.items() if name not in TASK_PROMPTS and settings.styles.get(name)]


def jobs_about_identifiers(
    chunks: pl.DataFrame, identifiers: Sequence[str], prompt: Prompt, attempt: int, settings: QuestionsSettings
) -> list[Job]:
    """One call for each of the identifiers.

    Args:
        chunks: the collection's chunks.
        identifiers: what to ask about.
        prompt: a style with the variable ``identifier``.
        attempt: from 0; each takes another chunk that names the identifier, or another sample of the same one.
        settings: what an identifier looks like, and how many samples plan_jobs has taken: none of them is asked for again.
    """
    naming: dict[str, list[int]] = {name: [] for name in identifiers}
    for row, passage in enumerate(chunks["passage"]):
        for name in find_identifiers(passage, settings.identifiers.all_patterns):
            if name in naming:
                naming[name].append(row)
    first = settings.questions_per_chunk
    return [
        Job(prompt, (rows[attempt % len(rows)],), first + attempt // len(rows), name) for name, rows in naming.items() if rows
    ]


def seed_of(seed: int, sample: int, prompt: str) -> int:
    """A seed of its own for each prompt: with one for all, every answer would begin alike."""
    return int.from_bytes(hashlib.sha256(f"{seed} {sample} {prompt}".encode()).digest()[:4], "big") >> 1
