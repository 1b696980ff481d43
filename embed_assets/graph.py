"""The graph: the stages of all rooms, joined."""

from embed_assets.artifacts.checks import Check
from embed_assets.corpus import checks as corpus_checks
from embed_assets.corpus.stages import CORPUS_CHUNKS
from embed_assets.evaluation import checks as evaluation_checks
from embed_assets.evaluation.stages import BEIR_SCORES, EVALUATION_SET, FORGETTING, RERANKER_SCORES
from embed_assets.production import checks as production_checks
from embed_assets.production.stages import PUBLISHED_INDEX
from embed_assets.queries import checks as queries_checks
from embed_assets.queries.stages import QA_PAIRS
from embed_assets.sweep import checks as sweep_checks
from embed_assets.training import checks as training_checks
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

# Stage → name of the check → what it asks for.
CHECKS: dict[str, dict[str, Check]] = {
    **corpus_checks.CHECKS,
    **queries_checks.CHECKS,
    **evaluation_checks.CHECKS,
    **training_checks.CHECKS,
    **sweep_checks.CHECKS,
    **production_checks.CHECKS,
}
