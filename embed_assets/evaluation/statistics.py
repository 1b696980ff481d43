"""Intervals and tests: the only place that computes them.

Queries about one document are not independent: they succeed and fail together. So it is documents, the clusters of
queries, that are resampled and whose signs are flipped. Nothing depends on the order of the queries or on the names of
the clusters, and all seeds are fixed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl

from embed_assets.evaluation.metrics import HEADLINE
from embed_assets.evaluation.settings import ScoringSettings

# So many clusters have 65,536 patterns of signs, which are all looked at in some milliseconds.
MOST_EXACT = 16
RESAMPLES_IN_A_BLOCK = 200
CLUSTER = "cluster"
# A difference counts below p = 0.05, two-sided. Four of five experiments find one that is so many standard errors large (Cohen,
# Statistical Power Analysis, 1988).
Z_TWO_SIDED = NormalDist().inv_cdf(0.975)
DETECTABLE_ERRORS = Z_TWO_SIDED + NormalDist().inv_cdf(0.8)


@dataclass(frozen=True)
class PairedDifference:
    """Two systems on the same queries.

    Args:
        difference: mean over the queries.
        low, high: its 95% interval.
        p_value: two-sided, of no difference.
        standard_error: of the mean; infinite for a single cluster.
        queries, clusters: how many.
        test: SIGN_FLIP or T_TEST.
    """

    difference: float
    low: float
    high: float
    p_value: float
    standard_error: float
    queries: int
    clusters: int
    test: str


SIGN_FLIP, T_TEST = "exact sign-flip test over documents", "t-test over documents"


def paired_difference(
    differences: np.ndarray, clusters: Sequence[Any] | np.ndarray | None, settings: ScoringSettings
) -> PairedDifference:
    """Test the mean of paired differences, by clusters.

    Up to 16 clusters with a difference: the exact test over all flips of their signs (Fisher, 1935; for clusters:
    Canay, Romano and Shaikh, Econometrica 85, 2017). More: a t-test with the cluster-robust standard error (Liang and
    Zeger, Biometrika 73, 1986) and the degrees of freedom of the effective number of clusters, (Σn)² / Σn² (Kish, 1965).

    Args:
        differences: of the scores of two systems, one for each query.
        clusters: what each query is about; None: each query is a cluster of its own.
        settings: resamples and seed.

    Raises:
        ValueError: there is no query.
    """
    sums, counts = _by_cluster(differences, clusters)
    low, high = _bootstrap(sums, counts, (-1.0, 1.0), settings)
    mean, error = float(sums.sum() / counts.sum()), _standard_error(sums, counts)
    exact = np.count_nonzero(sums) <= MOST_EXACT
    p_value = _sign_flip_p_value(sums) if exact else _t_p_value(mean, error, counts)
    test = SIGN_FLIP if exact else T_TEST
    return PairedDifference(mean, low, high, p_value, error, int(counts.sum()), len(sums), test)


def mean_interval(
    values: np.ndarray,
    clusters: Sequence[Any] | np.ndarray | None,
    settings: ScoringSettings,
    bounds: tuple[float, float] = (0, 1),
) -> tuple[float, float]:
    """95% interval of the mean of a metric, by a bootstrap over clusters.

    It is the expanded percentile interval (Hesterberg, The American Statistician 69, 2015), which is as wide as it
    should be for few clusters. A single cluster says nothing about others: its interval is all that is possible.

    Args:
        values: of the metric, one for each query.
        clusters: as in paired_difference.
        settings: resamples and seed.
        bounds: the least and the largest value that the mean can have.
    """
    return _bootstrap(*_by_cluster(values, clusters), bounds, settings)


def paired_by_query(
    per_query: pl.DataFrame, system: str, baseline: str, settings: ScoringSettings, metric: str = HEADLINE
) -> PairedDifference | None:
    """paired_difference of two systems in a table of scores of each query; None where they share no query.

    Args:
        per_query: ``query_id``, ``system`` and the metric, of one label source; ``cluster`` where it is known.
        system, baseline: the two systems.
        settings: resamples and seed.
        metric: whose values are compared.
    """
    both = paired_scores(per_query, system, baseline, metric)
    if both.is_empty():
        return None
    return paired_difference(both["difference"].to_numpy(), both[CLUSTER].to_list(), settings)


def paired_scores(per_query: pl.DataFrame, system: str, baseline: str, metric: str = HEADLINE) -> pl.DataFrame:
    """The queries that two systems share, with ``difference`` and ``cluster``: the query itself where that is unknown."""
    table = with_clusters(per_query)
    before = table.filter(pl.col("system") == baseline).select("source", "query_id", pl.col(metric).alias("before"))
    both = table.filter(pl.col("system") == system).join(before, on=["source", "query_id"], maintain_order="left")
    return both.with_columns(difference=pl.col(metric) - pl.col("before")).drop("before")


def with_clusters(per_query: pl.DataFrame) -> pl.DataFrame:
    """The table with ``cluster`` in every row; scores that were stored without it have a cluster for each query."""
    if CLUSTER not in per_query.columns:
        return per_query.with_columns(pl.col("query_id").alias(CLUSTER))
    return per_query.with_columns(pl.col(CLUSTER).fill_null(pl.col("query_id")))


def nearest_within_error(
    values: Mapping[float, np.ndarray], clusters: Sequence[Any] | np.ndarray | None, preferred: float, errors: float = 1
) -> float:
    """Of several weights, the nearest to a preferred one that is not worse than the best by more than a standard error.

    The best of many on few queries is the best by luck as well: what cannot be told from it is as good (the rule of one
    standard error, Breiman et al., Classification and Regression Trees, 1984; here that of the paired difference).

    Args:
        values: weight → its metric on each of the same queries.
        clusters: as in paired_difference.
        preferred: taken where nothing speaks against it; of two that are as near, the better one is taken.
        errors: how many standard errors speak against it.
    """
    best = max(values, key=lambda weight: (round(float(values[weight].mean()), 9), -abs(weight - preferred)))
    as_good = []
    for weight, of_weight in values.items():
        if weight == best or not above_error(values[best] - of_weight, clusters, errors):
            as_good.append(weight)
    return min(as_good, key=lambda weight: (round(abs(weight - preferred), 9), -float(values[weight].mean())))


def above_error(differences: np.ndarray, clusters: Sequence[Any] | np.ndarray | None, errors: float = 1) -> bool:
    """Whether the mean of differences is above zero by more than its standard error.

    Args:
        differences: of two systems, on each query.
        clusters: as in paired_difference.
        errors: by more than so many of them.
    """
    sums, counts = _by_cluster(differences, clusters)
    return bool(sums.sum() / counts.sum() > errors * _standard_error(sums, counts) * (1 + 1e-9))


def holm(p_values: Mapping[Any, float]) -> dict[Any, float]:
    """The p-values corrected for their number (Holm, Scandinavian Journal of Statistics 6, 1979), in the same order."""
    corrected: dict[Any, float] = {}
    highest = 0.0
    for place, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        highest = max(highest, min(1.0, p_values[name] * (len(p_values) - place)))
        corrected[name] = highest
    return {name: corrected[name] for name in p_values}


def queries_needed(spread: float, difference: float) -> int:
    """How many judged queries show a difference of two systems in 4 of 5 experiments, at the 5% level, two-sided and paired.

    n = ((z(0.975) + z(0.8)) * spread / difference)^2 + z(0.975)^2 / 2, the normal approximation to the sample size of a
    t-test, with the correction for an unknown spread (Guenther, The American Statistician 35, 1981).

    Args:
        spread: standard deviation of the differences of single queries, from spread_of.
        difference: of the means, such as 0.05 nDCG@10.
    """
    return max(2, math.ceil((DETECTABLE_ERRORS * spread / difference) ** 2 + Z_TWO_SIDED**2 / 2))


def smallest_difference(spread: float, queries: int) -> float:
    """The difference for which so many queries are enough, the inverse of queries_needed; infinite where they are too few."""
    left = queries - Z_TWO_SIDED**2 / 2
    return DETECTABLE_ERRORS * spread / math.sqrt(left) if left > 0 else math.inf


def spread_of(found: PairedDifference) -> float:
    """The standard deviation of the differences of single queries that has the standard error of the mean.

    With several queries about one document it is larger than that of the values: they say less than as many independent
    ones (the design effect of Kish, 1965). Infinite for a single cluster.
    """
    return float(found.standard_error * np.sqrt(found.queries))


def resampled_means(values: np.ndarray, clusters: Sequence[Any] | np.ndarray | None, resamples: int, seed: int) -> np.ndarray:
    """Means of several systems over the same resampled clusters, shape (systems, resamples).

    Args:
        values: shape (systems, queries).
        clusters: as in paired_difference.
        resamples: how many.
        seed: of the draws.
    """
    order, starts = _cluster_starts(values[0], clusters)
    sums, counts = np.add.reduceat(values[:, order], starts, axis=1), np.diff([*starts, values.shape[1]])
    return _resampled_means(sums, counts, resamples, seed)


def _cluster_starts(values: np.ndarray, clusters: Sequence[Any] | np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """An order that puts clusters together, and where each begins; neither names nor the order of rows matter."""
    if not len(values):
        raise ValueError("there is no query to compute statistics of")
    if clusters is None:
        return np.argsort(values, kind="stable"), np.arange(len(values))
    _, numbers = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    order = np.lexsort((values, numbers))
    starts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
    sums, counts = np.add.reduceat(values[order], starts), np.diff([*starts, len(values)])
    place = np.empty(len(starts), dtype=np.int64)
    place[np.lexsort((counts, sums))] = np.arange(len(starts))
    order = np.lexsort((values, place[numbers]))
    return order, np.flatnonzero(np.diff(place[numbers][order], prepend=-1))


def _by_cluster(values: np.ndarray, clusters: Sequence[Any] | np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of the values of each cluster, ascending."""
    values = np.asarray(values, dtype=np.float64)
    order, starts = _cluster_starts(values, clusters)
    sums, counts = np.add.reduceat(values[order], starts), np.diff([*starts, len(values)])
    # What is the same but for rounding is the same.
    return np.where(np.abs(sums) < 1e-12, 0.0, sums), counts


def _standard_error(sums: np.ndarray, counts: np.ndarray) -> float:
    number, total = len(sums), counts.sum()
    if number < 2:
        return float("inf")
    residuals = sums - counts * sums.sum() / total
    return float(np.sqrt(number / (number - 1) * (residuals**2).sum()) / total)


def _sign_flip_p_value(sums: np.ndarray) -> float:
    """Share of the 2^n patterns of signs whose sum is at least as far from zero."""
    sums = sums[sums != 0]
    flipped = np.zeros(1)
    for value in sums:
        flipped = np.concatenate([flipped + value, flipped - value])
    return float(np.mean(np.abs(flipped) >= abs(sums.sum()) * (1 - 1e-9)))


def _t_p_value(mean: float, error: float, counts: np.ndarray) -> float:
    from scipy.special import stdtr

    freedom = counts.sum() ** 2 / (counts**2).sum() - 1
    # No spread at all is no certainty: no test of n signs can go below this.
    least = 2 * 0.5 ** len(counts)
    return max(least, float(2 * stdtr(max(freedom, 1e-9), -abs(mean) / error))) if error else least


def _bootstrap(
    sums: np.ndarray, counts: np.ndarray, bounds: tuple[float, float], settings: ScoringSettings
) -> tuple[float, float]:
    from scipy.special import ndtr, stdtrit

    number = len(sums)
    if number < 2:
        return bounds
    means = _resampled_means(sums[None], counts, settings.resamples, settings.seed)[0]
    tail = float(ndtr(np.sqrt(number / (number - 1)) * stdtrit(number - 1, 0.025)))
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def _resampled_means(sums: np.ndarray, counts: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    generator, means = np.random.default_rng(seed), []
    for start in range(0, resamples, RESAMPLES_IN_A_BLOCK):
        drawn = generator.integers(len(counts), size=(min(RESAMPLES_IN_A_BLOCK, resamples - start), len(counts)))
        means.append(np.stack([of_system[drawn].sum(axis=1) for of_system in sums]) / counts[drawn].sum(axis=1))
    return np.concatenate(means, axis=1)
