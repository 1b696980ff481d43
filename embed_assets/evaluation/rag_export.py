"""Test queries with what was retrieved for them, as tools that evaluate retrieval-augmented generation read them."""

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from embed_assets.evaluation.evaluation_set import HUMAN, LOOKUP
from embed_assets.evaluation.labels import relevant_units

SYSTEM = "hybrid"


def rag_rows(
    queries: pl.DataFrame,
    labels: pl.DataFrame,
    chunks: pl.DataFrame,
    runs: pl.DataFrame,
    answers: Mapping[str, str],
    contexts: int = 5,
    system: str = SYSTEM,
) -> Iterator[dict[str, Any]]:
    """One row for each test query whose labels are chunks, in the order of the queries; look-ups are no questions.

    The names of the columns are those of ragas (https://docs.ragas.io): ``question``, ``contexts`` (the passages that the
    system found, best first) and ``ground_truth``. ``reference_contexts`` are the passages that answer it by the labels.
    ``answer``, which ragas asks for too, is what your own system generates.

    Args:
        queries: queries of the evaluation set.
        labels: its labels, as they apply to the documents (evaluation_set.current_labels).
        chunks: the collection's chunks.
        runs: the ``runs`` of scoring.Scores.
        answers: answers by query id; a query without one has no ``ground_truth``.
        contexts: how many passages.
        system: whose.
    """
    asked = queries.filter((pl.col("split") == "test") & ~pl.col("source").is_in([HUMAN, LOOKUP]))
    relevant = relevant_units(asked, labels, chunks, False)
    passages = dict(chunks.select("chunk_id", "passage").iter_rows())
    found = runs.filter(pl.col("system") == system).sort("query_id", "rank")
    units = dict(found.group_by("query_id", maintain_order=True).agg(pl.col("unit").head(contexts)).iter_rows())
    for row in asked.iter_rows(named=True):
        name = row["query_id"]
        references = [passages[unit] for unit in relevant.get(name, []) if unit in passages]
        if not references:  # its labels are gone
            continue
        yield {
            "question": row["query"],
            "contexts": [passages[unit] for unit in units.get(name, []) if unit in passages],
            **({"ground_truth": answers[name]} if name in answers else {}),
            "reference_contexts": references,
            "query_id": name,
            "style": row["style"],
            "source": row["source"],
        }
