"""From a checkpoint to production: the gate, the index and the way back."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from embed_assets.artifacts.files import fingerprint_of, lock
from embed_assets.artifacts.store import Artifact, MissingArtifactError
from embed_assets.artifacts.workspace import Workspace
from embed_assets.corpus import production_table as production
from embed_assets.evaluation.evaluation_set import read_evaluation_set
from embed_assets.evaluation.metrics import HEADLINE
from embed_assets.evaluation.scoring import Scores, join_scores, score_systems
from embed_assets.evaluation.systems import encoder_of
from embed_assets.models.encoders import TextEncoder
from embed_assets.models.hardware import Compute
from embed_assets.production.gate import Verdict, judge
from embed_assets.production.published_index import Pointer, PublishedIndex, PublishingError
from embed_assets.reports.evaluation import write_comparison

SOURCE = "in production"
BASE_MODEL = "base model"
VERDICT = "verdict.json"
NOTHING = "nothing is published: publishing.uri is empty"
ROWS = ("chunks", "metadata_columns")
WITHOUT_CHECKPOINT = "publish from the home that built it, or set publish_anyway in the launchpad"
NEWER_CHUNKS = "the model in production, for newer chunks"


def index_of(workspace: Workspace, collection: str) -> PublishedIndex:
    """The published index of a collection.

    Raises:
        PublishingError: the settings name no database.
    """
    settings = workspace.settings(collection).publishing
    if not settings.uri:
        raise PublishingError(f"{collection}: {NOTHING}")
    return PublishedIndex(workspace.database(settings.uri), settings.table or collection)


def in_production(workspace: Workspace, collection: str) -> str:
    """Fingerprint of the checkpoint that a candidate has to beat; BASE_MODEL where nothing is published.

    For the candidate that is in production itself, it is the one that it took the place of.
    """
    index = index_of(workspace, collection)
    current = index.pointer().current
    metadata = index.metadata(current)
    candidate = _made_of(workspace, collection, workspace.store.current("checkpoint", collection))
    if current == index.table_name(candidate["fingerprint"]):
        return metadata.get("took_the_place_of", BASE_MODEL)
    return metadata.get("checkpoint", BASE_MODEL)


def judge_candidate(workspace: Workspace, collection: str, compared_with: str, compute: Compute, folder: Path) -> Verdict:
    """Compare the checkpoint with what is in production on the fixed evaluation set.

    Args:
        workspace: settings and store.
        collection: name of the collection.
        compared_with: fingerprint of the checkpoint in production, or BASE_MODEL.
        compute: where to encode.
        folder: gets the verdict, and the score tables in report/.
    """
    settings, store = workspace.settings(collection), workspace.store
    if compared_with == BASE_MODEL:
        scores = store.current("beir_scores", collection).folder
        summaries, per_query = json.loads((scores / "scores.json").read_text()), pl.read_parquet(scores / "per_query.parquet")
        verdict = judge(summaries, per_query, "base", "the base model", settings.publishing)
    else:
        checkpoint, in_use = store.current("checkpoint", collection), store.find("checkpoint", collection, compared_with)
        if in_use is None:
            reason = f"the checkpoint in production, {compared_with}, is not in the store, so nothing can be compared with it"
            verdict = Verdict(False, f"{reason}: {WITHOUT_CHECKPOINT}")
        elif in_use.digest == checkpoint.digest:
            verdict = Verdict(True, NEWER_CHUNKS)
        else:
            verdict = _compare(workspace, collection, in_use, compute, folder)
    write_verdict(folder, verdict)
    return verdict


def write_verdict(folder: Path, verdict: Verdict) -> None:
    """Write a verdict into the artifact of published_index."""
    (folder / VERDICT).write_text(json.dumps(asdict(verdict), indent=2, ensure_ascii=False), encoding="utf-8")


def read_verdict(workspace: Workspace, collection: str) -> Verdict:
    """The verdict on the current candidate."""
    folder = workspace.store.current("published_index", collection).folder
    return Verdict(**json.loads((folder / VERDICT).read_text(encoding="utf-8")))


def describe(workspace: Workspace, collection: str) -> dict[str, str]:
    """What is in production, for people."""
    if not workspace.settings(collection).publishing.uri:
        return {}
    index = index_of(workspace, collection)
    pointer = index.pointer()
    metadata = index.metadata(pointer.current)
    exported = exported_model(workspace, collection, metadata) if metadata else None
    return {
        "index": f"{index.uri}, {pointer.current}" if pointer.current else "none",
        "previous_index": pointer.previous or "none",
        "model_in_production": metadata.get("checkpoint", "none"),
        "onnx_model": str(exported.folder) if exported else "none",
        "in_production_since": pointer.swapped_at or "never",
    }


def checkpoint_of(workspace: Workspace, collection: str, metadata: Mapping[str, Any]) -> Artifact:
    """The checkpoint of a published table, given what it is made of.

    Raises:
        MissingArtifactError: it is not in the store.
    """
    checkpoint = workspace.store.find("checkpoint", collection, metadata["checkpoint"])
    if checkpoint is None:
        raise MissingArtifactError(
            f"{collection}: the checkpoint in production, {metadata['checkpoint']}, is not in {workspace.store.root}: "
            f"it was deleted, or built in another home: {WITHOUT_CHECKPOINT}"
        )
    return checkpoint


def exported_model(workspace: Workspace, collection: str, metadata: Mapping[str, Any]) -> Artifact | None:
    """The ONNX export of the model that a published table was made with, given what the table is made of; None: no export."""
    for exported in workspace.store.artifacts("onnx_model", collection):
        same_model = exported.manifest["inputs"].get("checkpoint") == metadata["model"]
        if same_model and exported.manifest["settings"]["base_model"] == metadata["base_model"]:
            return exported
    return None


def _score(
    workspace: Workspace, collection: str, encoders: Mapping[str, TextEncoder], comparisons: Sequence[tuple[str, str]] = ()
) -> list[Scores]:
    """The scores of models on the fixed evaluation set, with the current chunks."""
    corpus = workspace.store.current("corpus_chunks", collection).folder
    queries, labels = read_evaluation_set(workspace.store.current("evaluation_set", collection).folder, corpus)
    chunks = pl.read_parquet(corpus / "chunks.parquet")
    settings = workspace.settings(collection).scoring
    return score_systems(collection, chunks, queries, labels, encoders, settings, comparisons=comparisons)


def _compare(workspace: Workspace, collection: str, in_use: Artifact, compute: Compute, folder: Path) -> Verdict:
    tuned = workspace.store.current("checkpoint", collection)
    encoders = {name: encoder_of(workspace, it, compute) for name, it in (("production", in_use), ("tuned", tuned))}
    scores = _score(workspace, collection, encoders, [("tuned", "production")])
    summaries = [score.summary for score in scores]
    write_comparison(folder, summaries)
    per_query, _ = join_scores(scores)
    return judge(summaries, per_query, "production", "the model in production", workspace.settings(collection).publishing)


def publish(
    workspace: Workspace, collection: str, verdict: Verdict, compared_with: str, compute: Compute, anyway: bool = False
) -> tuple[bool, str]:
    """Write the index of the current checkpoint and put it into production, if the verdict or an operator says so.

    If not, new chunks are published all the same, with the model that is in production, unless they were rolled back.

    Args:
        workspace: settings and store.
        collection: name of the collection.
        verdict: of the gate.
        compared_with: what the verdict compared with.
        compute: where to encode.
        anyway: publish whatever the verdict, and although it was rolled back.

    Returns:
        Whether the checkpoint is in production now, and why, in words.

    Raises:
        PublishingError: somebody else published meanwhile; what is in production stays.
        CollectionError: the production table, or a column that is published with its chunks, is missing.
    """
    index, store = index_of(workspace, collection), workspace.store
    folder = store.root / "published_index" / collection
    folder.mkdir(parents=True, exist_ok=True)
    # One publisher of a home at a time: the second one finds the work done. Those of another home meet at the pointer.
    with lock(folder / "publish.lock"):
        before = index.pointer()
        live = index.metadata(before.current)
        checkpoint = store.current("checkpoint", collection)
        made_of = _made_of(workspace, collection, checkpoint)
        name = index.table_name(made_of["fingerprint"])
        if before.current == name and live:
            return True, f"in production: {before.reason}"
        if anyway or (verdict.better and before.withdrawn != name):
            reason = verdict.reason if verdict.better else f"published by an operator: {verdict.reason}"
            scores = _scores(workspace, collection)
            _put(workspace, collection, before, checkpoint, compared_with, reason, scores, compute)
            return True, f"in production: {reason}"
        if verdict.better:
            return False, "what is in production stays: this one was rolled back; 'publish_anyway' brings it back"
        in_use = store.find("checkpoint", collection, live["checkpoint"]) if live else None
        known = [live, index.metadata(before.withdrawn)]
        if in_use is None or any(all(it.get(key) == made_of[key] for key in ROWS) for it in known):
            return False, f"what is in production stays: {verdict.reason}"
        scored = _score(workspace, collection, {"tuned": encoder_of(workspace, in_use, compute)})
        scores = _headlines([score.summary for score in scored])
        _put(workspace, collection, before, in_use, compared_with, NEWER_CHUNKS, scores, compute)
    return False, f"the new model is not in production: {verdict.reason}; the newer chunks are, with the model that was there"


def _put(
    workspace: Workspace,
    collection: str,
    before: Pointer,
    checkpoint: Artifact,
    compared_with: str,
    reason: str,
    scores: Mapping[str, Mapping[str, float]],
    compute: Compute,
) -> None:
    """Write the index of a checkpoint and the current chunks, and put it into production."""
    if in_production(workspace, collection) != compared_with:
        raise PublishingError(f"{collection}: another index was put into production meanwhile: materialize again")
    index, store = index_of(workspace, collection), workspace.store
    made_of = _made_of(workspace, collection, checkpoint)
    name = index.table_name(made_of["fingerprint"])
    chunks = store.current("corpus_chunks", collection).folder / "chunks.parquet"
    metadata = made_of | {
        "rows": pl.scan_parquet(chunks).select(pl.len()).collect().item(),
        "took_the_place_of": compared_with,
        "evaluation_set": store.current("evaluation_set", collection).digest,
        "scores": scores,
    }
    encoder = encoder_of(workspace, checkpoint, compute)
    columns = production.metadata_columns(workspace, collection)
    index.write(name, chunks, encoder, metadata, workspace.settings(collection).publishing.vector_index_rows, columns)
    index.swap(before, name, reason)


def _made_of(workspace: Workspace, collection: str, checkpoint: Artifact) -> dict[str, Any]:
    """What an index of a checkpoint and the current chunks is made of."""
    settings = workspace.settings(collection)
    made_of = {
        "collection": collection,
        # Two homes never write to the same table, be their checkpoints the same or not.
        "publisher": fingerprint_of([platform.node(), str(workspace.home)])[:12],
        "checkpoint": checkpoint.fingerprint,
        "model": checkpoint.digest,
        "chunks": workspace.store.current("corpus_chunks", collection).digest,
        "metadata_columns": list(settings.production.metadata_columns),
        "base_model": checkpoint.manifest["settings"]["base_model"],
    }
    return made_of | {"fingerprint": fingerprint_of(made_of)}


def _scores(workspace: Workspace, collection: str) -> dict[str, dict[str, float]]:
    """The headline figures of each label source, without queries and labels."""
    scores = workspace.store.current("beir_scores", collection).folder / "scores.json"
    return _headlines(json.loads(scores.read_text()))


def _headlines(summaries: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    return {
        summary["labels"]: {system: round(values[HEADLINE], 4) for system, values in summary["systems"].items()}
        for summary in summaries
    }
