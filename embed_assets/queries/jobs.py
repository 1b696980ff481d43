"""Which chunks the writer is asked about, and with which prompts."""

import hashlib
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from embed_assets.models.encoders import Encoder
from embed_assets.queries.bundles import Bundles
from embed_assets.queries.lookups import spread_over_documents
from embed_assets.queries.prompts import Prompt
from embed_assets.queries.settings import TASK_PROMPTS, QuestionsSettings
from embed_assets.queries.shares import MULTI_HOP, deal_styles, exact_counts, shares_of_prompts
from embed_assets.text.columns import identifiers_of
from embed_assets.text.tokens import count_words

HEADING = re.compile(r"^#+ .*$", re.MULTILINE)
FEWEST_WORDS = 12  # of a chunk beside its headings; about less, nothing sensible is asked
MOST_TRIED = 5  # times as many chunks as bundles are wanted: others may have no relatives


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
    def hops(self) -> int:
        """How many of its chunks a multi-hop question of batch mode needs: all; 0 for other questions."""
        return len(self.rows) if dict(self.styles).keys() == {MULTI_HOP} else 0

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
    identifiers = list(identifiers_of(chunks, settings.identifiers.all_patterns))
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
        ]
        if several:
            if encoder is None:
                raise ValueError(f"the prompt {prompt.name!r} shows several passages: an encoder has to find them")
            bundles = Bundles(chunks, says_something, encoder, settings)
            shown = _with_related(candidates, count, bundles, chunks["passage"], settings)
        else:
            shown = [((row,), sample) for row, sample in candidates[:count]]
        for rows, sample in shown:
            identifier = rarest[rows[0]][sample] if "identifier" in prompt.variables else ""
            styles = deal_styles(chunks["passage"][rows[0]], several, settings) if batch else ()
            jobs.append(Job(prompt, rows, sample, identifier, styles))
    return jobs


def _with_related(
    candidates: Sequence[tuple[int, int]], count: int, bundles: Bundles, passages: pl.Series, settings: QuestionsSettings
) -> list[tuple[tuple[int, ...], int]]:
    """The first candidates that have enough related chunks, with these: each number of hops has its share of the count.

    How many hops a candidate gets is drawn from its passage as long as that number is still wanted, so that a new document
    hardly changes the prompts about the others.

    Args:
        candidates: row and sample, in the order in which they are taken.
        count: how many are wanted.
        bundles: finds what belongs together.
        passages: of all chunks.
        settings: the shares.
    """
    left = {hops: wanted for hops, wanted in exact_counts(settings.hops, count).items() if wanted}
    shown = []
    for row, sample in candidates[: MOST_TRIED * count]:
        if not left:
            break
        whole = (row, *bundles.around(row))
        possible = {hops for hops in left if hops <= len(whole)}
        if not possible:
            continue
        draw = random.Random(f"{settings.seed} {sample} hops {passages[row]}")
        hops = draw.choices(list(settings.hops), list(settings.hops.values()))[0]
        if hops not in possible:
            hops = max(possible)
        left[hops] -= 1
        left = {name: wanted for name, wanted in left.items() if wanted}
        shown.append((whole[:hops], sample))
    return shown


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
    for row, names in enumerate(identifiers_of(chunks, settings.identifiers.all_patterns)):
        for name in names:
            if name in naming:
                naming[name].append(row)
    first = settings.questions_per_chunk
    return [
        Job(prompt, (rows[attempt % len(rows)],), first + attempt // len(rows), name) for name, rows in naming.items() if rows
    ]


def seed_of(seed: int, sample: int, prompt: str) -> int:
    """A seed of its own for each prompt: with one for all, every answer would begin alike."""
    return int.from_bytes(hashlib.sha256(f"{seed} {sample} {prompt}".encode()).digest()[:4], "big") >> 1
