"""The stage that publishes."""

from embed_assets.artifacts.stages import Stage

PUBLISHED_INDEX = Stage(
    "published_index",
    "1",
    ("base_model", "scoring", "publishing"),
    ("corpus_chunks", "evaluation_set", "checkpoint", "beir_scores"),
)
