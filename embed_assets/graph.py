"""The graph: the stages of all rooms, joined."""

from collections.abc import Iterable

from embed_assets.artifacts.stages import Stage
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


# Those of them that no other is made of.
LAST_STAGES = [name for name in DEFAULT_STAGES if not any(name in stage.inputs for stage in DEFAULT_STAGES.values())]


def needed(until: Iterable[str] = (), settings: object | None = None) -> list[Stage]:
    """Stages and all that they are made of, in the order of the graph.

    Args:
        until: names of the stages; without any, those of the whole graph.
        settings: those of a collection, which may do without some inputs; None counts all.
    """
    names: set[str] = set()

    def add(name: str) -> None:
        names.add(name)
        stage = STAGES[name]
        for above in stage.inputs if settings is None else stage.needs(settings):
            add(above)

    for name in until or LAST_STAGES:
        add(name)
    return [stage for stage in STAGES.values() if stage.name in names]
