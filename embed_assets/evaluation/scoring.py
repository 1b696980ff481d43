"""BEIR metrics of several systems on the fixed evaluation set, with tests and intervals."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from embed_assets.cluster.ray_cluster import Cluster
from embed_assets.evaluation.evaluation_set import HUMAN, Split
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


def score_systems(
    collection: str,
    chunks: pl.DataFrame,
    queries: pl.DataFrame,
    labels: pl.DataFrame,
    encoders: Mapping[str, TextEncoder],
    settings: ScoringSettings,
    hybrids: Mapping[str, str] | None = None,
    comparisons: Sequence[tuple[str, str]] = (),
    reranked: Mapping[str, RerankedSystem] | None = None,
    split: Split = "test",
    patterns: Sequence[str] = IDENTIFIER_PATTERNS,
    variants: Sequence[tuple[str, str]] = (),
    cluster: Cluster | None = None,
) -> list[Scores]:
    """Score systems on the queries of a split, human labels, the user's own pairs, written questions and look-ups apart.

    Human labels name documents: a document scores as its best chunk. All others name spans: the
    chunks that share at least half of the shorter of the two with a span are relevant.

    Args:
        collection: name for the summary.
        chunks: the collection's chunks.
        queries: queries of the evaluation set, of all splits.
        labels: its labels, as they apply to the documents (evaluation_set.current_labels). Queries without a
            label are left out.
        encoders: dense systems by name.
        settings: length of the runs, fusion and statistics.
        hybrids: name of a hybrid system → the dense system that is fused with BM25, with the weight that the settings
            give or that is chosen on the dev queries; BM25 itself is scored as ``bm25`` where this is not None.
        comparisons: (system, baseline) pairs that are tested, with p-values corrected for how many they are.
        reranked: systems that re-order the chunks of another one, by name.
        split: whose queries are used; choices are made on dev, so that test stays a fair judge.
        patterns: what an identifier looks like, for the hybrid of queries that are little else.
        variants: further pairs, such as a model with fewer dimensions, corrected among themselves: however many of them are
            looked at, they take nothing from the comparisons.
        cluster: as of Systems.

    Returns:
        One Scores for each label source that has queries, human first.
    """
    systems = Systems(chunks, encoders, hybrids is not None, patterns, cluster)
    weights = choose_weights(systems, hybrids or {}, queries, labels, settings.hybrid_weight)
    fused = {name: (weight.dense, weight.weight) for name, weight in weights.items()}
    results = []
    for source, tested in tested_queries(queries, labels, split):
        by_document = source == HUMAN
        relevant = relevant_units(tested, labels, chunks, by_document)
        runs = systems.rank(tested, relevant, by_document, settings.top_k, fused, reranked or {})
        clusters, (units, _) = query_clusters(tested, labels), systems.units(by_document)
        scores = _evaluate(collection, source, tested, clusters, relevant, runs, units, settings, (comparisons, variants))
        more = {
            "label_counts": label_counts(queries, labels, source, split),
            "hybrid_weights": weights_summary(weights),
            "dimensions": systems.dimensions,
        }
        if reranked:
            more["reranked"] = _reranked_summary(reranked)
        results.append(replace(scores, summary=scores.summary | more))
    return results


def _reranked_summary(reranked: Mapping[str, RerankedSystem]) -> dict[str, dict[str, Any]]:
    """What each system re-orders, for scores.json."""
    return {name: {"system": system.system, "top_k": system.top_k, "weight": system.weight} for name, system in reranked.items()}


def join_scores(scores: Sequence[Scores]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The ``per_query`` and the ``runs`` of all label sources; without a source, tables without rows."""
    per_query = pl.concat([pl.DataFrame(schema=PER_QUERY_SCHEMA), *(score.per_query for score in scores)])
    return per_query, pl.concat([pl.DataFrame(schema=RUNS_SCHEMA), *(score.runs for score in scores)])


def _evaluate(
    collection: str,
    source: str,
    queries: pl.DataFrame,
    clusters: Sequence[str | None],
    relevant: dict[str, dict[str, int]],
    runs: dict[str, tuple[np.ndarray, np.ndarray]],
    units: list[str],
    settings: ScoringSettings,
    families: Sequence[Sequence[tuple[str, str]]],
) -> Scores:
    names = queries["query_id"].to_list()
    per_query, ranked = [], []
    about = queries.select("query_id", "query", "style").with_columns(
        pl.lit(source).alias("source"), pl.Series(CLUSTER, clusters, dtype=pl.String)
    )
    for system, (columns, scores) in runs.items():
        values = evaluate_run(relevant, found_units(names, columns, units), METRICS)
        metrics = (pl.Series(metric, values[metric]) for metric in METRICS)
        per_query.append(about.with_columns(pl.lit(system).alias("system"), *metrics))
        ranked.append(
            pl.DataFrame(
                {
                    "query_id": np.repeat(names, columns.shape[1]),
                    "unit": [units[column] if column >= 0 else None for column in columns.ravel().tolist()],
                    "rank": np.tile(np.arange(1, columns.shape[1] + 1), len(names)),
                    "score": scores.ravel(),
                }
            )
            .drop_nulls("unit")
            .with_columns(pl.lit(source).alias("source"), pl.lit(system).alias("system"))
        )
    table = pl.concat(per_query)
    means = table.group_by("system", maintain_order=True).agg(pl.col(METRICS).mean())
    summary = {
        "collection": collection,
        "labels": source,
        "queries": len(names),
        "documents": len(set(clusters)),
        "systems": {row.pop("system"): row for row in means.iter_rows(named=True)},
        "intervals": {
            system: list(mean_interval(table.filter(pl.col("system") == system)[HEADLINE].to_numpy(), clusters, settings))
            for system in runs
        },
        "tests": [test for family in families for test in _tests(table, family, settings)],
        "styles": _slices(table),
    }
    return Scores(summary, table, pl.concat(ranked), relevant)


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
