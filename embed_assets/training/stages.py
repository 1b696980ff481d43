"""The stages from triplets to models."""

from embed_assets.artifacts.stages import Stage

TRIPLETS = Stage("triplets", "2", ("base_model", "evaluation_set", "negatives"), ("corpus_chunks", "qa_pairs", "evaluation_set"))
CHECKPOINT = Stage("checkpoint", "2", ("base_model", "training"), ("triplets",))
ONNX_MODEL = Stage("onnx_model", "1", ("base_model", "scoring", "export"), ("corpus_chunks", "evaluation_set", "checkpoint"))
RERANKER = Stage("reranker", "1", ("base_model", "reranker"), ("triplets",), optional=True)
ONNX_RERANKER = Stage("onnx_reranker", "1", ("reranker", "export"), ("triplets", "reranker"), optional=True)
