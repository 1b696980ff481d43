"""The stages that measure."""

from embed_assets.artifacts.stages import Stage

EVALUATION_SET = Stage("evaluation_set", "1", ("evaluation_set",), ("corpus_chunks", "qa_pairs"), frozen=True)
BEIR_SCORES = Stage("beir_scores", "1", ("base_model", "scoring"), ("corpus_chunks", "evaluation_set", "checkpoint"))
FORGETTING = Stage("forgetting", "1", ("base_model", "scoring", "forgetting"), ("checkpoint",), optional=True)
RERANKER_SCORES = Stage(
    "reranker_scores",
    "1",
    ("base_model", "reranker", "reranking", "scoring"),
    ("corpus_chunks", "evaluation_set", "checkpoint", "reranker"),
    optional=True,
)
