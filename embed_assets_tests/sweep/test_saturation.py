"""The curve of gain against training size."""

import numpy as np
import pytest

from embed_assets.sweep.saturation import Points, fit_saturation, gains_by_examples, hill_curve, missing_for_curve
from embed_assets_tests.sweep.test_leaderboard import AS_SET, trial

EXAMPLES = np.array([100, 250, 500, 1000])


def gains(limit: float, half: float, noise: float, slope: float = 1.0, queries: int = 400) -> np.ndarray:
    spread = np.random.default_rng(3).normal(0, noise, queries)
    return hill_curve(EXAMPLES, limit, half, slope)[:, None] + spread - spread.mean()


def test_the_curve_that_made_the_points_is_found():
    curve = fit_saturation(Points(EXAMPLES, gains(0.2, 400, 0.05)), seed=1)
    assert curve.limit == pytest.approx(0.2, rel=0.05) and curve.half == pytest.approx(400, rel=0.1)
    assert curve.added == pytest.approx(0.2 * (2000 / 2400 - 1000 / 1400), rel=0.1)
    assert curve.gain(EXAMPLES) == pytest.approx(hill_curve(EXAMPLES, 0.2, 400, 1.0), rel=0.02)


def test_growth_without_a_limit_in_sight_is_not_taken_for_saturation():
    slow = gains(2.0, 1e5, 0.01, slope=0.4)
    curve = fit_saturation(Points(EXAMPLES, slow), seed=1)
    assert curve.added == pytest.approx(np.diff(hill_curve(np.array([1000, 2000]), 2.0, 1e5, 0.4))[0], rel=0.1)
    assert curve.verdict.startswith("more data would help")


@pytest.mark.parametrize(
    ("limit", "half", "noise", "verdict"),
    [
        (0.4, 2000, 0.05, "more data would help"),
        (0.1, 10, 0.05, "more data of this kind would hardly help"),
        (0.1, 400, 3.0, "these queries cannot tell whether more data would help"),
    ],
)
def test_the_verdict_goes_by_the_interval(limit: float, half: float, noise: float, verdict: str):
    curve = fit_saturation(Points(EXAMPLES, gains(limit, half, noise)), seed=1)
    assert curve.verdict.startswith(f"{verdict}: twice as many examples would add")
    assert curve.added_low <= curve.added <= curve.added_high


def test_points_are_trials_that_differ_in_the_share_of_the_data_alone():
    trials = [
        trial("data_share=1", [], [0.5, 1.0], examples=100),
        trial("data_share=0.25", [], [0.25, 0.5], examples=25, data_share=0.25),
        trial("data_share=0.5", [], [0.25, 0.75], examples=50, data_share=0.5),
        trial("epochs=2_data_share=0.1", [], [0.0, 0.0], examples=10, data_share=0.1, epochs=2.0),
    ]
    points = gains_by_examples(trials, AS_SET)
    assert points.examples.tolist() == [25, 50, 100]
    assert points.gains.tolist() == [[0.0, 0.25], [0.0, 0.5], [0.25, 0.75]]
    with pytest.raises(ValueError, match="three sizes, and 2 are finished"):
        gains_by_examples(trials[:2], AS_SET)
    assert missing_for_curve(trials, AS_SET) == "" and "2 are finished" in missing_for_curve(trials[:2], AS_SET)


def test_a_curve_needs_test_queries():
    trials = [trial(f"data_share={share}", [0.5], examples=int(100 * share), data_share=share) for share in (0.25, 0.5, 1.0)]
    with pytest.raises(ValueError, match=r"add human labels or raise evaluation_set\.test_share"):
        gains_by_examples(trials, AS_SET)


def test_the_interval_holds_the_noise_of_a_seed_however_many_queries_there_are():
    exact = Points(EXAMPLES, gains(0.1, 400, 0.0))
    curve = fit_saturation(exact, seed=1)
    assert curve.added_high - curve.added_low > 0.01 and "assumed noise of a training seed: 0.007" in curve.verdict
    sizes = np.repeat(EXAMPLES, 2)
    quiet = fit_saturation(Points(sizes, np.repeat(gains(0.1, 400, 0.0), 2, axis=0)), seed=1)
    assert quiet.added_high - quiet.added_low < 0.002 and "measured noise of a training seed: 0.000" in quiet.verdict


def test_another_seed_of_a_size_is_a_point_of_its_own():
    trials = [
        trial(f"data_share={share:g}_seed={seed}", [], [share, share / 2], examples=int(100 * share), data_share=share, seed=seed)
        for share in (0.25, 0.5, 1.0)
        for seed in (1, 2)
    ]
    assert gains_by_examples(trials, AS_SET).examples.tolist() == [25, 25, 50, 50, 100, 100]
