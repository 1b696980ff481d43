"""Which units answer which test query."""

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from embed_assets.corpus.spans import SpanIndex
from embed_assets.evaluation.evaluation_set import HUMAN, OWN, SYNTHETIC, Split

# Stands for what a label points to if there is no such thing any more: the query counts as not answered.
NO_SUCH_UNIT = "(no such unit)"


def tested_queries(queries: pl.DataFrame, labels: pl.DataFrame, split: Split = "test") -> Iterator[tuple[str, pl.DataFrame]]:
    """The queries of a split that have a label, for each label source that has any, human first."""
    labelled = pl.col("query_id").is_in(labels["query_id"].to_list())
    for source in (HUMAN, OWN, SYNTHETIC):
        tested = queries.filter((pl.col("source") == source) & (pl.col("split") == split) & labelled).sort("query_id")
        if len(tested):
            yield source, tested


def relevant_units(
    queries: pl.DataFrame, labels: pl.DataFrame, chunks: pl.DataFrame, by_document: bool
) -> dict[str, dict[str, int]]:
    """Query id → unit → relevance; NO_SUCH_UNIT where the labels of a query point to nothing that exists any more.

    Args:
        queries: queries of one label source.
        labels: labels of these and other queries.
        chunks: the collection's chunks.
        by_document: whether the units are documents, else chunks.
    """
    relevant: dict[str, dict[str, int]] = {name: {} for name in queries["query_id"]}
    spans, chunk_ids = SpanIndex(chunks), chunks["chunk_id"]
    known_documents = set(chunks["document_id"])
    for label in labels.iter_rows(named=True):
        if label["query_id"] not in relevant:
            continue
        if by_document:
            units = [label["document_id"]] if label["document_id"] in known_documents else []
        else:
            units = [chunk_ids[row] for row in spans.overlapping(label["document_id"], label["start"], label["end"])]
        relevant[label["query_id"]].update(dict.fromkeys(units, label["relevance"]))
    return {name: found or {NO_SUCH_UNIT: 1} for name, found in relevant.items()}


def own_units(relevant: Mapping[str, Mapping[str, int]], units: Sequence[str]) -> dict[int, int]:
    """Place of a query → place of the unit with the same id, which does not count when it is found.

    In sets such as ArguAna each query is a document as well, and BEIR leaves it out of the hits (``ignore_identical_ids``
    of its EvaluateRetrieval). Here it stays where it is labelled as an answer, as in sets that number queries and documents
    alike.

    Args:
        relevant: from relevant_units, in the order of the queries.
        units: ids of the units that are searched.
    """
    places = {unit: place for place, unit in enumerate(units)}
    return {row: places[name] for row, (name, found) in enumerate(relevant.items()) if name in places and name not in found}
