"""The graph: the stages of all rooms, joined."""

from embed_assets.corpus.stages import CORPUS_CHUNKS
from embed_assets.evaluation.stages import BEIR_SCORES, EVALUATION_SET, FORGETTING, RERANKER_SCORES
from embed_assets.production.stages import PUBLISHED_INDEX
from embed_assets.queries.stages import QA_PAIRS
from embed_assets.training.stages import CHECKPOINT, ONNX_MODEL, ONNX_RERANKER, RERANKER, TRIPLETS

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
