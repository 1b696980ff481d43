"""Which trial is best, and which differences are noise."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from embed_assets.artifacts.blocks import content_of
from embed_assets.evaluation.settings import ScoringSettings
from embed_assets.evaluation.statistics import bootstrap_interval, paired_p_value
from embed_assets.sweep.trials import Trial
from embed_assets.training.settings import TrainingSettings

LEVEL = 0.05
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

    Each trial is compared with the best by a paired t-test over the queries, with Holm's correction for the number of
    trials (Scandinavian Journal of Statistics 6, 1979); what has a p value from 5% on is called noise. Trials on
    another share of the data are left out.

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
    p_values = _holm({trial.name: paired_p_value(dev[trial.name] - dev[best.name]) for trial in ranking[1:]})
    rows = []
    for trial in ranking:
        difference, p_value = dev[trial.name] - dev[best.name], p_values.get(trial.name)
        row = {"trial": trial.name, "examples": trial.examples}
        row |= _mean_and_interval("dev", dev[trial.name], settings) | _mean_and_interval("to_best", difference, settings)
        row |= {"p_value": p_value, "verdict": BEST if p_value is None else WORSE if p_value < LEVEL else NOISE}
        if trial.source("test"):
            test = trial.values("test")
            row |= {"test": float(test.mean())} | _mean_and_interval("gain", test - trial.values("test", "base"), settings)
        rows.append(row)
    as_set = next((trial.name for trial in ranking if content_of(trial.training) == content_of(training)), None)
    settled = as_set is not None and p_values.get(as_set, 1.0) >= LEVEL
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


def _mean_and_interval(name: str, values: np.ndarray, settings: ScoringSettings) -> dict[str, float]:
    low, high = bootstrap_interval(values, settings)
    return {name: float(values.mean()), f"{name}_low": low, f"{name}_high": high}


def _holm(p_values: Mapping[str, float]) -> dict[str, float]:
    corrected: dict[str, float] = {}
    highest = 0.0
    for place, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        highest = max(highest, min(1.0, p_values[name] * (len(p_values) - place)))
        corrected[name] = highest
    return corrected
