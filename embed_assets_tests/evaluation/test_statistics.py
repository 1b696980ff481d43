"""Intervals and tests, with values that can be computed by hand or by scipy."""

import numpy as np
import polars as pl
import pytest

from embed_assets.evaluation.settings import ScoringSettings
from embed_assets.evaluation.statistics import (
    SIGN_FLIP,
    T_TEST,
    holm,
    mean_interval,
    nearest_within_error,
    paired_by_query,
    paired_difference,
    queries_needed,
    resampled_means,
    smallest_difference,
    spread_of,
)

SETTINGS = ScoringSettings(resamples=500)


def p_value(differences, clusters=None) -> float:
    return paired_difference(np.array(differences, dtype=float), clusters, SETTINGS).p_value


@pytest.mark.parametrize(
    ("differences", "p"),
    [([0.1], 1.0), ([0.4, 0.4], 0.5), ([0.9 - 1.0, 0.4 - 0.5, -0.1], 0.25), ([0.0, 0.0], 1.0), ([0.5, -0.5], 1.0)],
)
def test_few_queries_get_the_exact_sign_flip_test(differences, p):
    found = paired_difference(np.array(differences), None, SETTINGS)
    assert (found.p_value, found.test) == (pytest.approx(p), SIGN_FLIP)


def test_the_sign_flip_test_is_that_of_scipy():
    from scipy.stats import permutation_test

    values = np.random.default_rng(1).normal(0.3, 1.0, 12)
    expected = permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert p_value(values) == pytest.approx(expected.pvalue)


def test_many_queries_get_the_t_test():
    from scipy.stats import ttest_1samp

    values = np.random.default_rng(2).normal(0.05, 0.2, 200)
    found = paired_difference(values, None, SETTINGS)
    assert (found.p_value, found.test) == (pytest.approx(ttest_1samp(values, 0).pvalue), T_TEST)
    assert found.standard_error == pytest.approx(values.std(ddof=1) / 200**0.5)


def test_queries_that_repeat_a_document_add_no_certainty():
    """Ten queries for each of 30 documents that all say the same are as good as one for each."""
    values = np.random.default_rng(3).normal(0.05, 0.2, 30)
    repeated, clusters = np.repeat(values, 10), np.repeat(np.arange(30), 10)
    one, many = paired_difference(values, None, SETTINGS), paired_difference(repeated, clusters, SETTINGS)
    assert many.p_value == pytest.approx(one.p_value) and many.standard_error == pytest.approx(one.standard_error)
    assert many.high - many.low == pytest.approx(one.high - one.low, rel=0.01)
    assert (many.queries, many.clusters) == (300, 30)
    assert p_value(repeated) < one.p_value / 10


def test_one_document_proves_nothing_whatever_the_number_of_its_queries():
    found = paired_difference(np.full(300, 0.3), ["a.md"] * 300, SETTINGS)
    assert (found.p_value, found.low, found.high) == (1.0, -1.0, 1.0)
    assert mean_interval(np.full(300, 0.7), ["a.md"] * 300, SETTINGS) == (0, 1)


def test_a_large_document_among_small_ones_counts_for_what_it_is():
    """All of the difference is in 200 queries of one document; 40 documents have one query each."""
    values, clusters = np.r_[np.full(200, 0.2), np.tile([0.01, -0.01], 20)], [0] * 200 + list(range(1, 41))
    assert p_value(values, clusters) > 0.2 and p_value(values) < 1e-20


def test_order_and_names_of_rows_change_nothing():
    random = np.random.default_rng(4)
    values, clusters = random.normal(0.02, 0.2, 150), random.integers(0, 25, 150)
    order = random.permutation(150)
    renamed = [f"document {99 - number}" for number in clusters[order]]
    assert paired_difference(values, clusters, SETTINGS) == paired_difference(values[order], renamed, SETTINGS)
    assert mean_interval(values, None, SETTINGS) == mean_interval(values[order], None, SETTINGS)


def test_equal_differences_have_an_interval_without_width_but_a_bounded_certainty():
    found = paired_difference(np.full(40, 0.1), None, SETTINGS)
    assert (found.low, found.high) == pytest.approx((0.1, 0.1)) and found.p_value == pytest.approx(2 * 0.5**40)


def test_intervals_hold_what_they_should_with_few_documents():
    """Of 95% intervals over six documents, nearly all hold the true mean of 0.5, as those of a plain percentile do not."""
    held = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        values = np.concatenate([np.clip(random.normal(0.5, 0.15) + random.normal(0, 0.1, 20), 0, 1) for _ in range(6)])
        low, high = mean_interval(values, np.repeat(np.arange(6), 20), SETTINGS)
        held += low <= 0.5 <= high
    assert held >= 90


def test_holm_multiplies_the_smallest_by_their_number_and_never_falls():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert list(holm({"a": 0.9, "b": 0.1})) == ["a", "b"] and holm({}) == {}


def test_systems_are_resampled_together():
    values = np.random.default_rng(6).random((1, 50))
    both = resampled_means(np.concatenate([values, values + 0.25]), None, 40, seed=7)
    assert both.shape == (2, 40) and both[1] - both[0] == pytest.approx(0.25)


def test_two_systems_are_compared_on_the_queries_that_they_share():
    rows = [("human", query, document, system, score) for system, scores in (("old", (0.1, 0.2, 0.3)), ("new", (0.2, 0.2, 0.9)))
            for query, document, score in zip("abc", ("x", "x", "y"), scores, strict=True)]  # fmt: skip
    table = pl.DataFrame(rows[:-1], schema=["source", "query_id", "cluster", "system", "ndcg@10"], orient="row")
    found = paired_by_query(table, "new", "old", SETTINGS)
    assert (found.queries, found.clusters, found.difference) == (2, 1, pytest.approx(0.05))
    assert paired_by_query(table.drop("cluster"), "new", "old", SETTINGS).clusters == 2
    assert paired_by_query(table, "new", "nobody", SETTINGS) is None


@pytest.mark.parametrize(
    ("at_a_half", "clusters", "taken"),
    [
        # One query in four is worse: the mean difference is .025, and so is its standard error.
        ([0.9, 1.0, 1.0, 1.0], None, 0.5),
        # Three are: .075, of which the standard error is .025 as well.
        ([0.9, 0.9, 0.9, 1.0], None, 0.3),
        # They are about one document, and so say no more than one.
        ([0.9, 0.9, 0.9, 1.0], ["a", "a", "a", "b"], 0.3),
        ([0.9, 0.9, 1.0, 1.0], ["a", "a", "b", "b"], 0.5),
        ([1.0, 1.0, 1.0, 1.0], None, 0.5),
    ],
)
def test_what_cannot_be_told_from_the_best_is_as_good(at_a_half, clusters, taken):
    values = {0.3: np.ones(4), 0.5: np.array(at_a_half), 0.9: np.zeros(4)}
    assert nearest_within_error(values, clusters, 0.5) == taken


def test_of_two_that_are_as_near_the_better_one_is_taken():
    values = {0.4: np.array([0.9, 0.5, 0.7]), 0.5: np.zeros(3), 0.6: np.array([0.8, 0.6, 0.6])}
    assert nearest_within_error(values, None, 0.5) == 0.4


@pytest.mark.parametrize(("spread", "difference"), [(0.25, 0.05), (0.2, 0.1), (0.3, 0.02), (0.1, 0.09)])
def test_so_many_queries_have_the_power_that_is_asked_for(spread, difference):
    from scipy.stats import nct, t

    def power(queries: int) -> float:
        critical, shift = t.ppf(0.975, queries - 1), difference / spread * np.sqrt(queries)
        return nct.sf(critical, queries - 1, shift) + nct.cdf(-critical, queries - 1, shift)

    needed = queries_needed(spread, difference)
    assert power(needed + 1) >= 0.8 and power(needed - 2) < 0.8
    assert smallest_difference(spread, needed) <= difference < smallest_difference(spread, needed - 1)


def test_too_few_queries_show_no_difference_at_all():
    assert smallest_difference(0.2, 1) == float("inf") and queries_needed(0.01, 0.5) >= 2


def test_queries_about_one_document_say_less_than_as_many_independent_ones():
    values = np.random.default_rng(3).normal(0, 0.2, 200)
    independent = spread_of(paired_difference(values, None, SETTINGS))
    assert independent == pytest.approx(values.std(ddof=1), rel=1e-6)
    repeated = np.repeat(values[:50], 4)
    assert spread_of(paired_difference(repeated, np.repeat(np.arange(50), 4), SETTINGS)) == pytest.approx(
        2 * values[:50].std(ddof=1), rel=0.02
    )
