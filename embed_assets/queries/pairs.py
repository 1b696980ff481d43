"""QA pairs: a query, and the chunk or chunks that answer it."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from embed_assets.text.near_duplicates import normalize_query

# A query that several chunks answer has one row for each of them, all with the same query_id.
PAIR_SCHEMA = {
    "query_id": pl.String,
    "query": pl.String,
    "style": pl.String,
    "document_id": pl.String,
    "start": pl.Int64,
    "end": pl.Int64,
    "writer": pl.String,
    "prompt": pl.String,
    "reasoning_type": pl.String,
    "complexity": pl.Int64,
    "dropped": pl.String,
    "answer": pl.String,
}
TEXT_WRITER = "text"
OWN_WRITER = "own"
IDENTIFIER, NEIGHBOUR = "identifier", "neighbour"
# The styles of look-ups, which TEXT_WRITER takes from the text.
LOOKUP_STYLES = (IDENTIFIER, "keyword", "sentence", NEIGHBOUR, "title")
# Brought by the user; written by a language model; taken from the text.
OWN, SYNTHETIC, LOOKUP = PAIR_SOURCES = ("own", "synthetic", "look-up")


def source_of(writer: str) -> str:
    """Where a pair is from, by its writer."""
    return {OWN_WRITER: OWN, TEXT_WRITER: LOOKUP}.get(writer, SYNTHETIC)


def with_column_of_chunks(rows: pl.DataFrame, chunks: pl.DataFrame, column: str) -> pl.DataFrame:
    """Rows about chunks, given by their spans, with a column of these; null where there is no such chunk."""
    spans = ["document_id", "start", "end"]
    return rows.join(chunks.select(*spans, column), on=spans, how="left", maintain_order="left")


def make_pairs(
    query: str,
    style: str,
    chunks: Iterable[Mapping[str, Any]],
    writer: str,
    prompt: str = "",
    reasoning_type: str | None = None,
    complexity: int | None = None,
    dropped: str | None = None,
    answer: str | None = None,
) -> list[dict[str, Any]]:
    """The rows of one query in PAIR_SCHEMA.

    Args:
        query: the query.
        style: its style.
        chunks: ``document_id``, ``start`` and ``end`` of each chunk that answers it.
        writer: the language model's name, TEXT_WRITER or OWN_WRITER.
        prompt: fingerprint of the prompt file.
        reasoning_type: what it takes to answer, if the writer said so.
        complexity: 1 (simple) to 5, if the writer said so.
        dropped: why it cannot be used.
        answer: the answer to it, if there is one.
    """
    spans = [(chunk["document_id"], chunk["start"], chunk["end"]) for chunk in chunks]
    # A query of people stays the same one when they click on something else.
    place = normalize_query(query) if writer == OWN_WRITER else spans[0] if len(spans) == 1 else spans
    name = f"{OWN_WRITER}\0{place}" if writer == OWN_WRITER else f"{style}\0{query}\0{place}"
    query_id = hashlib.sha256(name.encode()).hexdigest()[:16]
    return [
        dict(
            zip(
                PAIR_SCHEMA,
                (query_id, query, style, *span, writer, prompt, reasoning_type, complexity, dropped, answer),
                strict=True,
            )
        )
        for span in spans
    ]
