"""Queries by one model, passages by another, in the same space."""

from collections.abc import Sequence

import numpy as np

from embed_assets.models.encoders import Encoder, TextEncoder
from embed_assets.models.settings import BaseModelSettings


class TwoTowers:
    """An encoder whose queries are encoded by a model that was fine-tuned for that, and passages by the one it started from.

    Args:
        queries: the fine-tuned model, or a version of it.
        passages: the model that it started from.
    """

    def __init__(self, queries: TextEncoder, passages: Encoder):
        self.queries, self.passages = queries, passages

    @property
    def settings(self) -> BaseModelSettings:
        """Length and prompts, of both."""
        return self.passages.settings

    @property
    def name(self) -> str:
        """Folder or name of the model of queries."""
        return self.queries.name if isinstance(self.queries, Encoder) else self.passages.name

    def load(self) -> None:
        """Load the models now, and not with the first text that was never encoded."""
        for encoder in (self.queries, self.passages):
            if isinstance(encoder, Encoder):
                encoder.load()

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors of queries, float32, shape (len(texts), dimensions)."""
        return self.queries.encode_queries(texts)

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors of passages, float32, shape (len(texts), dimensions)."""
        return self.passages.encode_passages(texts)
