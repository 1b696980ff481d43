"""The score table of any models on the evaluation set of a collection."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from embed_assets.evaluation_set import read_evaluation_set
from embed_assets.models.encoders import Encoder
from embed_assets.models.hardware import Compute
from embed_assets.publishing import encoder_of
from embed_assets.scoring import score_systems
from embed_assets.workspace import Workspace

BASE = "base"


def compare_models(
    workspace: Workspace, collection: str, models: Sequence[str], compute: Compute = Compute()
) -> list[dict[str, Any]]:
    """Score models side by side with BM25, and test each against the first one.

    Args:
        workspace: settings and store.
        collection: name of the collection.
        models: ``base``; the fingerprint of a checkpoint in the store, or how it begins; or a model's folder or name.
        compute: where to encode.

    Returns:
        The summary of each label source, as score_systems gives it.

    Raises:
        MissingArtifactError: the collection has no chunks or no evaluation set yet.
        ModelNotFoundError: there is no such model.
    """
    store, settings = workspace.store, workspace.settings(collection)
    corpus = store.current("corpus_chunks", collection).folder
    queries, labels = read_evaluation_set(store.current("evaluation_set", collection).folder, corpus)
    chunks = pl.read_parquet(corpus / "chunks.parquet")
    encoders = {model: _open(workspace, collection, model, compute) for model in models}
    comparisons = [(model, models[0]) for model in encoders if model != models[0]]
    scores = score_systems(collection, chunks, queries, labels, encoders, settings.scoring, {}, comparisons)
    return [score.summary for score in scores]


def _open(workspace: Workspace, collection: str, model: str, compute: Compute) -> Encoder:
    base_model = workspace.settings(collection).base_model
    if model == BASE:
        return Encoder(base_model, workspace.memos, compute=compute)
    for folder in (workspace.store.root / "checkpoint").glob("*/"):
        for checkpoint in workspace.store.artifacts("checkpoint", folder.name):
            if checkpoint.fingerprint.startswith(model):
                return encoder_of(workspace, checkpoint, compute)
    return Encoder(base_model, workspace.memos, model, compute)
