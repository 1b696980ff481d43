"""The stage that reads a collection."""

from embed_assets.artifacts.stages import Stage

CORPUS_CHUNKS = Stage("corpus_chunks", "1", ("base_model", "documents", "production", "chunking"))
