"""The stage that makes QA pairs."""

from embed_assets.artifacts.stages import Stage

QA_PAIRS = Stage("qa_pairs", "2", ("base_model", "questions"), ("corpus_chunks",))
