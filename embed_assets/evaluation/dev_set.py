"""The dev queries that a training is judged by, with the passages that they are searched in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from embed_assets.corpus.spans import language_of
from embed_assets.evaluation.evaluation_set import HUMAN
from embed_assets.evaluation.labels import FEWEST_TO_DECIDE, dev_queries_to_decide, own_units, query_clusters, relevant_units
from embed_assets.evaluation.metrics import HEADLINE, evaluate_run, found_units
from embed_assets.evaluation.statistics import CLUSTER
from embed_assets.models.encoders import Encoder, TextEncoder
from embed_assets.retrieval.hybrid import HybridRetriever
from embed_assets.retrieval.ranking import best_per_group, group_numbers, top_k
from embed_assets.text.columns import Texts

MOST_QUERIES = 200
NEAREST = 20
OTHERS = 500
QUERIES, PASSAGES = "dev_queries.parquet", "dev_passages.parquet"


@dataclass(frozen=True)
class DevSet:
    """Dev queries of the label source that decides, and the passages that matter for them.

    Args:
        source: of the labels: human, own or synthetic; look-ups judge nothing.
        queries: query id → query.
        relevant: query id → unit (a document for human labels, else a chunk) → relevance.
        passages: ``unit`` and ``passage``; those of a unit stand together.
        clusters: the document that each query is about (labels.query_clusters).
    """

    source: str
    queries: Mapping[str, str]
    relevant: Mapping[str, Mapping[str, int]]
    passages: pl.DataFrame
    clusters: Sequence[str | None]

    def write(self, folder: Path) -> None:
        """Write dev_queries.parquet and dev_passages.parquet."""
        rows = [
            (name, query, self.source, cluster, unit, relevance)
            for (name, query), cluster in zip(self.queries.items(), self.clusters, strict=True)
            for unit, relevance in self.relevant[name].items()
        ]
        pl.DataFrame(rows, schema=["query_id", "query", "source", CLUSTER, "unit", "relevance"], orient="row").write_parquet(
            folder / QUERIES
        )
        self.passages.write_parquet(folder / PASSAGES)


def read_dev_set(folder: Path) -> DevSet | None:
    """The dev set that was written there; None if none was."""
    if not (folder / QUERIES).is_file():
        return None
    rows = pl.read_parquet(folder / QUERIES)
    queries = dict(rows.select("query_id", "query").iter_rows())
    relevant: dict[str, dict[str, int]] = {name: {} for name in queries}
    for name, unit, relevance in rows.select("query_id", "unit", "relevance").iter_rows():
        relevant[name][unit] = relevance
    clusters = rows.unique("query_id", keep="first", maintain_order=True)[CLUSTER].to_list()
    return DevSet(rows["source"][0], queries, relevant, pl.read_parquet(folder / PASSAGES), clusters)


def draw_dev_set(
    queries: pl.DataFrame, labels: pl.DataFrame, chunks: pl.DataFrame, encoder: Encoder, seed: int = 13
) -> DevSet | None:
    """The dev queries to judge by: human ones where there are enough, else the user's own pairs, else written questions.

    They are searched in what answers them, in the nearest passages of each and in OTHERS drawn at random, so that a training
    can be judged many times without encoding a large corpus. What only the fine-tuned model takes for an answer is missed in
    part, so that its scores are a little too good in a corpus that is much larger.

    Args:
        queries: of the evaluation set, of all splits.
        labels: of the queries, as they apply now.
        chunks: the collection's chunks.
        encoder: the base model, which finds the nearest chunks together with BM25.
        seed: of the draw, where there are more than MOST_QUERIES.

    Returns:
        None where fewer than FEWEST_TO_DECIDE queries are no look-ups.
    """
    source, asked = dev_queries_to_decide(queries, labels)
    if source is None or len(asked) < FEWEST_TO_DECIDE:
        return None
    if len(asked) > MOST_QUERIES:
        asked = asked.sample(MOST_QUERIES, seed=seed).sort("query_id")
    by_document = source == HUMAN
    relevant = relevant_units(asked, labels, chunks, by_document)
    answers = {unit for wanted in relevant.values() for unit in wanted}
    units = chunks.select(unit="document_id" if by_document else "chunk_id", passage="passage").with_row_index("row")
    of_unit = dict(units.filter(pl.col("unit").is_in(list(answers))).group_by("unit").agg("row").iter_rows())
    retriever = HybridRetriever(encoder, Texts(chunks["passage"]), language=language_of(chunks))
    searched: set[int] = set(units.sample(min(OTHERS, units.height), seed=seed)["row"])
    wanted_of = list(relevant.values())
    for hits in retriever.search(asked["query"].to_list(), NEAREST):
        searched.update(hits.found[hits.found >= 0].tolist())
        for number, wanted in enumerate(wanted_of[hits.start : hits.start + len(hits.found)]):
            cosines = hits.cosines.row(number) if any(len(of_unit.get(unit, [])) > NEAREST for unit in wanted) else None
            for unit in wanted:
                # The chunk of a long document that answers a query is among those near to it.
                rows_of = of_unit.get(unit, [])
                searched.update(rows_of if cosines is None else sorted(rows_of, key=lambda row: -cosines[row])[:NEAREST])
    rows = units.filter(pl.col("row").is_in(list(searched)))
    texts = dict(asked.select("query_id", "query").iter_rows())
    return DevSet(source, texts, relevant, rows.select("unit", "passage"), query_clusters(asked, labels))


def dev_ndcg(encoder: TextEncoder, dev: DevSet) -> np.ndarray:
    """nDCG@10 of an encoder on each query of a dev set; a document scores as its best passage."""
    return dev_metrics(encoder, dev)[HEADLINE]


def dev_metrics(encoder: TextEncoder, dev: DevSet, metrics: Sequence[str] = (HEADLINE,)) -> dict[str, np.ndarray]:
    """Metrics of the first ten units that an encoder finds for each query of a dev set, as evaluate_run gives them."""
    queries, passages = list(dev.queries.values()), dev.passages["passage"].to_list()
    return metrics_of_scores(encoder.encode_queries(queries) @ encoder.encode_passages(passages).T, dev, metrics)


def metrics_of_scores(scores: np.ndarray, dev: DevSet, metrics: Sequence[str] = (HEADLINE,)) -> dict[str, np.ndarray]:
    """As dev_metrics, given the scores of the passages, shape (queries, passages)."""
    units, groups = dev.passages["unit"].unique(maintain_order=True).to_list(), group_numbers(dev.passages["unit"])
    best = best_per_group(scores, groups)
    for row, unit in own_units(dev.relevant, units).items():
        best[row, unit] = -np.inf
    return evaluate_run(dev.relevant, found_units(list(dev.queries), top_k(best, 10), units), metrics)
