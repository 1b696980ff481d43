"""An embedding function for LanceDB that runs an exported model on onnxruntime, without torch.

Import this module to register it; then ``get_registry().get("embed-assets")`` finds it.
"""

from functools import cached_property
from pathlib import Path

import numpy as np
from lancedb.embeddings import EmbeddingFunction, register  # noqa: TID253

from embed_assets.models.encoders import FirstDimensions, TextEncoder
from embed_assets.models.onnx import MODEL, OnnxEncoder


@register("embed-assets")
class OnnxEmbeddings(EmbeddingFunction):
    """Vectors of an ``onnx_model`` artifact.

    Args:
        folder: the artifact.
        file_name: model.onnx, or model_int8.onnx if the check int8_holds of the artifact passed.
        dimensions: how many of the first are taken, as publishing.dimensions; 0: all.
    """

    folder: str
    file_name: str = MODEL
    dimensions: int = 0

    @cached_property
    def _encoder(self) -> TextEncoder:
        encoder = OnnxEncoder(Path(self.folder), self.file_name)
        return FirstDimensions(encoder, self.dimensions) if self.dimensions else encoder

    def ndims(self) -> int:
        """The number of dimensions of a vector."""
        return self._encoder.encode_queries(["dimensions"]).shape[1]

    def compute_query_embeddings(self, query: str, *args, **kwargs) -> list[np.ndarray]:
        """The vector of a query, with the prompt for queries."""
        return list(self._encoder.encode_queries(self.sanitize_input(query)))

    def compute_source_embeddings(self, texts, *args, **kwargs) -> list[np.ndarray]:
        """The vectors of passages, with the prompt for passages."""
        return list(self._encoder.encode_passages(self.sanitize_input(texts)))
