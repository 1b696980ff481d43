"""How the gain grows with the number of training examples, and whether more of them would help."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embed_assets.artifacts.blocks import content_of
from embed_assets.sweep.trials import Trial
from embed_assets.training.settings import TrainingSettings

LEAST_GAIN = 0.005  # a smaller difference of nDCG@10 is not worth the work
RESAMPLES = 300
SLOPES = np.linspace(0.3, 1.0, 8)


@dataclass(frozen=True)
class Saturation:
    """A fitted curve of gain against training size.

    Args:
        limit: the gain that it approaches.
        half: number of examples with half of that gain.
        slope: how sudden the curve is; the smaller, the later it saturates.
        added, added_low, added_high: what twice as many examples would add, with its 95% interval.
        verdict: whether more data would help, in words.
    """

    limit: float
    half: float
    slope: float
    added: float
    added_low: float
    added_high: float
    verdict: str

    def gain(self, examples: np.ndarray) -> np.ndarray:
        """The gain at numbers of examples."""
        return hill_curve(examples, self.limit, self.half, self.slope)


def hill_curve(examples: np.ndarray, limit: float, half: float, slope: float) -> np.ndarray:
    """limit · n^slope / (n^slope + half^slope): no gain without examples, and a limit (Hill, 1910).

    With a slope of 1 it is a hyperbola; with a small one and a far limit it grows like a power or a logarithm, so
    that saturation is found only where there is some.
    """
    return limit / (1 + (half / np.maximum(examples, 1e-9)) ** slope)


def gains_by_examples(trials: Sequence[Trial], training: TrainingSettings) -> tuple[np.ndarray, np.ndarray]:
    """The points of the curve: trials that differ from the settings in nothing but the share of the data.

    Returns:
        Number of training examples, ascending, shape (trials,), and what the test queries have gained over the base
        model (nDCG@10), shape (trials, queries).

    Raises:
        ValueError: there are fewer than three sizes, or no test queries.
    """
    if missing := missing_for_curve(trials, training):
        raise ValueError(missing)
    points = {trial.examples: trial.values("test") - trial.values("test", "base") for trial in _points(trials, training)}
    return np.array(sorted(points)), np.stack([points[examples] for examples in sorted(points)])


def missing_for_curve(trials: Sequence[Trial], training: TrainingSettings) -> str:
    """What a curve of these trials cannot be fitted without, in words; empty where it can be."""
    points = _points(trials, training)
    sizes = len({trial.examples for trial in points})
    if sizes < 3:
        return (
            f"a saturation curve needs trials of at least three sizes, and {sizes} are finished: "
            "materialize the partitions data_share=… of 'trial'"
        )
    if not len(points[0].values("test")):
        return "there are no test queries: add human labels or raise evaluation_set.test_share"
    return ""


def _points(trials: Sequence[Trial], training: TrainingSettings) -> list[Trial]:
    wanted = content_of(training)
    return [trial for trial in trials if content_of(trial.training) | {"data_share": training.data_share} == wanted]


def fit_saturation(examples: np.ndarray, gains: np.ndarray, seed: int) -> Saturation:
    """Fit gain against training size, and say what twice the data would add.

    Args:
        examples: number of training examples of each trial, shape (trials,).
        gains: difference to the base model for each query, shape (trials, queries).
        seed: of the bootstrap over the queries that gives the interval.
    """
    parameters = _fit(examples, gains.mean(axis=1))
    sizes = np.array([examples.max(), 2 * examples.max()])

    def added(limit: float, half: float, slope: float) -> float:
        return float(np.diff(hill_curve(sizes, limit, half, slope))[0])

    generator = np.random.default_rng(seed)
    draws = generator.integers(0, gains.shape[1], size=(RESAMPLES, gains.shape[1]))
    low, high = np.percentile([added(*_fit(examples, gains[:, draw].mean(axis=1))) for draw in draws], [2.5, 97.5])
    middle = added(*parameters)
    if low > LEAST_GAIN:
        verdict = "more data would help"
    elif high < LEAST_GAIN:
        verdict = "more data of this kind would hardly help"
    else:
        verdict = "these queries cannot tell whether more data would help"
    words = f"{verdict}: twice as many examples would add {middle:+.3f} (95% {low:+.3f} to {high:+.3f})"
    return Saturation(*parameters, middle, float(low), float(high), words)


def _fit(examples: np.ndarray, gains: np.ndarray) -> tuple[float, float, float]:
    """Least squares: for a given half and slope the best limit has a closed form, so that only those are searched for."""
    halves, slopes = np.meshgrid(np.geomspace(examples.min() / 100, examples.max() * 100, 200), SLOPES)
    halves, slopes = halves.ravel(), slopes.ravel()
    shapes = hill_curve(examples, 1.0, halves[:, None], slopes[:, None])
    limits = shapes @ gains / (shapes**2).sum(axis=1)
    best = int(np.argmin(((gains - limits[:, None] * shapes) ** 2).sum(axis=1)))
    return float(limits[best]), float(halves[best]), float(slopes[best])
