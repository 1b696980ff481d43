"""The score table of any models on the evaluation set of a collection."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embed_assets.artifacts.errors import UserError
from embed_assets.artifacts.store import Artifact
from embed_assets.artifacts.workspace import Workspace
from embed_assets.evaluation.scoring import Contest, LabelledCollection, score_systems
from embed_assets.evaluation.settings import ScoringSettings
from embed_assets.evaluation.systems import encoder_of
from embed_assets.models.encoders import Encoder, TextEncoder
from embed_assets.models.hardware import Compute
from embed_assets.models.locations import ModelNotFoundError
from embed_assets.models.prompts import own_lengths
from embed_assets.models.settings import BaseModelSettings

BASE = "base"


class AmbiguousModelError(UserError):
    """Several checkpoints are meant; the message lists them."""


def compare_models(
    workspace: Workspace,
    collection: str,
    models: Sequence[str],
    base_model: BaseModelSettings,
    scoring: ScoringSettings,
    compute: Compute = Compute(),
) -> list[dict[str, Any]]:
    """Score models side by side with BM25, and test each against the first one.

    Args:
        workspace: store and memos.
        collection: name of the collection.
        models: ``base``; a model's folder or name; or the fingerprint of a checkpoint in the store, or how it begins.
        base_model: of the collection.
        scoring: how to score.
        compute: where to encode.

    Returns:
        The summary of each label source, as score_systems gives it.

    Raises:
        MissingArtifactError: the collection has no chunks or no evaluation set yet.
        ModelNotFoundError: there is no such model.
        AmbiguousModelError: the fingerprints of several checkpoints begin like this.
    """
    store = workspace.store
    corpus = store.current("corpus_chunks", collection).folder
    labelled = LabelledCollection.read(collection, corpus, store.current("evaluation_set", collection).folder)
    encoders = {model: _open(workspace, collection, model, base_model, compute) for model in models}
    comparisons = [(model, models[0]) for model in encoders if model != models[0]]
    contest = Contest(encoders, hybrids={}, comparisons=comparisons)
    scores = score_systems(labelled, contest, scoring, cluster=compute.cluster)
    return [score.summary for score in scores]


def _open(workspace: Workspace, collection: str, model: str, base_model: BaseModelSettings, compute: Compute) -> TextEncoder:
    if not model.strip():
        raise ModelNotFoundError("a model without a name: name 'base', a folder, or a checkpoint")
    if model == BASE:
        return Encoder(base_model, workspace.memos, compute=compute)
    if (checkpoint := find_checkpoint(workspace, collection, model)) is not None:
        return encoder_of(checkpoint, workspace.memos, compute)
    # Another model is read as its own configuration says: with its prompts, and its lengths.
    lengths = own_lengths(model, base_model.revision_of(model))
    longest = lengths["max_tokens"] or base_model.max_tokens
    own = {"query_prompt": None, "passage_prompt": None} | lengths | {"max_tokens": longest}
    return Encoder(base_model.model_copy(update=own), workspace.memos, model, compute)


def find_checkpoint(workspace: Workspace, collection: str, model: str) -> Artifact | None:
    """The checkpoint of any collection whose fingerprint begins like this; None: there is none, or this is a path.

    Raises:
        AmbiguousModelError: there are several.
    """
    if Path(model).exists():
        return None
    found: dict[str, tuple[str, Artifact]] = {}
    # Equal ingredients have equal fingerprints: of two such checkpoints this collection's own is taken.
    for name in sorted(workspace.store.folders("checkpoint"), key=lambda name: (name != collection, name)):
        for checkpoint in workspace.store.artifacts("checkpoint", name):
            if checkpoint.fingerprint.startswith(model):
                found.setdefault(checkpoint.fingerprint, (name, checkpoint))
    if len(found) > 1:
        listed = ", ".join(f"{name} {checkpoint.fingerprint[:12]}" for name, checkpoint in found.values())
        raise AmbiguousModelError(f"model {model!r}: {len(found)} checkpoints begin like this: {listed}")
    return next((checkpoint for _, checkpoint in found.values()), None)
