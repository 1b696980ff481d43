"""Intervals and tests of differences between systems."""

import numpy as np

from embed_assets.evaluation.metrics import HEADLINE
from embed_assets.evaluation.settings import ScoringSettings


def ranx_p_values(qrels, runs: dict, settings: ScoringSettings) -> dict[tuple[str, str], float]:
    if len(runs) < 2 or len(qrels) < 2:
        return {(a, b): 1.0 for a in runs for b in runs}
    from ranx import compare

    report = compare(
        qrels,
        list(runs.values()),
        [HEADLINE],
        stat_test=settings.significance_test,
        n_permutations=settings.resamples,
        random_seed=settings.seed,
    ).to_dict()
    p_values = {(a, b): float(report[a]["comparisons"][b][HEADLINE]) for a in runs for b in runs if a != b}
    return {pair: 1.0 if np.isnan(value) else value for pair, value in p_values.items()}


def bootstrap_interval(values: np.ndarray, settings: ScoringSettings) -> tuple[float, float]:
    """95% bootstrap percentile interval of the mean (Efron and Tibshirani, 1993)."""
    if len(values) < 2 or np.ptp(values) == 0:
        return float(values.mean()), float(values.mean())
    from scipy.stats import bootstrap

    found = bootstrap(
        (values,),
        np.mean,
        n_resamples=settings.resamples,
        method="percentile",
        rng=np.random.default_rng(settings.seed),
        batch=200,
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def paired_p_value(differences: np.ndarray) -> float:
    """p-value of the two-sided paired t-test, from the differences of two systems on the same queries.

    Where all queries differ by the same, the t-test has no spread to go by, and would be sure with two queries: it is
    that of the sign-flip test, 2 · 0.5^n.
    """
    if len(differences) < 2 or np.allclose(differences, 0):
        return 1.0
    if np.allclose(differences, differences[0]):
        return 2 * 0.5 ** len(differences)
    from scipy.stats import ttest_1samp

    return float(ttest_1samp(differences, 0).pvalue)
