"""Trials: the same training with some settings changed, so that the changes can be compared.

A trial's name says what is different in it, such as ``epochs=2_learning_rate=0.0001``; all else is as the settings of
the collection say. It trains into the same place as the checkpoint, under the fingerprint that the checkpoint would
have with these settings. So a trial that is promoted needs no training, and one that changes nothing is done already.
"""

import contextlib
import io
import itertools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import ValidationError

from embed_assets.artifacts.errors import UserError
from embed_assets.artifacts.files import write_atomically
from embed_assets.artifacts.store import Artifact
from embed_assets.evaluation.evaluation_set import Split
from embed_assets.evaluation.labels import deciding_source
from embed_assets.evaluation.metrics import HEADLINE
from embed_assets.evaluation.statistics import CLUSTER, with_clusters
from embed_assets.sweep.settings import TrialsSettings
from embed_assets.training.settings import TrainingSettings

PER_QUERY, EXAMPLES = "per_query.parquet", "examples.json"
PARAMETERS = (
    "batch_size",
    "data_share",
    "epochs",
    "hard_negatives",
    "learning_rate",
    "merge",
    "seed",
    "temperature",
    "warmup_share",
)
_BETWEEN = re.compile(rf"_(?=(?:{'|'.join(PARAMETERS)})=)")
_NUMBER = re.compile(r"-?[0-9]*\.?[0-9]+(?:e[-+]?[0-9]+)?")
# What Optuna varies.
SEARCHED = frozenset({"epochs", "hard_negatives", "learning_rate", "warmup_share"})


class TrialError(UserError, ValueError):
    """A trial's name does not say what is different in it; the message says how it should."""


@dataclass(frozen=True)
class Trial:
    """A finished trial.

    Args:
        name: what is different in it.
        training: all that it was trained with.
        examples: number of triplets that it was trained on.
        per_query: scores of each query: ``split``, ``source``, ``system`` (base, tuned), ``query_id`` and the metrics.
        seconds: time of its training.
    """

    name: str
    training: TrainingSettings
    examples: int
    per_query: pl.DataFrame
    seconds: float

    def values(self, split: Split, system: str = "tuned") -> np.ndarray:
        """The headline metric of each query of a split, by the label source that decides; empty where it has none."""
        return self._scores(split, system)[HEADLINE].to_numpy()

    def clusters(self, split: Split) -> list[str]:
        """What each query of ``values`` is about."""
        return self._scores(split, "tuned")[CLUSTER].to_list()

    def source(self, split: Split) -> str | None:
        """The label source of a split that decides: human labels where there are enough."""
        of_split = self.per_query.filter((pl.col("split") == split) & (pl.col("system") == "tuned"))
        return deciding_source(dict(of_split.group_by("source").len().iter_rows()))

    def _scores(self, split: Split, system: str) -> pl.DataFrame:
        of_system = self.per_query.filter((pl.col("split") == split) & (pl.col("system") == system))
        return with_clusters(of_system.filter(pl.col("source") == self.source(split)).sort("query_id"))


def read_trial(name: str, artifact: Artifact) -> Trial:
    """A trial as it lies in the store."""
    per_query = pl.read_parquet(artifact.folder / PER_QUERY)
    training = TrainingSettings.model_validate(artifact.manifest["settings"]["training"], strict=False)
    examples = json.loads((artifact.folder / EXAMPLES).read_text(encoding="utf-8"))
    return Trial(name, training, examples, per_query, artifact.summary["training_seconds"])


def read_trials(artifacts: Mapping[str, Artifact]) -> list[Trial]:
    """Trials by name, as they lie in the store."""
    return [read_trial(*finished) for finished in artifacts.items()]


def trial_name(changes: Mapping[str, float]) -> str:
    """The name of the trial with these values of training settings."""
    return "_".join(f"{parameter}={changes[parameter]:g}" for parameter in sorted(changes))


def trial_place(collection: str, name: str) -> str:
    """Where the artifact of a trial lies in the store."""
    return f"{collection}/{name}"


def with_trial(training: TrainingSettings, name: str) -> TrainingSettings:
    """The training settings of a collection with those of a trial in their place.

    Raises:
        TrialError: the name is none of a trial, or gives a value that is not allowed.
    """
    try:
        return TrainingSettings.model_validate(training.model_dump() | _changes(name))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise TrialError(f"trial {name!r}: {problems}") from None


def _changes(name: str) -> dict[str, float | int]:
    changes: dict[str, float | int] = {}
    for part in _BETWEEN.split(name):
        parameter, _, value = part.partition("=")
        if parameter not in PARAMETERS or not _NUMBER.fullmatch(value):
            raise TrialError(
                f"{name!r} is no trial: join settings and values with '_', such as epochs=2_learning_rate=0.0001; "
                f"the settings are {', '.join(PARAMETERS)}"
            )
        changes[parameter] = int(value) if value.isdigit() else float(value)
    return changes


def suggested_trials(training: TrainingSettings, chosen: TrialsSettings, finished: Iterable[str]) -> set[str]:
    """Those of the finished trials that the search may have suggested: beside the grid, and of what it varies."""
    planned = planned_trials(training, chosen)
    return {name for name in finished if name not in planned and _changes(name).keys() <= SEARCHED}


def planned_trials(training: TrainingSettings, chosen: TrialsSettings) -> list[str]:
    """The names of the grid's trials, and of those for the saturation curve."""
    rates = [float(f"{factor * training.learning_rate:g}") for factor in chosen.learning_rate_factors]
    axes = {
        "learning_rate": rates,
        "epochs": chosen.epochs,
        "warmup_share": chosen.warmup_shares,
        "hard_negatives": chosen.hard_negatives,
    }
    axes = {parameter: values for parameter, values in axes.items() if values}
    grid = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())] if axes else []
    names = [trial_name(changes) for changes in [*grid, *({"data_share": share} for share in chosen.data_shares)]]
    return list(dict.fromkeys(names))


def suggest_trial(training: TrainingSettings, mined: int, finished: Mapping[str, float]) -> str:
    """The name of the trial that is worth trying next: Optuna's tree-structured Parzen estimator (NeurIPS 2011).

    It varies the learning rate (a quarter to four times the setting), the epochs (1 to 5), the share of warm-up (0 to
    20%) and, where several hard negatives were mined, their number.

    Args:
        training: the settings of the collection.
        mined: number of hard negatives that were mined for each query.
        finished: name of each finished trial → its score, of which more is better.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rate = training.learning_rate
    space: dict[str, optuna.distributions.BaseDistribution] = {
        "learning_rate": optuna.distributions.FloatDistribution(rate / 4, rate * 4, log=True),
        "epochs": optuna.distributions.IntDistribution(1, 5),
        "warmup_share": optuna.distributions.FloatDistribution(0.0, 0.2, step=0.05),
    }
    if mined > 1:
        space["hard_negatives"] = optuna.distributions.IntDistribution(1, mined)
    sampler = optuna.samplers.TPESampler(seed=training.seed + len(finished), n_startup_trials=5)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for name, score in finished.items():
        tried = with_trial(training, name)
        values = {parameter: getattr(tried, parameter) for parameter in space}
        if "hard_negatives" in space:
            values["hard_negatives"] = mined if tried.hard_negatives is None else tried.hard_negatives
        # Trials outside of the space, or of less data, tell nothing about the others.
        if tried.data_share == training.data_share:
            with contextlib.suppress(ValueError):
                study.add_trial(optuna.trial.create_trial(params=values, distributions=space, value=score))
    suggested = study.ask(space).params
    suggested["learning_rate"] = float(f"{suggested['learning_rate']:.2g}")
    return trial_name(suggested)


def promote_trial(folder: Path, training: TrainingSettings, name: str) -> Path:
    """Write the settings of a trial into the settings.yaml of a collection's folder; all else in it stays, comments too.

    The next materialization of ``checkpoint`` finds what the trial has trained.

    Returns:
        The file.

    Raises:
        TrialError: the name is none of a trial.
    """
    from ruamel.yaml import YAML

    with_trial(training, name)
    path = folder / "settings.yaml"
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 4096
    content: Any = (yaml.load(path.read_text(encoding="utf-8")) if path.is_file() else None) or {}
    # A block whose lines are all comments is empty.
    content["training"] = content.get("training") or {}
    content["training"].update(_changes(name))
    text = io.StringIO()
    yaml.dump(content, text)
    write_atomically(path, text.getvalue())
    return path
