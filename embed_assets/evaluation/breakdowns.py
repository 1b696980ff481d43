"""Where a gain comes from: by style, by document, by query, and against the checkpoint before."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from embed_assets.evaluation.metrics import HEADLINE
from embed_assets.evaluation.settings import ScoringSettings
from embed_assets.evaluation.statistics import CLUSTER, paired_difference, with_clusters

HITS = 3


def scores_by_style(per_query: pl.DataFrame) -> pl.DataFrame:
    """nDCG@10 of each system on the queries of each style.

    Args:
        per_query: scores of each query of one label source (Scores.per_query).

    Returns:
        ``style``, ``queries`` and a column for each system; no row where the queries have no style.
    """
    of_style = per_query.filter(pl.col("style") != "").sort("style")
    counts = of_style.group_by("style", maintain_order=True).agg(pl.col("query_id").n_unique().alias("queries"))
    means = of_style.pivot("system", index="style", values=HEADLINE, aggregate_function="mean", maintain_order=True)
    return counts.join(means, on="style", maintain_order="left")


def changed_queries(per_query: pl.DataFrame, baseline: str, system: str) -> pl.DataFrame:
    """The difference of nDCG@10 between two systems for each query, the largest loss first.

    Args:
        per_query: scores of each query of one label source.
        baseline, system: the two systems.

    Returns:
        ``query_id``, ``query``, the score of each system under its name, and ``difference``.
    """
    of = {
        name: per_query.filter(pl.col("system") == name).select("query_id", "query", pl.col(HEADLINE).alias(name))
        for name in (baseline, system)
    }
    both = of[baseline].join(of[system].drop("query"), on="query_id")
    return both.with_columns(difference=pl.col(system) - pl.col(baseline)).sort("difference", "query_id")


def with_hits(
    changed: pl.DataFrame, runs: pl.DataFrame, qrels: Mapping[str, Mapping[str, int]], systems: Sequence[str]
) -> pl.DataFrame:
    """Queries with the first three hits of each system, the relevant ones marked with ✓.

    Args:
        changed: queries, as changed_queries returns them.
        runs: what each system retrieved (Scores.runs).
        qrels: query id → unit → relevance (Scores.qrels).
        systems: whose hits are shown.
    """
    hits: dict[tuple[str, str], list[str]] = {}
    first = runs.filter((pl.col("rank") <= HITS) & pl.col("query_id").is_in(changed["query_id"].to_list()))
    for row in first.sort("rank").iter_rows(named=True):
        mark = " ✓" if row["unit"] in qrels[row["query_id"]] else ""
        hits.setdefault((row["query_id"], row["system"]), []).append(f"{row['unit']}{mark}")
    columns = [
        pl.Series(f"hits of {name}", [", ".join(hits.get((query_id, name), [])) for query_id in changed["query_id"]])
        for name in systems
    ]
    return changed.with_columns(columns)


def changes_by_document(changed: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """The mean difference over the queries that each document answers, the largest loss first.

    Args:
        changed: as changed_queries returns it.
        labels: labels of the queries.

    Returns:
        ``document_id``, ``queries`` and ``difference``.
    """
    answered = labels.select("query_id", "document_id").unique().join(changed, on="query_id")
    means = answered.group_by("document_id").agg(queries=pl.len(), difference=pl.col("difference").mean())
    return means.sort("difference", "document_id")


def compare_with_before(
    per_query: pl.DataFrame, before: pl.DataFrame, system: str, settings: ScoringSettings
) -> list[Mapping[str, Any]]:
    """The scores of a system against those that its predecessor had on the same queries.

    Args:
        per_query: scores of each query now.
        before: scores of each query then.
        system: the system.
        settings: bootstrap.

    Returns:
        For each label source ``labels``, ``queries`` (that both have), ``before``, ``now`` and ``difference`` (nDCG@10)
        with its 95% interval, ``low`` and ``high``.
    """
    columns = ["source", "query_id", HEADLINE]
    then = before.filter(pl.col("system") == system).select(columns)
    now = with_clusters(per_query).filter(pl.col("system") == system).select(*columns, CLUSTER)
    both = now.join(then, on=["source", "query_id"], suffix="_before", maintain_order="left")
    rows: list[Mapping[str, Any]] = []
    for (source,), frame in both.group_by("source", maintain_order=True):
        values = [frame[name].to_numpy() for name in (f"{HEADLINE}_before", HEADLINE)]
        found = paired_difference(np.subtract(values[1], values[0]), frame[CLUSTER].to_list(), settings)
        means = {"before": float(values[0].mean()), "now": float(values[1].mean()), "difference": found.difference}
        rows.append({"labels": source, "queries": len(frame)} | means | {"low": found.low, "high": found.high})
    return rows
