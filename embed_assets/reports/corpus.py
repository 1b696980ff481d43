"""The report on corpus_chunks."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from embed_assets.corpus.checks import check_corpus
from embed_assets.corpus.files import SkippedDocument
from embed_assets.corpus.spans import language_of
from embed_assets.reports.writing import write_findings, write_summary, write_table


def write_corpus(folder: Path, documents: pl.DataFrame, skipped: Sequence[SkippedDocument], chunks: pl.DataFrame) -> None:
    """Report on corpus_chunks: counts, a preview, the files that were skipped, and what was left out of others."""
    tokens = chunks["tokens"]
    write_summary(
        folder,
        {
            "documents": len(documents),
            "skipped_documents": len(skipped),
            "language": language_of(chunks),
            "chunks": len(chunks),
            "tokens_per_chunk": round(float(tokens.mean()), 1),
            "longest_chunk": int(tokens.max()),
        },
    )
    write_table(folder, "preview", chunks.gather_every(max(1, len(chunks) // 8)).head(8).select("chunk_id", "tokens", "passage"))
    if skipped:
        write_table(folder, "skipped", pl.DataFrame(list(skipped)))
    if "notes" in documents.columns and len(noted := documents.filter(pl.col("notes") != "")):
        write_table(folder, "left_out", noted.select("document_id", "notes"))
    write_findings(folder, check_corpus(chunks, len(documents), len(skipped)))
