"""From a checkpoint to production: the verdict of the gate, and the index that it lets through."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from embed_assets.artifacts.files import lock
from embed_assets.artifacts.inputs import Inputs
from embed_assets.artifacts.store import Artifact
from embed_assets.corpus import production_table
from embed_assets.corpus.front_matter import front_matter_columns
from embed_assets.corpus.settings import ProductionSettings
from embed_assets.evaluation.hybrid_weight import weight_for_search
from embed_assets.evaluation.metrics import HEADLINE
from embed_assets.evaluation.scoring import (
    Contest,
    LabelledCollection,
    Scores,
    join_scores,
    read_summaries,
    score_systems,
    write_summaries,
)
from embed_assets.evaluation.settings import ScoringSettings
from embed_assets.models.hardware import Compute
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.sources import BASE_MODEL
from embed_assets.production.gate import NOT_BETTER, Verdict, judge, read_verdict, write_verdict
from embed_assets.production.published import WITHOUT_CHECKPOINT, Model, Published, base_model_of, model_of, model_of_table
from embed_assets.production.published_index import OvertakenError, Pointer, PublishedIndex
from embed_assets.production.settings import PublishingSettings
from embed_assets.reports.evaluation import write_score_tables
from embed_assets.text.settings import IdentifierSettings

ROWS = ("chunks", "metadata_columns", "token_pooling", "dimensions", "whole_vectors", "number_type", "vector_index")
# Folders of the artifact, and how its scores name the hybrid of the model in production.
CANDIDATE, IN_USE, HYBRID_IN_USE = "candidate", "in_use", "hybrid_production"
NEWER_CHUNKS = "the model in production, for newer chunks or other columns"


@dataclass(frozen=True)
class Judged:
    """What is known of a candidate before anything is published.

    Args:
        verdict: of the gate.
        candidate: summaries of the scores of the checkpoint as it would be published.
        in_use: those of the model in production, as it is published; empty where that is the base model, or is not there.
    """

    verdict: Verdict
    candidate: Sequence[Mapping[str, Any]]
    in_use: Sequence[Mapping[str, Any]] = ()

    def write(self, folder: Path) -> None:
        """Write it into the artifact of published_index."""
        write_verdict(folder, self.verdict)
        for name, summaries in ((CANDIDATE, self.candidate), (IN_USE, self.in_use)):
            (folder / name).mkdir()
            write_summaries(folder / name, summaries)

    @classmethod
    def read(cls, artifact: Artifact) -> "Judged":
        """What write has written."""
        return cls(read_verdict(artifact), *(read_summaries(artifact.folder / name) for name in (CANDIDATE, IN_USE)))


def judge_candidate(published: Published, inputs: Inputs, compared_with: str, compute: Compute, folder: Path) -> Judged:
    """Compare the checkpoint with what is in production on the fixed evaluation set.

    Args:
        published: what is in production.
        inputs: of published_index.
        compared_with: name of the model in production; BASE_MODEL for the base model of the settings.
        compute: where to encode.
        folder: gets the score tables, in report/.
    """
    settings, checkpoint = inputs.block(PublishingSettings), inputs.artifacts["checkpoint"]
    per_query, of_candidate = _scores_of_candidate(published, inputs, compute)
    if compared_with == BASE_MODEL:
        verdict = judge(per_query, "hybrid", "hybrid_base", "the base model", settings, inputs.block(ScoringSettings))
        return Judged(verdict, of_candidate)
    in_use, candidate = published.find(compared_with), model_of(checkpoint)
    if in_use is None:
        reason = f"the model in production, {compared_with}, is not in the store, so nothing can be compared with it"
        return Judged(Verdict(False, f"{reason}: {WITHOUT_CHECKPOINT}"), of_candidate)
    live, wanted = published.live_vectors(), published.vectors(candidate)
    same = in_use.digest == candidate.digest
    if same and (live.dimensions, live.whole) == (wanted.dimensions, wanted.whole):
        return Judged(Verdict(True, NEWER_CHUNKS), of_candidate)
    encoders = {
        "production": published.scored(in_use, compute, live),
        "tuned": published.scored(candidate, compute, wanted),
    }
    hybrids = {HYBRID_IN_USE: "production", "hybrid": "tuned"}
    comparisons = [("hybrid", HYBRID_IN_USE), ("tuned", "production")]
    scores = _score(inputs, Contest(encoders, hybrids, comparisons=comparisons))
    summaries = [score.summary for score in scores]
    write_score_tables(folder, summaries)
    what = "its vectors as they are published" if same else "the model in production"
    compared, scoring = join_scores(scores)[0], inputs.block(ScoringSettings)
    verdict = judge(compared, "hybrid", HYBRID_IN_USE, what, settings, scoring, as_good_will_do=same)
    return Judged(verdict, of_candidate, summaries)


def _scores_of_candidate(
    published: Published, inputs: Inputs, compute: Compute
) -> tuple[pl.DataFrame, Sequence[Mapping[str, Any]]]:
    """The scores of each query and the summaries of the checkpoint as it would be published, and of the base model."""
    candidate = model_of(inputs.artifacts["checkpoint"])
    if not published.vectors(candidate).dimensions:
        return inputs.table("beir_scores", "per_query"), read_summaries(inputs.folder("beir_scores"))
    base = _base_of(inputs)
    encoders = {"base": published.scored(base, compute), "tuned": published.scored(candidate, compute)}
    scores = _score(inputs, Contest(encoders, {"hybrid_base": "base", "hybrid": "tuned"}))
    return join_scores(scores)[0], [score.summary for score in scores]


def _score(inputs: Inputs, contest: Contest) -> list[Scores]:
    """The scores of models on the fixed evaluation set, with the chunks."""
    scoring, patterns = inputs.block(ScoringSettings), inputs.block(IdentifierSettings).all_patterns
    return score_systems(LabelledCollection.of(inputs), contest, scoring, patterns=patterns)


@dataclass(frozen=True)
class Decision:
    """What is done with the index of a collection when a candidate was judged.

    Args:
        promoted: whether the checkpoint is in production then.
        words: why, for people.
        model: whose index is written and put into production; None: what is there stays.
        reason: what is kept with that index.
        summaries: gives the scores by which search in the index fuses; None: as before.
        hybrid: name of its hybrid in those scores.
    """

    promoted: bool
    words: str
    model: Model | None = None
    reason: str = ""
    summaries: Callable[[], Sequence[Mapping[str, Any]]] | None = None
    hybrid: str = ""


def decide(
    published: Published, inputs: Inputs, judged: Judged, compared_with: str, compute: Compute = Compute(), anyway: bool = False
) -> Decision:
    """What publish does, told without doing it.

    Args:
        published, inputs, judged, compared_with, compute, anyway: as in publish.
    """
    index, verdict = published.index, judged.verdict
    candidate, chunks = model_of(inputs.artifacts["checkpoint"]), inputs.artifacts["corpus_chunks"]
    before, live = published.in_production()
    name = index.table_name(published.made_of(candidate, chunks)["fingerprint"])

    def of_candidate(words: str, model: Model | None = None, reason: str = "") -> Decision:
        return Decision(True, words, model, reason, lambda: judged.candidate, system_of(candidate)[1])

    def of_base(words: str, model: Model | None = None, reason: str = "") -> Decision:
        return Decision(
            False, words, model, reason, lambda: read_summaries(inputs.folder("beir_scores")), system_of(_base_of(inputs))[1]
        )

    if before.current == name and live:
        return of_candidate(f"in production: {before.reason}")
    if anyway or (verdict.better and before.withdrawn != name):
        reason = verdict.reason if verdict.better else f"published by an operator: {verdict.reason}"
        return of_candidate(f"in production: {reason}", candidate, reason)
    if verdict.better:
        return Decision(False, "what is in production stays: this one was rolled back; 'publish_anyway' brings it back")
    without = f"{NOT_BETTER}: {verdict.reason}"
    in_use = published.find(model_of_table(live).name) if live else None
    if not live or (in_use is None and model_of_table(live).is_base):
        return of_base(f"in production: {without}", _base_of(inputs), without)
    stays = f"what is in production stays: {without if model_of_table(live).is_base else verdict.reason}"
    if in_use is None:
        return Decision(False, stays)
    known, made_of = [live, index.metadata(before.withdrawn)], published.made_of(in_use, chunks)
    if any(all(it.get(key) == made_of.get(key) for key in ROWS) for it in known):
        if in_use.digest == _base_of(inputs).digest:
            return of_base(stays)
        if judged.in_use and in_use.name == compared_with:
            return Decision(False, stays, summaries=lambda: judged.in_use, hybrid=HYBRID_IN_USE)
        return Decision(False, stays)
    dense, hybrid = system_of(in_use)

    def scored_anew() -> Sequence[Mapping[str, Any]]:
        return [score.summary for score in _score(inputs, Contest({dense: published.scored(in_use, compute)}, {hybrid: dense}))]

    if in_use.is_base:
        words, reason = f"in production, with the newer chunks: {without}", without
    else:
        words = f"the new model is not in production: {verdict.reason}; the newer chunks are, with the model that was there"
        reason = NEWER_CHUNKS
    return Decision(False, words, in_use, reason, scored_anew, hybrid)


def publish(
    published: Published, inputs: Inputs, judged: Judged, compared_with: str, compute: Compute, anyway: bool = False
) -> tuple[bool, str]:
    """Write the index of the checkpoint that was judged and put it into production, if the verdict or an operator says so.

    If not, and nothing is in production, the base model is published, so that people can search. New chunks are published
    in any case, with the model that is in production, unless they were rolled back.

    Args:
        published: what is in production.
        inputs: of published_index, those that the verdict is on.
        judged: the candidate, with the verdict of the gate.
        compared_with: what the verdict compared with.
        compute: where to encode.
        anyway: publish whatever the verdict, and although it was rolled back.

    Returns:
        Whether the checkpoint is in production now, and why, in words.

    Raises:
        OvertakenError: somebody else published meanwhile; what is in production stays.
        PublishingError: what is in production is of another collection.
        CollectionError: the production table, or a column that is published with its chunks, is missing.
    """
    index = published.index
    # One publisher of a home at a time: the second one finds the work done. Those of another home meet at the pointer.
    with lock(published.lock_file):
        before = index.pointer()
        decided = decide(published, inputs, judged, compared_with, compute, anyway)
        summaries = decided.summaries() if decided.summaries is not None else ()
        if decided.model is not None:
            _put(published, inputs, before, decided.model, compared_with, decided.reason, summaries, compute)
        elif summaries:
            _fuse_anew(index, before.current, _fusion(inputs, summaries, decided.hybrid))
    return decided.promoted, decided.words


def _put(
    published: Published,
    inputs: Inputs,
    before: Pointer,
    model: Model,
    compared_with: str,
    reason: str,
    summaries: Sequence[Mapping[str, Any]],
    compute: Compute,
) -> None:
    """Write the index of a model and the chunks, and put it into production."""
    chunks = inputs.artifacts["corpus_chunks"]
    base = _base_of(inputs)
    if published.to_beat(inputs.artifacts["checkpoint"], chunks, base) != compared_with:
        raise OvertakenError(f"{inputs.collection}: another index was put into production meanwhile: materialize again")
    index = published.index
    made_of = published.made_of(model, chunks)
    name = index.table_name(made_of["fingerprint"])
    rows = chunks.folder / "chunks.parquet"
    metadata = made_of | {
        "rows": pl.scan_parquet(rows).select(pl.len()).collect().item(),
        "took_the_place_of": compared_with,
        "evaluation_set": inputs.artifacts["evaluation_set"].digest,
        "scores": _headlines(summaries),
    }
    metadata |= _fusion(inputs, summaries, system_of(model)[1])
    live = index.metadata(before.current)
    if live and _same_passages(live, made_of, model):
        index.clone(name, before.current, metadata)
        index.swap(before, name, reason)
        return
    encoder = published.encoder(model, compute)
    source = ProductionSettings.model_validate(chunks.manifest["settings"]["production"], strict=False)
    if source.uri:
        columns = production_table.metadata_columns(published.workspace, source)
    else:
        columns = front_matter_columns(chunks.folder, published.metadata_columns(chunks))
    tokens = published.tokens(model, compute)
    index.write(name, rows, encoder, metadata, published.vectors(model), columns, tokens)
    index.swap(before, name, reason)


def _base_of(inputs: Inputs) -> Model:
    """The base model of the settings, as a model that can be published."""
    return base_model_of(inputs.block(BaseModelSettings), inputs.sources[BASE_MODEL].digest)


def _fuse_anew(index: PublishedIndex, name: str, fused: dict[str, Any]) -> None:
    """Let search in an index whose rows stay fuse as the newest scores do."""
    live = index.metadata(name)
    if any(live.get(key) != value for key, value in fused.items()):
        index.note(name, fused)


def _fusion(inputs: Inputs, summaries: Sequence[Mapping[str, Any]], hybrid: str) -> dict[str, Any]:
    """How search in an index fuses: as the scores of a hybrid system do."""
    weight, deviation = weight_for_search(summaries, hybrid)
    patterns = list(inputs.block(IdentifierSettings).all_patterns)
    return {"hybrid_weight": weight, "cosine_deviation": deviation, "identifier_patterns": patterns}


def _same_passages(live: Mapping[str, Any], made_of: Mapping[str, Any], model: Model) -> bool:
    """Whether an index holds all that one of a model would hold: only queries are encoded otherwise."""
    return model_of_table(live).of_passages == model.of_passages and all(live.get(key) == made_of.get(key) for key in ROWS)


def system_of(model: Model) -> tuple[str, str]:
    """Under which names the scores have a model alone, and its hybrid."""
    return ("base", "hybrid_base") if model.is_base else ("tuned", "hybrid")


def _headlines(summaries: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """The headline figures of each label source, without queries and labels."""
    return {
        summary["labels"]: {system: round(values[HEADLINE], 4) for system, values in summary["systems"].items()}
        for summary in summaries
    }
