"""The report on corpus_chunks."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from embed_assets.corpus.checks import check_corpus
from embed_assets.corpus.files import SkippedDocument
from embed_assets.corpus.spans import language_of
from embed_assets.reports.writing import write_findings, write_summary, write_table


def write_corpus(folder: Path, skipped: Sequence[SkippedDocument]) -> None:
    """Report on corpus_chunks: counts, a preview, the files that were skipped, and what was left out of others.

    Args:
        folder: has documents.parquet and chunks.parquet; their texts are read part by part.
        skipped: files or rows, each with the reason.
    """
    documents, chunks = (pl.scan_parquet(folder / name) for name in ("documents.parquet", "chunks.parquet"))
    counts = {
        "chunks": pl.len(),
        # Their hashes: a set of all texts would take the memory of the table.
        "texts": pl.col("text").hash().n_unique(),
        "tokens_per_chunk": pl.col("tokens").mean(),
        "longest_chunk": pl.col("tokens").max(),
    }
    found = chunks.select(**counts).collect(engine="streaming").row(0, named=True)
    number, language = documents.select(pl.len()).collect().item(), language_of(chunks.head(1).collect())
    write_summary(
        folder,
        {
            "documents": number,
            "skipped_documents": len(skipped),
            "language": language,
            "chunks": found["chunks"],
            "tokens_per_chunk": round(found["tokens_per_chunk"], 1),
            "longest_chunk": found["longest_chunk"],
        },
    )
    preview = chunks.select("chunk_id", "tokens", "passage").gather_every(max(1, found["chunks"] // 8)).head(8)
    write_table(folder, "preview", preview.collect(engine="streaming"))
    if skipped:
        write_table(folder, "skipped", pl.DataFrame(list(skipped)))
    if "notes" in documents.collect_schema():
        noted = documents.filter(pl.col("notes") != "").select("document_id", "notes").collect(engine="streaming")
        if len(noted):
            write_table(folder, "left_out", noted)
    write_findings(folder, check_corpus(found["chunks"], found["texts"], language, number, len(skipped)))
