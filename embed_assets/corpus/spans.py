"""The table of chunks, and which chunk a span of a document falls in."""

from bisect import bisect_left, bisect_right
from itertools import accumulate

import polars as pl

from embed_assets.text.languages import ENGLISH, MOST_TEXTS_LOOKED_AT, find_language

CHUNK_SCHEMA = {
    "chunk_id": pl.String,
    "document_id": pl.String,
    "start": pl.Int64,
    "end": pl.Int64,
    "text": pl.String,
    "passage": pl.String,
    "tokens": pl.Int64,
}


def with_language(chunks: pl.LazyFrame, language: str) -> pl.LazyFrame:
    """The chunks with a column ``language``, the ISO 639-1 code of the collection's language.

    Args:
        chunks: with ``text``.
        language: the code, or "auto" to find it.
    """
    found = _find_language(chunks) if language == "auto" else language
    return chunks.with_columns(pl.lit(found, pl.String).alias("language"))


def _find_language(chunks: pl.LazyFrame) -> str:
    step = -(-chunks.select(pl.len()).collect().item() // MOST_TEXTS_LOOKED_AT) or 1
    return find_language(chunks.select(pl.col("text").gather_every(step)).collect(engine="streaming")["text"].to_list())


def language_of(chunks: pl.DataFrame) -> str:
    """The language of a collection: that in the column ``language`` of its chunks, English where there is none."""
    return chunks["language"][0] if "language" in chunks.columns and len(chunks) else ENGLISH


class SpanIndex:
    """Finds the chunks that cover a character span of a document.

    Labels point to spans and not to chunks, so that they hold for every chunking.
    """

    def __init__(self, chunks: pl.DataFrame):
        spans: dict[str, list[tuple[int, int, int]]] = {}
        for row, (document_id, start, end) in enumerate(chunks.select("document_id", "start", "end").iter_rows()):
            spans.setdefault(document_id, []).append((start, end, row))
        # Document → its spans by their starts, and the furthest end so far, which never falls: two bisections
        # find all that can touch a span.
        self._spans = {document_id: sorted(found) for document_id, found in spans.items()}
        self._ends = {
            document_id: list(accumulate((end for _, end, _ in found), max)) for document_id, found in self._spans.items()
        }

    def _touching(self, document_id: str, start: int, end: int) -> list[tuple[int, int, int]]:
        """(start, end, row) of the chunks that may share a character with the span."""
        spans = self._spans.get(document_id, [])
        return spans[bisect_right(self._ends.get(document_id, []), start) : bisect_left(spans, (end,))]

    def best(self, document_id: str, start: int, end: int) -> int | None:
        """Row of the chunk that covers most of the span; None if no chunk touches it."""
        covers = [(min(end, e) - max(start, s), -row) for s, e, row in self._touching(document_id, start, end)]
        cover, row = max(covers, default=(0, 0))
        return -row if cover > 0 else None

    def overlapping(self, document_id: str, start: int, end: int) -> list[int]:
        """Rows of the chunks that share at least half of the shorter of the two with the span."""
        return sorted(
            row
            for s, e, row in self._touching(document_id, start, end)
            if 2 * (min(end, e) - max(start, s)) >= min(end - start, e - s)
        )
