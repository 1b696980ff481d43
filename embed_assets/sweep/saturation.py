"""How the gain grows with the number of training examples, and whether more of them would help."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embed_assets.artifacts.blocks import content_of
from embed_assets.evaluation.statistics import resampled_means
from embed_assets.sweep.trials import Trial
from embed_assets.training.settings import TrainingSettings

LEAST_GAIN = 0.01  # a smaller difference of nDCG@10 is not worth the work: another seed moves a score by as much
# Standard deviation of nDCG@10 over training seeds where sizes were trained with one seed only, so that nobody knows it:
# two trainings that differ in nothing else are then √2 times as much apart, 0.01, which is what the sample collections show.
SEED_DEVIATION = 0.007
FEWEST_REPETITIONS = 3
RESAMPLES = 300
SLOPES = np.linspace(0.3, 1.0, 8)


@dataclass(frozen=True)
class Saturation:
    """A fitted curve of gain against training size.

    Args:
        limit: the gain that it approaches.
        half: number of examples with half of that gain.
        slope: how sudden the curve is; the smaller, the later it saturates.
        added, added_low, added_high: what twice as many examples would add, with its 95% interval, which includes the noise
            of the queries and that of a training seed.
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


def hill_curve(examples: np.ndarray, limit: float, half: float | np.ndarray, slope: float | np.ndarray) -> np.ndarray:
    """limit · n^slope / (n^slope + half^slope): no gain without examples, and a limit (Hill, 1910).

    With a slope of 1 it is a hyperbola; with a small one and a far limit it grows like a power or a logarithm, so
    that saturation is found only where there is some.
    """
    return limit / (1 + (half / np.maximum(examples, 1e-9)) ** slope)


@dataclass(frozen=True)
class Points:
    """The points of the curve: trials that differ from the settings in nothing but the share of the data and the seed.

    Args:
        examples: number of training examples of each trial, ascending, shape (trials,).
        gains: what the test queries have gained over the base model (nDCG@10), shape (trials, queries).
        clusters: what each query is about.
    """

    examples: np.ndarray
    gains: np.ndarray
    clusters: Sequence[str] | None = None


def gains_by_examples(trials: Sequence[Trial], training: TrainingSettings) -> Points:
    """The points of the curve.

    Raises:
        ValueError: there are fewer than three sizes, or no test queries.
    """
    if missing := missing_for_curve(trials, training):
        raise ValueError(missing)
    points = sorted(_points(trials, training), key=lambda trial: (trial.examples, trial.name))
    # Two names may stand for one training.
    points = list({json.dumps(content_of(trial.training)): trial for trial in points}.values())
    gains = [trial.values("test") - trial.values("test", "base") for trial in points]
    return Points(np.array([trial.examples for trial in points]), np.stack(gains), points[0].clusters("test"))


def missing_for_curve(trials: Sequence[Trial], training: TrainingSettings) -> str:
    """What a curve of these trials cannot be fitted without, in words; empty where it can be."""
    points = _points(trials, training)
    sizes = len({trial.examples for trial in points})
    if sizes < 3:
        return (
            f"a saturation curve needs trials of at least three sizes, and {sizes} are finished: "
            "train trials such as data_share=0.5, which are partitions of 'trial'"
        )
    if not len(points[0].values("test")):
        return "there are no test queries: add human labels or raise evaluation_set.test_share"
    return ""


def _points(trials: Sequence[Trial], training: TrainingSettings) -> list[Trial]:
    same, wanted = {"data_share": training.data_share, "seed": training.seed}, content_of(training)
    return [trial for trial in trials if content_of(trial.training) | same == wanted]


def fit_saturation(points: Points, seed: int) -> Saturation:
    """Fit gain against training size, and say what twice the data would add.

    The interval comes from a bootstrap over documents, in which the mean of each training moves by the noise of its
    seed: the spread of sizes that were trained with several seeds, else SEED_DEVIATION.

    Args:
        points: of the curve.
        seed: of the bootstrap.
    """
    examples, gains = points.examples, points.gains
    parameters = _fit(examples, gains.mean(axis=1))
    deviation, measured = _seed_deviation(points)
    sizes = np.array([examples.max(), 2 * examples.max()])

    def added(limit: float, half: float, slope: float) -> float:
        return float(np.diff(hill_curve(sizes, limit, half, slope))[0])

    means = resampled_means(gains, points.clusters, RESAMPLES, seed)
    means += np.random.default_rng(seed).normal(0, deviation, means.shape)
    low, high = np.percentile([added(*_fit(examples, of_draw)) for of_draw in means.T], [2.5, 97.5])
    middle = added(*parameters)
    if low > LEAST_GAIN:
        verdict = "more data would help"
    elif high < LEAST_GAIN:
        verdict = "more data of this kind would hardly help"
    else:
        verdict = "these queries cannot tell whether more data would help"
    noise = f"{'measured' if measured else 'assumed'} noise of a training seed: {deviation:.3f}"
    words = f"{verdict}: twice as many examples would add {middle:+.3f} (95% {low:+.3f} to {high:+.3f}; {noise})"
    return Saturation(*parameters, middle, float(low), float(high), words)


def _seed_deviation(points: Points) -> tuple[float, bool]:
    """Standard deviation of a mean gain over training seeds, and whether sizes with several seeds show it."""
    means = points.gains.mean(axis=1)
    repeated = [means[points.examples == size] for size in np.unique(points.examples)]
    repeated = [of_size for of_size in repeated if len(of_size) > 1]
    freedom = sum(len(of_size) - 1 for of_size in repeated)
    # Fewer repetitions than this know the noise worse than a guess does.
    if freedom < FEWEST_REPETITIONS:
        return SEED_DEVIATION, False
    return float(np.sqrt(sum(((of_size - of_size.mean()) ** 2).sum() for of_size in repeated) / freedom)), True


def _fit(examples: np.ndarray, gains: np.ndarray) -> tuple[float, float, float]:
    """Least squares: for a given half and slope the best limit has a closed form, so that only those are searched for."""
    halves, slopes = np.meshgrid(np.geomspace(examples.min() / 100, examples.max() * 100, 200), SLOPES)
    halves, slopes = halves.ravel(), slopes.ravel()
    shapes = hill_curve(examples, 1.0, halves[:, None], slopes[:, None])
    limits = shapes @ gains / (shapes**2).sum(axis=1)
    best = int(np.argmin(((gains - limits[:, None] * shapes) ** 2).sum(axis=1)))
    return float(limits[best]), float(halves[best]), float(slopes[best])
