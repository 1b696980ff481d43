"""What can be wrong with documents and chunks."""

import polars as pl

from embed_assets.artifacts.checks import Check, Finding

MOST_DUPLICATES = 0.05
MOST_SKIPPED = 0.1

CORPUS_CHECKS = {
    "distinct_chunks": Check(f"At most {MOST_DUPLICATES:.0%} of the chunks repeat the text of another one."),
    "documents_read": Check(f"At most {MOST_SKIPPED:.0%} of the source files or rows were skipped."),
}


def check_corpus(chunks: pl.DataFrame, documents: int, skipped: int) -> list[Finding]:
    """distinct_chunks and documents_read."""
    repeated = len(chunks) - chunks["text"].n_unique()
    sources = documents + skipped
    return [
        Finding(
            "distinct_chunks",
            repeated <= MOST_DUPLICATES * len(chunks),
            f"{repeated} of {len(chunks)} chunks repeat the text of another one",
        ),
        Finding("documents_read", skipped <= MOST_SKIPPED * sources, f"{skipped} of {sources} source files or rows were skipped"),
    ]
