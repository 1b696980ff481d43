"""Which trials keep their weights: scores and settings are small, checkpoints are not."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from embed_assets.artifacts.store import Artifact
from embed_assets.sweep.trials import read_trial

BEST = 3  # a promoted trial out of these needs no training


def weights_of_trials(trials: Mapping[str, Artifact], checkpoints: Iterable[Artifact]) -> tuple[list[Artifact], set[Path]]:
    """The checkpoints of the best trials by dev nDCG@10, and the folders of those of all trials.

    Only trials that were made of the same triplets and evaluation set can be compared: the newest such group counts.

    Args:
        trials: finished trials by name.
        checkpoints: all checkpoints of the collection.
    """
    of_trial = {_trained_with(artifact): name for name, artifact in trials.items()}
    of_trials = [it for it in checkpoints if _trained_with(it) in of_trial]
    trained = {of_trial[_trained_with(it)]: it for it in of_trials}
    newest = max(trials.values(), key=lambda it: str(it.manifest.get("built_at")), default=None)
    made_of = newest.manifest["inputs"] if newest is not None else {}
    scores = {}
    for name, artifact in trials.items():
        if name in trained and artifact.manifest["inputs"] == made_of:
            values = read_trial(name, artifact).values("dev")
            scores[name] = values.mean() if len(values) else float("-inf")
    best = sorted(scores, key=lambda name: scores[name], reverse=True)[:BEST]
    return [trained[name] for name in best], {it.path for it in of_trials}


def _trained_with(artifact: Artifact) -> str:
    """What a trial and the checkpoint that it trained have in common."""
    manifest = artifact.manifest
    settings = {name: manifest["settings"].get(name) for name in ("base_model", "training")}
    return json.dumps([settings, manifest["inputs"].get("triplets"), manifest["sources"]], sort_keys=True)
