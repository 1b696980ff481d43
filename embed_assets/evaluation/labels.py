"""Which units answer which query, and which queries decide."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from embed_assets.corpus.spans import SpanIndex
from embed_assets.evaluation.evaluation_set import LOOKUP, LOST_LABELS, SOURCES, SYNTHETIC, Split
from embed_assets.evaluation.metrics import NO_SUCH_UNIT

# So many queries of a label source are enough to decide by. A difference of .05 nDCG@10 is about a standard error then.
FEWEST_TO_DECIDE = 30
# Written questions are of the writer, the styles and the prompts of those that were trained on. On six collections they showed
# a gain that was .04 nDCG@10 larger than people's on average, and .13 larger on one where people lost: see docs/proof.md.
FLATTERY = 0.1


def shows_gain(source: str, difference: float, low: float, p_value: float, significance: float) -> bool:
    """Whether a test on the queries of a label source shows that a model is better.

    It has to be significant, and on written questions more than they flatter: the whole 95% interval lies above FLATTERY.
    Look-ups show nothing.

    Args:
        source: of the queries.
        difference, low, p_value: of the test: the mean, the lower end of its interval, and how likely it is by chance.
        significance: below which p-value a difference counts.
    """
    if source == LOOKUP:
        return False
    return difference > 0 and p_value < significance and (source != SYNTHETIC or low > FLATTERY)


def tested_queries(queries: pl.DataFrame, labels: pl.DataFrame, split: Split = "test") -> Iterator[tuple[str, pl.DataFrame]]:
    """The queries of a split that have a label, for each label source that has any, human first, look-ups last."""
    labelled = pl.col("query_id").is_in(labels["query_id"].to_list())
    for source in SOURCES:
        tested = queries.filter((pl.col("source") == source) & (pl.col("split") == split) & labelled).sort("query_id")
        if len(tested):
            yield source, tested


def label_counts(queries: pl.DataFrame, labels: pl.DataFrame, source: str, split: Split) -> dict[str, int]:
    """How many labels of a source and split apply to the documents as they are now, ``there``, and how many no more, ``lost``.

    Args:
        queries: of read_evaluation_set; without its counts, none is lost.
        labels: as they apply now.
        source, split: whose.
    """
    asked = queries.filter((pl.col("source") == source) & (pl.col("split") == split))
    there = labels.filter(pl.col("query_id").is_in(asked["query_id"].to_list())).height
    return {"there": there, "lost": int(asked[LOST_LABELS].sum()) if LOST_LABELS in asked.columns else 0}


def deciding_source(counts: Mapping[str, int]) -> str | None:
    """The label source to decide by: the first of SOURCES with enough queries, else the one with most of them.

    Look-ups are words of the text itself: they decide only where there is nothing else, and prove nothing about what
    people ask.

    Args:
        counts: label source → number of queries.

    Returns:
        None where there is no query.
    """
    usable = {source: counts[source] for source in SOURCES if counts.get(source)}
    trusted = {source: count for source, count in usable.items() if source != LOOKUP}
    enough = [source for source, count in trusted.items() if count >= FEWEST_TO_DECIDE]
    return next(iter([*enough, *sorted(trusted, key=lambda source: -trusted[source]), *usable]), None)


def dev_queries_to_decide(queries: pl.DataFrame, labels: pl.DataFrame) -> tuple[str | None, pl.DataFrame]:
    """The dev queries that settings are chosen by, never look-ups: the deciding source, and its queries that have a label.

    Whether they are enough, FEWEST_TO_DECIDE, is for the caller to ask.

    Args:
        queries: of the evaluation set, of all splits.
        labels: of the queries, as they apply now.

    Returns:
        None and no query where there are look-ups alone.
    """
    sources = {source: found for source, found in tested_queries(queries, labels, "dev") if source != LOOKUP}
    source = deciding_source({name: len(found) for name, found in sources.items()})
    return source, sources.get(source or "", queries.clear())


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


def query_clusters(queries: pl.DataFrame, labels: pl.DataFrame) -> list[str | None]:
    """The document that each query is about: of those that answer it, the one that most of the queries are about.

    Queries about one document are not independent (statistics). All documents of a query together would be no
    cluster: two queries that share one of them would count as independent, and chains of such queries as one.

    Args:
        queries: queries of one label source.
        labels: labels of these and other queries.

    Returns:
        A document id for each query, None for one without a label.
    """
    documents: dict[str, set[str]] = {name: set() for name in queries["query_id"]}
    for query_id, document_id in labels.select("query_id", "document_id").iter_rows():
        if query_id in documents:
            documents[query_id].add(document_id)
    asked = Counter(document for found in documents.values() for document in found)
    return [min(found, key=lambda name: (-asked[name], name), default=None) for found in documents.values()]
