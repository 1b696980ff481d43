"""From a checkpoint to production: the verdict of the gate, and the index that it lets through."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from embed_assets.artifacts.files import lock
from embed_assets.artifacts.inputs import Inputs
from embed_assets.artifacts.store import Artifact
from embed_assets.corpus import production_table
from embed_assets.corpus.front_matter import front_matter_columns
from embed_assets.corpus.settings import ProductionSettings
from embed_assets.evaluation.evaluation_set import read_evaluation_set
from embed_assets.evaluation.hybrid_weight import weight_for_search
from embed_assets.evaluation.metrics import HEADLINE
from embed_assets.evaluation.scoring import Scores, join_scores, read_summaries, score_systems
from embed_assets.evaluation.settings import ScoringSettings
from embed_assets.evaluation.systems import encoder_of
from embed_assets.models.encoders import TextEncoder
from embed_assets.models.hardware import Compute
from embed_assets.production.gate import Verdict, judge
from embed_assets.production.published import BASE_MODEL, WITHOUT_CHECKPOINT, Published
from embed_assets.production.published_index import OvertakenError, Pointer
from embed_assets.production.settings import PublishingSettings
from embed_assets.reports.evaluation import write_comparison

VERDICT = "verdict.json"
ROWS = ("chunks", "metadata_columns")
NEWER_CHUNKS = "the model in production, for newer chunks"


def judge_candidate(published: Published, inputs: Inputs, compared_with: str, compute: Compute, folder: Path) -> Verdict:
    """Compare the checkpoint with what is in production on the fixed evaluation set.

    Args:
        published: what is in production.
        inputs: of published_index.
        compared_with: fingerprint of the checkpoint in production, or BASE_MODEL.
        compute: where to encode.
        folder: gets the verdict, and the score tables in report/.
    """
    settings, checkpoint = inputs.block(PublishingSettings), inputs.artifacts["checkpoint"]
    if compared_with == BASE_MODEL:
        per_query = inputs.table("beir_scores", "per_query")
        verdict = judge(per_query, "hybrid", "hybrid_base", "the base model", settings, inputs.block(ScoringSettings))
    else:
        in_use = published.workspace.store.find("checkpoint", inputs.collection, compared_with)
        if in_use is None:
            reason = f"the checkpoint in production, {compared_with}, is not in the store, so nothing can be compared with it"
            verdict = Verdict(False, f"{reason}: {WITHOUT_CHECKPOINT}")
        elif in_use.digest == checkpoint.digest:
            verdict = Verdict(True, NEWER_CHUNKS)
        else:
            memos = published.workspace.memos
            encoders = {name: encoder_of(it, memos, compute) for name, it in (("production", in_use), ("tuned", checkpoint))}
            hybrids = {"hybrid_production": "production", "hybrid": "tuned"}
            scores = _score(inputs, encoders, hybrids, [("hybrid", "hybrid_production"), ("tuned", "production")])
            write_comparison(folder, [score.summary for score in scores])
            per_query, scoring = join_scores(scores)[0], inputs.block(ScoringSettings)
            verdict = judge(per_query, "hybrid", "hybrid_production", "the model in production", settings, scoring)
    write_verdict(folder, verdict)
    return verdict


def write_verdict(folder: Path, verdict: Verdict) -> None:
    """Write a verdict into the artifact of published_index."""
    (folder / VERDICT).write_text(json.dumps(asdict(verdict), indent=2, ensure_ascii=False), encoding="utf-8")


def read_verdict(artifact: Artifact) -> Verdict:
    """The verdict that an artifact of published_index holds."""
    return Verdict(**json.loads((artifact.folder / VERDICT).read_text(encoding="utf-8")))


def _score(
    inputs: Inputs,
    encoders: Mapping[str, TextEncoder],
    hybrids: Mapping[str, str],
    comparisons: Sequence[tuple[str, str]] = (),
) -> list[Scores]:
    """The scores of models on the fixed evaluation set, with the chunks."""
    queries, labels = read_evaluation_set(inputs.folder("evaluation_set"), inputs.folder("corpus_chunks"))
    chunks = inputs.table("corpus_chunks", "chunks")
    scoring = inputs.block(ScoringSettings)
    return score_systems(inputs.collection, chunks, queries, labels, encoders, scoring, hybrids, comparisons)


def publish(
    published: Published, inputs: Inputs, verdict: Verdict, compared_with: str, compute: Compute, anyway: bool = False
) -> tuple[bool, str]:
    """Write the index of the checkpoint that was judged and put it into production, if the verdict or an operator says so.

    If not, new chunks are published all the same, with the model that is in production, unless they were rolled back.

    Args:
        published: what is in production.
        inputs: of published_index, those that the verdict is on.
        verdict: of the gate.
        compared_with: what the verdict compared with.
        compute: where to encode.
        anyway: publish whatever the verdict, and although it was rolled back.

    Returns:
        Whether the checkpoint is in production now, and why, in words.

    Raises:
        OvertakenError: somebody else published meanwhile; what is in production stays.
        CollectionError: the production table, or a column that is published with its chunks, is missing.
    """
    index, store = published.index, published.workspace.store
    checkpoint, chunks = inputs.artifacts["checkpoint"], inputs.artifacts["corpus_chunks"]
    folder = store.root / "published_index" / inputs.collection
    folder.mkdir(parents=True, exist_ok=True)
    # One publisher of a home at a time: the second one finds the work done. Those of another home meet at the pointer.
    with lock(folder / "publish.lock"):
        before = index.pointer()
        live = index.metadata(before.current)
        made_of = published.made_of(checkpoint, chunks)
        name = index.table_name(made_of["fingerprint"])
        if before.current == name and live:
            return True, f"in production: {before.reason}"
        if anyway or (verdict.better and before.withdrawn != name):
            reason = verdict.reason if verdict.better else f"published by an operator: {verdict.reason}"
            summaries = read_summaries(inputs.folder("beir_scores"))
            _put(published, inputs, before, checkpoint, compared_with, reason, summaries, compute)
            return True, f"in production: {reason}"
        if verdict.better:
            return False, "what is in production stays: this one was rolled back; 'publish_anyway' brings it back"
        in_use = store.find("checkpoint", inputs.collection, live["checkpoint"]) if live else None
        known = [live, index.metadata(before.withdrawn)]
        if in_use is None or any(all(it.get(key) == made_of[key] for key in ROWS) for it in known):
            return False, f"what is in production stays: {verdict.reason}"
        scored = _score(inputs, {"tuned": encoder_of(in_use, published.workspace.memos, compute)}, {"hybrid": "tuned"})
        summaries = [score.summary for score in scored]
        _put(published, inputs, before, in_use, compared_with, NEWER_CHUNKS, summaries, compute)
    return False, f"the new model is not in production: {verdict.reason}; the newer chunks are, with the model that was there"


def _put(
    published: Published,
    inputs: Inputs,
    before: Pointer,
    checkpoint: Artifact,
    compared_with: str,
    reason: str,
    summaries: Sequence[Mapping[str, Any]],
    compute: Compute,
) -> None:
    """Write the index of a checkpoint and the chunks, and put it into production."""
    chunks = inputs.artifacts["corpus_chunks"]
    if published.to_beat(inputs.artifacts["checkpoint"], chunks) != compared_with:
        raise OvertakenError(f"{inputs.collection}: another index was put into production meanwhile: materialize again")
    index = published.index
    made_of = published.made_of(checkpoint, chunks)
    name = index.table_name(made_of["fingerprint"])
    rows = chunks.folder / "chunks.parquet"
    metadata = made_of | {
        "rows": pl.scan_parquet(rows).select(pl.len()).collect().item(),
        "took_the_place_of": compared_with,
        "evaluation_set": inputs.artifacts["evaluation_set"].digest,
        "scores": _headlines(summaries),
        "hybrid_weight": weight_for_search(summaries),
    }
    encoder = encoder_of(checkpoint, published.workspace.memos, compute)
    source = ProductionSettings.model_validate(chunks.manifest["settings"]["production"], strict=False)
    if source.uri:
        columns = production_table.metadata_columns(published.workspace, source)
    else:
        columns = front_matter_columns(chunks.folder, published.metadata_columns(chunks))
    index.write(name, rows, encoder, metadata, inputs.block(PublishingSettings).vector_index_rows, columns)
    index.swap(before, name, reason)


def _headlines(summaries: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """The headline figures of each label source, without queries and labels."""
    return {
        summary["labels"]: {system: round(values[HEADLINE], 4) for system, values in summary["systems"].items()}
        for summary in summaries
    }
