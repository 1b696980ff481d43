"""The stages of the graph: what each one reads, and the version of its code.

Raise a stage's code version when a change of its code changes its results: every collection then
computes that stage again, and what lies downstream if the result really differs.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One step of the graph.

    Args:
        name: name of its asset.
        code_version: version of its code.
        settings: the blocks of the settings that it reads.
        inputs: the assets that it reads.
        frozen: its inputs are drawn from once; a change of theirs does not make its result out of date.
        optional: it is built only if somebody asks for it.
    """

    name: str
    code_version: str
    settings: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    frozen: bool = False
    optional: bool = False


CORPUS_CHUNKS = Stage("corpus_chunks", "1", ("base_model", "documents", "production", "chunking"))
QA_PAIRS = Stage("qa_pairs", "2", ("base_model", "questions"), ("corpus_chunks",))
EVALUATION_SET = Stage("evaluation_set", "1", ("evaluation_set",), ("corpus_chunks", "qa_pairs"), frozen=True)
TRIPLETS = Stage("triplets", "2", ("base_model", "evaluation_set", "negatives"), ("corpus_chunks", "qa_pairs", "evaluation_set"))
CHECKPOINT = Stage("checkpoint", "2", ("base_model", "training"), ("triplets",))
BEIR_SCORES = Stage("beir_scores", "1", ("base_model", "scoring"), ("corpus_chunks", "evaluation_set", "checkpoint"))
ONNX_MODEL = Stage("onnx_model", "1", ("base_model", "scoring", "export"), ("corpus_chunks", "evaluation_set", "checkpoint"))
PUBLISHED_INDEX = Stage(
    "published_index",
    "1",
    ("base_model", "scoring", "publishing"),
    ("corpus_chunks", "evaluation_set", "checkpoint", "beir_scores"),
)
FORGETTING = Stage("forgetting", "1", ("base_model", "scoring", "forgetting"), ("checkpoint",), optional=True)
TRIAL = Stage(
    "trial",
    f"{CHECKPOINT.code_version}.{BEIR_SCORES.code_version}.1",  # it trains and scores with the code of these
    ("base_model", "training", "scoring"),
    ("corpus_chunks", "triplets", "evaluation_set"),
)
LEADERBOARD = Stage("leaderboard", "2", ("base_model", "training", "scoring"), ("trial",))
SATURATION_CURVE = Stage("saturation_curve", "1", ("base_model", "training", "scoring"), ("trial",))
RERANKER = Stage("reranker", "1", ("base_model", "reranker"), ("triplets",), optional=True)
RERANKER_SCORES = Stage(
    "reranker_scores",
    "1",
    ("base_model", "reranker", "reranking", "scoring"),
    ("corpus_chunks", "evaluation_set", "checkpoint", "reranker"),
    optional=True,
)
ONNX_RERANKER = Stage("onnx_reranker", "1", ("reranker", "export"), ("triplets", "reranker"), optional=True)

ALL_STAGES = (
    CORPUS_CHUNKS,
    QA_PAIRS,
    EVALUATION_SET,
    TRIPLETS,
    CHECKPOINT,
    BEIR_SCORES,
    ONNX_MODEL,
    PUBLISHED_INDEX,
    RERANKER,
    RERANKER_SCORES,
    ONNX_RERANKER,
    FORGETTING,
)
STAGES = {stage.name: stage for stage in ALL_STAGES}
# What a run of the whole graph builds.
DEFAULT_STAGES = {stage.name: stage for stage in ALL_STAGES if not stage.optional}
