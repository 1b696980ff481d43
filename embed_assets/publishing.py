"""From a checkpoint to production: the gate, the index and the way back."""

import json
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from embed_assets import reports
from embed_assets.evaluation_set import read_evaluation_set
from embed_assets.gate import Verdict, judge
from embed_assets.models.encoders import Encoder
from embed_assets.models.hardware import Compute
from embed_assets.published_index import PublishedIndex, PublishingError
from embed_assets.scoring import HEADLINE, join_scores, score_systems
from embed_assets.settings import BaseModelSettings
from embed_assets.store import Artifact, fingerprint_of, lock
from embed_assets.workspace import Workspace

SOURCE = "in production"
BASE_MODEL = "base model"
VERDICT = "verdict.json"
NOTHING = "nothing is published: publishing.uri is empty"


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
    metadata = index.metadata()
    if index.pointer().current == index.table_name(_candidate(workspace, collection)["fingerprint"]):
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
        checkpoint, production = store.current("checkpoint", collection), store.find("checkpoint", collection, compared_with)
        if production is None:
            verdict = Verdict(False, f"the checkpoint in production, {compared_with}, is not in the store: it cannot be compared")
        elif production.digest == checkpoint.digest:
            verdict = Verdict(True, "the model that is in production, for newer chunks")
        else:
            verdict = _compare(workspace, collection, production, compute, folder)
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
    pointer, metadata = index.pointer(), index.metadata()
    return {
        "index": f"{index.uri}, {pointer.current}" if pointer.current else "none",
        "previous_index": pointer.previous or "none",
        "model_in_production": metadata.get("checkpoint", "none"),
        "in_production_since": pointer.swapped_at or "never",
    }


def _compare(workspace: Workspace, collection: str, production: Artifact, compute: Compute, folder: Path) -> Verdict:
    settings, store = workspace.settings(collection), workspace.store
    corpus = store.current("corpus_chunks", collection).folder
    queries, labels = read_evaluation_set(store.current("evaluation_set", collection).folder, corpus)
    tuned = store.current("checkpoint", collection).folder / "model"
    as_trained = BaseModelSettings.model_validate(production.manifest["settings"]["base_model"])
    encoders = {
        "production": Encoder(as_trained, workspace.memos, str(production.folder / "model"), compute),
        "tuned": Encoder(settings.base_model, workspace.memos, str(tuned), compute),
    }
    chunks = pl.read_parquet(corpus / "chunks.parquet")
    comparisons = [("tuned", "production")]
    scores = score_systems(collection, chunks, queries, labels, encoders, settings.scoring, comparisons=comparisons)
    summaries = [score.summary for score in scores]
    reports.write_comparison(folder, summaries)
    per_query, _ = join_scores(scores)
    return judge(summaries, per_query, "production", "the model in production", settings.publishing)


def publish(
    workspace: Workspace, collection: str, verdict: Verdict, compared_with: str, compute: Compute, anyway: bool = False
) -> tuple[bool, str]:
    """Write the index of the current checkpoint and put it into production, if the verdict or an operator says so.

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
    """
    index, settings, store = index_of(workspace, collection), workspace.settings(collection), workspace.store
    candidate = _candidate(workspace, collection)
    name = index.table_name(candidate["fingerprint"])
    folder = store.root / "published_index" / collection
    folder.mkdir(parents=True, exist_ok=True)
    # One publisher of a home at a time: the second one finds the work done. Those of another home meet at the pointer.
    with lock(folder / "publish.lock"):
        before = index.pointer()
        if before.current == name and index.metadata():
            return True, f"in production: {before.reason}"
        if not anyway and not verdict.better:
            return False, f"what is in production stays: {verdict.reason}"
        if not anyway and before.withdrawn == name:
            return False, "what is in production stays: this one was rolled back; 'publish_anyway' brings it back"
        if in_production(workspace, collection) != compared_with:
            raise PublishingError(f"{collection}: another index was put into production meanwhile: materialize again")
        reason = f"published by an operator: {verdict.reason}" if anyway and not verdict.better else verdict.reason
        chunks = store.current("corpus_chunks", collection).folder / "chunks.parquet"
        model = store.current("checkpoint", collection).folder / "model"
        encoder = Encoder(settings.base_model, workspace.memos, str(model), compute)
        rows = pl.scan_parquet(chunks).select(pl.len()).collect().item()
        metadata = candidate | {"rows": rows, "took_the_place_of": compared_with, "scores": _scores(workspace, collection)}
        index.write(name, chunks, encoder, metadata, settings.publishing.vector_index_rows)
        index.swap(before, name, reason)
    return True, f"in production: {reason}"


def _candidate(workspace: Workspace, collection: str) -> dict[str, Any]:
    """What an index of the current checkpoint and chunks is made of."""
    checkpoint = workspace.store.current("checkpoint", collection)
    made_of = {
        "collection": collection,
        # Two homes never write to the same table, be their checkpoints the same or not.
        "publisher": fingerprint_of([platform.node(), str(workspace.home)])[:12],
        "checkpoint": checkpoint.fingerprint,
        "model": checkpoint.digest,
        "chunks": workspace.store.current("corpus_chunks", collection).digest,
        "base_model": workspace.settings(collection).base_model.model_dump(mode="json"),
    }
    return made_of | {"fingerprint": fingerprint_of(made_of)}


def _scores(workspace: Workspace, collection: str) -> dict[str, dict[str, float]]:
    """The headline figures of each label source, without queries and labels."""
    scores = workspace.store.current("beir_scores", collection).folder / "scores.json"
    return {
        summary["labels"]: {system: round(values[HEADLINE], 4) for system, values in summary["systems"].items()}
        for summary in json.loads(scores.read_text())
    }
