"""Which trial is best, and which differences are noise."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from embed_assets.artifacts.blocks import content_of
from embed_assets.evaluation.checks import SIGNIFICANCE
from embed_assets.evaluation.settings import ScoringSettings
from embed_assets.evaluation.statistics import holm, mean_interval, paired_difference
from embed_assets.sweep.trials import Trial
from embed_assets.training.settings import TrainingSettings

BEST, NOISE, WORSE = "best", "within noise of the best", "worse"


@dataclass(frozen=True)
class Leaderboard:
    """Trials, best first.

    Args:
        table: one row for each trial: ``trial``, ``examples``; ``dev``, ``dev_low``, ``dev_high``, nDCG@10 on the dev
            queries with its 95% interval; ``to_best``, ``to_best_low``, ``to_best_high``, ``p_value``, the paired
            difference to the best trial; ``verdict``; and, where there are test queries, ``test``, ``gain``,
            ``gain_low``, ``gain_high``, nDCG@10 on them and what it has gained over the base model.
        queries: what the dev and test queries are, in words.
        advice: which trial to promote, in words.
        settled: whether no trial is significantly better than the settings as they are.
    """

    table: pl.DataFrame
    queries: str
    advice: str
    settled: bool


def rank_trials(trials: Sequence[Trial], training: TrainingSettings, settings: ScoringSettings) -> Leaderboard:
    """Rank trials by their dev queries, so that the test queries stay a fair judge of the one that is chosen.

    Each trial is compared with the best by a paired test over documents (statistics), with Holm's correction for all
    the pairs that could have been the best and another; what has a p value from 5% on is called noise. The settings as
    they are, which are no choice after the fact, are corrected for the number of trials alone. Trials on another share
    of the data are left out.

    Args:
        trials: finished trials of a collection.
        training: the collection's settings.
        settings: bootstrap.

    Raises:
        ValueError: there is no trial, or no dev query to rank by.
    """
    ranked = [trial for trial in trials if trial.training.data_share == training.data_share]
    # Two names may stand for one training: what is as the settings say goes by its longer name.
    distinct = {json.dumps(content_of(trial.training)): trial for trial in sorted(ranked, key=lambda trial: len(trial.name))}
    if not distinct:
        raise ValueError("no trial of these settings is finished: materialize partitions of 'trial' first")
    dev = {trial.name: trial.values("dev") for trial in distinct.values()}
    if not len(next(iter(dev.values()))):
        raise ValueError("trials are ranked by dev queries, and there are none: raise evaluation_set.dev_share")
    ranking = sorted(distinct.values(), key=lambda trial: (-dev[trial.name].mean(), trial.name))
    best = ranking[0]
    clusters = {split: best.clusters(split) for split in ("dev", "test")}
    tests = {trial.name: paired_difference(dev[trial.name] - dev[best.name], clusters["dev"], settings) for trial in ranking[1:]}
    p_values = holm({name: test.p_value for name, test in tests.items()})
    # The best of m is the luckiest as well: it is m / 2 times as likely to beat another one by chance.
    of_pairs = {name: min(1.0, len(ranking) / 2 * p_value) for name, p_value in p_values.items()}
    rows = []
    for trial in ranking:
        difference, p_value = dev[trial.name] - dev[best.name], of_pairs.get(trial.name)
        row = {"trial": trial.name, "examples": trial.examples}
        row |= _mean_and_interval("dev", dev[trial.name], clusters["dev"], settings, (0, 1))
        row |= _mean_and_interval("to_best", difference, clusters["dev"], settings, (-1, 1))
        row |= {"p_value": p_value, "verdict": BEST if p_value is None else WORSE if p_value < SIGNIFICANCE else NOISE}
        if trial.source("test"):
            test = trial.values("test")
            gain = test - trial.values("test", "base")
            row |= {"test": float(test.mean())} | _mean_and_interval("gain", gain, clusters["test"], settings, (-1, 1))
        rows.append(row)
    as_set = next((trial.name for trial in ranking if content_of(trial.training) == content_of(training)), None)
    settled = as_set is not None and p_values.get(as_set, 1.0) >= SIGNIFICANCE
    queries = [
        f"{len(best.values(split))} {best.source(split)} {split} queries" for split in ("dev", "test") if best.source(split)
    ]
    return Leaderboard(pl.DataFrame(rows), " and ".join(queries), _advice(best.name, as_set, settled), settled)


def _advice(best: str, as_set: str | None, settled: bool) -> str:
    if as_set == best:
        return "The settings as they are do best."
    if as_set is None:
        return f"{best} does best; no trial has the settings as they are, so whether it is better than they is not known."
    if settled:
        return f"Keep the settings: {best} is not significantly better than {as_set}, which is what they say."
    return f"Promote {best}: it is significantly better than {as_set}, which is what the settings say."


def _mean_and_interval(
    name: str, values: np.ndarray, clusters: Sequence[str], settings: ScoringSettings, bounds: tuple[float, float]
) -> dict[str, float]:
    low, high = mean_interval(values, clusters, settings, bounds)
    return {name: float(values.mean()), f"{name}_low": low, f"{name}_high": high}
