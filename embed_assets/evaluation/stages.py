"""The stages that measure."""

from functools import partial

from embed_assets.artifacts.inputs import Asked, Source, source_of_files
from embed_assets.artifacts.stages import Stage
from embed_assets.evaluation.checks import EVALUATION_SET_CHECKS, FORGETTING_CHECKS, RERANKER_SCORES_CHECKS, SCORES_CHECKS
from embed_assets.evaluation.human_labels import human_labels_digest
from embed_assets.evaluation.settings import ForgettingSettings
from embed_assets.models.sources import base_model, reranker_start
from embed_assets.queries.reviews import refused_questions
from embed_assets.queries.settings import IDENTIFIERS

HELD_OUT_QUERIES = "held_out_queries"  # frozen test queries, an asset of the store alone
OF_OTHER = ("corpus_chunks", "evaluation_set")


def human_labels(asked: Asked) -> dict[str, Source]:
    """The files with human labels."""
    return source_of_files("human labels", partial(human_labels_digest, asked.folder))


def other_collection(asked: Asked) -> dict[str, Source]:
    """The chunks and the evaluation set of the collection on which forgetting is looked for; values are artifacts."""
    other = asked.block(ForgettingSettings).collection
    found = {name: asked.workspace.store.current(name, other) for name in OF_OTHER} if other else {}
    return {f"{name} of {other}": Source(artifact.digest, artifact) for name, artifact in found.items()}


EVALUATION_SET = Stage(
    name="evaluation_set",
    group="evaluation",
    code_version="9",
    settings=("evaluation_set", IDENTIFIERS),
    inputs=("corpus_chunks", "qa_pairs"),
    sources=(human_labels, refused_questions),
    checks=EVALUATION_SET_CHECKS,
    frozen=True,
)
BEIR_SCORES = Stage(
    name="beir_scores",
    group="evaluation",
    code_version="12",
    settings=("base_model", IDENTIFIERS, "late_interaction", "scoring"),
    inputs=("corpus_chunks", "evaluation_set", "checkpoint"),
    sources=(base_model,),
    checks=SCORES_CHECKS,
)
FORGETTING = Stage(
    name="forgetting",
    group="evaluation",
    code_version="2",
    settings=("base_model", "scoring", "forgetting"),
    inputs=("checkpoint",),
    sources=(base_model, other_collection),
    checks=FORGETTING_CHECKS,
    optional=True,
)
RERANKER_SCORES = Stage(
    name="reranker_scores",
    group="evaluation",
    code_version="9",
    settings=("base_model", IDENTIFIERS, "reranker", "reranking", "scoring"),
    inputs=("corpus_chunks", "evaluation_set", "checkpoint", "reranker"),
    sources=(base_model, reranker_start),
    checks=RERANKER_SCORES_CHECKS,
    optional=True,
)
