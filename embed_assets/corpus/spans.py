"""The table of chunks, and which chunk a span of a document falls in."""

import polars as pl

from embed_assets.text.languages import ENGLISH, find_language

CHUNK_SCHEMA = {
    "chunk_id": pl.String,
    "document_id": pl.String,
    "start": pl.Int64,
    "end": pl.Int64,
    "text": pl.String,
    "passage": pl.String,
    "tokens": pl.Int64,
}


def with_language(chunks: pl.DataFrame, language: str) -> pl.DataFrame:
    """The chunks with a column ``language``, the ISO 639-1 code of the collection's language.

    Args:
        chunks: with ``text``.
        language: the code, or "auto" to find it.
    """
    found = find_language(chunks["text"].to_list()) if language == "auto" else language
    return chunks.with_columns(pl.lit(found, pl.String).alias("language"))


def language_of(chunks: pl.DataFrame) -> str:
    """The language of a collection: that in the column ``language`` of its chunks, English where there is none."""
    return chunks["language"][0] if "language" in chunks.columns and len(chunks) else ENGLISH


class SpanIndex:
    """Finds the chunks that cover a character span of a document.

    Labels point to spans and not to chunks, so that they hold for every chunking.
    """

    def __init__(self, chunks: pl.DataFrame):
        self._spans: dict[str, list[tuple[int, int, int]]] = {}
        for row, (document_id, start, end) in enumerate(chunks.select("document_id", "start", "end").iter_rows()):
            self._spans.setdefault(document_id, []).append((start, end, row))

    def best(self, document_id: str, start: int, end: int) -> int | None:
        """Row of the chunk that covers most of the span; None if no chunk touches it."""
        covers = [(min(end, e) - max(start, s), -row) for s, e, row in self._spans.get(document_id, ())]
        cover, row = max(covers, default=(0, 0))
        return -row if cover > 0 else None

    def overlapping(self, document_id: str, start: int, end: int) -> list[int]:
        """Rows of the chunks that share at least half of the shorter of the two with the span."""
        return [
            row for s, e, row in self._spans.get(document_id, ()) if 2 * (min(end, e) - max(start, s)) >= min(end - start, e - s)
        ]
