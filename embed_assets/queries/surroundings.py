"""What stands around the chunks that the writer is shown."""

import itertools
from collections.abc import Callable, Sequence

import polars as pl

from embed_assets.queries.jobs import Job
from embed_assets.queries.settings import QuestionsSettings
from embed_assets.text.columns import rows_of

CHARACTERS_OF_A_TOKEN = 3  # fewer than in English text, so that tables and other languages have room too
TOKENS_OF_INSTRUCTIONS = 700


def surroundings(chunks: pl.DataFrame, settings: QuestionsSettings) -> Callable[[Job], str]:
    """A function that gives the text around the chunks of a job: the rest of their section or document, as far as there is room.

    There is room for what the writer's context holds beside the passages, the instructions and the answer. Where that is
    less than the whole, what stands next to a chunk comes first.

    Args:
        chunks: the collection's chunks.
        settings: how much is shown, and the writer.
    """
    if settings.context == "chunk" or settings.mode == "single":
        return lambda job: ""
    writer = settings.writer
    room = (writer.max_model_tokens - writer.max_new_tokens - TOKENS_OF_INSTRUCTIONS) * CHARACTERS_OF_A_TOKEN
    texts = chunks["text"].to_list()
    headers = [passage.removesuffix(text) for passage, text in chunks.select("passage", "text").iter_rows()]
    sections = headers if settings.context == "section" else [""] * len(headers)
    group_of = list(zip(chunks["document_id"], sections, strict=True))
    groups = rows_of(group_of)

    def around(job: Job) -> str:
        left = room - sum(len(headers[row]) + len(texts[row]) for row in job.rows)
        taken: set[int] = set()
        nearest = [_nearest_first(groups[group_of[row]], row) for row in job.rows]
        for row in itertools.chain.from_iterable(itertools.zip_longest(*nearest)):
            if row is None or row in job.rows or row in taken:
                continue
            if len(texts[row]) > left:
                break
            taken.add(row)
            left -= len(texts[row])
        return "\n\n".join(texts[row] for row in sorted(taken))

    return around


def _nearest_first(rows: Sequence[int], row: int) -> list[int]:
    return sorted(rows, key=lambda other: (abs(other - row), other))
