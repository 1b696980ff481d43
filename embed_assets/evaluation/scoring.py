"""BEIR metrics of several systems on the fixed evaluation set, with tests and intervals."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from embed_assets.artifacts.inputs import Inputs
from embed_assets.cluster.ray_cluster import Cluster
from embed_assets.evaluation.evaluation_set import HUMAN, Split, read_evaluation_set
from embed_assets.evaluation.hybrid_weight import choose_weights, weights_summary
from embed_assets.evaluation.labels import label_counts, query_clusters, relevant_units, tested_queries
from embed_assets.evaluation.metrics import HEADLINE, METRICS, evaluate_run, found_units
from embed_assets.evaluation.runs import RerankedSystem, Systems
from embed_assets.evaluation.settings import ScoringSettings
from embed_assets.evaluation.statistics import CLUSTER, holm, mean_interval, paired_by_query
from embed_assets.models.encoders import TextEncoder
from embed_assets.retrieval.fusion import IDENTIFIER_WEIGHT
from embed_assets.text.identifiers import IDENTIFIER_PATTERNS

PER_QUERY_SCHEMA = dict.fromkeys(("query_id", "query", "style", "source", CLUSTER, "system"), pl.String)
PER_QUERY_SCHEMA |= dict.fromkeys(METRICS, pl.Float64)
RUNS_SCHEMA = {
    "query_id": pl.String,
    "unit": pl.String,
    "rank": pl.Int64,
    "score": pl.Float32,
    "source": pl.String,
    "system": pl.String,
}


@dataclass(frozen=True)
class Scores:
    """The scores of all systems on the test queries of one label source.

    ``summary`` is what ``embed-assets scores --json`` prints; ``per_query`` has one row for each query and
    system; ``runs`` has the retrieved units with rank and score; ``qrels`` is query id → unit → relevance.
    """

    summary: dict[str, Any]
    per_query: pl.DataFrame
    runs: pl.DataFrame
    qrels: dict[str, dict[str, int]]


@dataclass(frozen=True)
class LabelledCollection:
    """What systems are scored on.

    Args:
        name: of the collection, for the summary.
        chunks: the collection's chunks.
        queries: queries of the evaluation set, of all splits.
        labels: its labels, as they apply to the documents (evaluation_set.current_labels). Queries without a label are
            left out.
    """

    name: str
    chunks: pl.DataFrame
    queries: pl.DataFrame
    labels: pl.DataFrame

    @classmethod
    def read(cls, name: str, corpus: Path, evaluation_set: Path) -> "LabelledCollection":
        """From the folders of the artifacts corpus_chunks and evaluation_set."""
        return cls(name, pl.read_parquet(corpus / "chunks.parquet"), *read_evaluation_set(evaluation_set, corpus))

    @classmethod
    def of(cls, inputs: Inputs) -> "LabelledCollection":
        """From what a step is made of."""
        return cls.read(inputs.collection, inputs.folder("corpus_chunks"), inputs.folder("evaluation_set"))


@dataclass(frozen=True)
class Contest:
    """The systems that are scored side by side, and which of them are tested against which.

    Args:
        encoders: dense systems by name.
        hybrids: name of a hybrid system → the dense system that is fused with BM25, with the weight that the settings
            give or that is chosen on the dev queries; BM25 itself is scored as ``bm25`` where this is not None.
        reranked: systems that re-order the chunks of another one, by name.
        comparisons: (system, baseline) pairs that are tested, with p-values corrected for how many they are.
        variants: further pairs, such as a model with fewer dimensions, corrected among themselves: however many of them are
            looked at, they take nothing from the comparisons.
    """

    encoders: Mapping[str, TextEncoder]
    hybrids: Mapping[str, str] | None = None
    reranked: Mapping[str, RerankedSystem] = field(default_factory=dict)
    comparisons: Sequence[tuple[str, str]] = ()
    variants: Sequence[tuple[str, str]] = ()


def score_systems(
    collection: LabelledCollection,
    contest: Contest,
    settings: ScoringSettings,
    split: Split = "test",
    patterns: Sequence[str] = IDENTIFIER_PATTERNS,
    cluster: Cluster | None = None,
) -> list[Scores]:
    """Score systems on the queries of a split, human labels, the user's own pairs, written questions and look-ups apart.

    Human labels name documents: a document scores as its best chunk. All others name spans: the
    chunks that share at least half of the shorter of the two with a span are relevant.

    Args:
        collection: its chunks, queries and labels.
        contest: the systems.
        settings: length of the runs, fusion and statistics.
        split: whose queries are used; choices are made on dev, so that test stays a fair judge.
        patterns: what an identifier looks like, for the hybrid of queries that are little else.
        cluster: as of Systems.

    Returns:
        One Scores for each label source that has queries, human first.
    """
    chunks, queries, labels = collection.chunks, collection.queries, collection.labels
    systems = Systems(chunks, contest.encoders, contest.hybrids is not None, patterns, cluster)
    weights = choose_weights(systems, contest.hybrids or {}, queries, labels, settings.hybrid_weight)
    fused = {name: (weight.dense, weight.weight) for name, weight in weights.items()}
    results = []
    for source, tested in tested_queries(queries, labels, split):
        by_document = source == HUMAN
        relevant = relevant_units(tested, labels, chunks, by_document)
        runs = systems.rank(tested, relevant, by_document, settings.top_k, fused, contest.reranked)
        about = tested.select(
            "query_id",
            "query",
            "style",
            pl.lit(source).alias("source"),
            pl.Series(CLUSTER, query_clusters(tested, labels), dtype=pl.String),
        )
        units, _ = systems.units(by_document)
        per_query = pl.concat(_metrics(name, about, relevant, columns, units) for name, (columns, _) in runs.items())
        summary = {
            "collection": collection.name,
            "labels": source,
            **_summary(per_query, contest, settings),
            "label_counts": label_counts(queries, labels, source, split),
            "hybrid_weights": weights_summary(weights),
            "dimensions": systems.dimensions,
        }
        if contest.reranked:
            summary["reranked"] = _reranked_summary(contest.reranked)
        retrieved = pl.concat(_retrieved(name, about, *run, units) for name, run in runs.items())
        results.append(Scores(summary, per_query, retrieved, relevant))
    return results


def _reranked_summary(reranked: Mapping[str, RerankedSystem]) -> dict[str, dict[str, Any]]:
    """What each system re-orders, for scores.json."""
    return {name: {"system": system.system, "top_k": system.top_k, "weight": system.weight} for name, system in reranked.items()}


def join_scores(scores: Sequence[Scores]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The ``per_query`` and the ``runs`` of all label sources; without a source, tables without rows."""
    per_query = pl.concat([pl.DataFrame(schema=PER_QUERY_SCHEMA), *(score.per_query for score in scores)])
    return per_query, pl.concat([pl.DataFrame(schema=RUNS_SCHEMA), *(score.runs for score in scores)])


def _metrics(
    system: str, about: pl.DataFrame, relevant: Mapping[str, Mapping[str, int]], columns: np.ndarray, units: Sequence[str]
) -> pl.DataFrame:
    """The metrics of each query of a system, in PER_QUERY_SCHEMA."""
    values = evaluate_run(relevant, found_units(about["query_id"].to_list(), columns, units), METRICS)
    return about.with_columns(pl.lit(system).alias("system"), *(pl.Series(metric, values[metric]) for metric in METRICS))


def _retrieved(system: str, about: pl.DataFrame, columns: np.ndarray, scores: np.ndarray, units: Sequence[str]) -> pl.DataFrame:
    """The units that a system found for each query, in RUNS_SCHEMA."""
    found = {
        "query_id": np.repeat(about["query_id"].to_list(), columns.shape[1]),
        "unit": [units[column] if column >= 0 else None for column in columns.ravel().tolist()],
        "rank": np.tile(np.arange(1, columns.shape[1] + 1), len(columns)),
        "score": scores.ravel(),
    }
    source = pl.lit(about["source"][0]).alias("source")
    return pl.DataFrame(found).drop_nulls("unit").with_columns(source, pl.lit(system).alias("system"))


def _summary(per_query: pl.DataFrame, contest: Contest, settings: ScoringSettings) -> dict[str, Any]:
    """Means, intervals and tests of all systems, from the metrics of each query."""
    of_system = {name: rows for (name,), rows in per_query.group_by("system", maintain_order=True)}
    clusters = next(iter(of_system.values()))[CLUSTER].to_list()
    return {
        "queries": len(clusters),
        "documents": len(set(clusters)),
        "systems": {name: rows.select(pl.col(METRICS).mean()).row(0, named=True) for name, rows in of_system.items()},
        "intervals": {
            name: list(mean_interval(rows[HEADLINE].to_numpy(), clusters, settings)) for name, rows in of_system.items()
        },
        "tests": [test for pairs in (contest.comparisons, contest.variants) for test in _tests(per_query, pairs, settings)],
        "styles": _slices(per_query),
    }


def _tests(table: pl.DataFrame, comparisons: Sequence[tuple[str, str]], settings: ScoringSettings) -> list[dict[str, Any]]:
    """The comparisons, their p-values corrected for how many there are."""
    compared = {pair: paired_by_query(table, *pair, settings) for pair in comparisons}
    found = {pair: difference for pair, difference in compared.items() if difference is not None}
    corrected = holm({pair: difference.p_value for pair, difference in found.items()})
    return [
        {
            "system": system,
            "baseline": baseline,
            "metric": HEADLINE,
            "difference": it.difference,
            "low": it.low,
            "high": it.high,
            "p_value": corrected[system, baseline],
            "standard_error": it.standard_error if np.isfinite(it.standard_error) else None,
            "test": it.test,
        }
        for (system, baseline), it in found.items()
    ]


def _slices(table: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """The headline metric by query style, where the queries have styles."""
    slices: dict[str, dict[str, Any]] = {}
    grouped = table.filter(pl.col("style") != "").group_by("style", "system", maintain_order=True)
    for row in grouped.agg(pl.len().alias("queries"), pl.col(HEADLINE).mean()).iter_rows(named=True):
        slices.setdefault(row["style"], {"queries": row["queries"]})[row["system"]] = row[HEADLINE]
    return slices


def scores_table(summary: Mapping[str, Any]) -> str:
    """The scores of one label source as a Markdown table, followed by its tests and by what is fused how, in words."""
    columns = ("ndcg@1", "ndcg@10", "recall@10", "recall@100", "map@10", "mrr@10")
    head = ["system", *columns, f"95% of {HEADLINE}"]
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(columns) + 1)}"]
    for system, values in summary["systems"].items():
        low, high = summary["intervals"][system]
        cells = [f"{values[column]:.3f}" for column in columns]
        lines.append(f"| {system} | {' | '.join(cells)} | {low:.3f} – {high:.3f} |")
    tests = [
        f"{test['system']} against {test['baseline']}: {test['difference']:+.3f} {test['metric']} "
        f"(95% {test['low']:+.3f} to {test['high']:+.3f}, p = {test['p_value']:.2g}, {test['test']})"
        for test in summary["tests"]
    ]
    weights = [
        f"{name}: {weight['weight']:g} of {weight['dense']}, {1 - weight['weight']:.2g} of BM25 ({weight['why']}); "
        f"at most {IDENTIFIER_WEIGHT} of {weight['dense']} for queries that are mostly identifiers"
        for name, weight in summary["hybrid_weights"].items()
    ]
    reordered = [
        f"{name}: the first {it['top_k']} chunks of {it['system']}, re-ordered: "
        + ("" if it["weight"] is None else f"{1 - it['weight']:.2g} of {it['system']}, {it['weight']:g} of ")
        + "scores of its own"
        for name, it in summary.get("reranked", {}).items()
    ]
    title = f"{summary['collection']}: {summary['queries']} {summary['labels']} queries about {summary['documents']} documents"
    return "\n".join([title, "", *lines, "", *(f"- {words}" for words in [*tests, *weights, *reordered])])


def write_scored(folder: Path, scores: Sequence[Scores]) -> None:
    """Write scores.json, per_query.parquet and runs.parquet into an artifact."""
    write_summaries(folder, [score.summary for score in scores])
    per_query, runs = join_scores(scores)
    per_query.write_parquet(folder / "per_query.parquet")
    runs.write_parquet(folder / "runs.parquet")


def write_summaries(folder: Path, summaries: Any) -> None:
    """Write the summaries of scores, as JSON values, to scores.json of an artifact."""
    (folder / "scores.json").write_text(json.dumps(summaries, indent=2), encoding="utf-8")


def read_summaries(folder: Path) -> list[dict[str, Any]]:
    """What write_summaries wrote: one summary for each label source."""
    return json.loads((folder / "scores.json").read_text(encoding="utf-8"))
