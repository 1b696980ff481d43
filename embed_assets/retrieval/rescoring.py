"""Retrieval in two steps: the first dimensions of vectors find, all of them order."""

from collections.abc import Sequence

import numpy as np

from embed_assets.models.encoders import TextEncoder, first_dimensions
from embed_assets.retrieval.dense import products
from embed_assets.retrieval.ranking import top_k


class Rescored:
    """An encoder whose passages are found by the first dimensions of vectors and ordered by all of them.

    Args:
        encoder: with all dimensions.
        dimensions: how many find.
        depth: how many passages are found for each query; the others score -inf.
    """

    def __init__(self, encoder: TextEncoder, dimensions: int, depth: int):
        self._encoder, self._dimensions, self._depth = encoder, dimensions, depth

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors of queries, float32, shape (len(texts), dimensions)."""
        return self._encoder.encode_queries(texts)

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors of passages, float32, shape (len(texts), dimensions)."""
        return self._encoder.encode_passages(texts)

    def scores(self, queries: np.ndarray, passages: np.ndarray) -> np.ndarray:
        """What each query gives to each passage, shape (queries, passages), from their vectors."""
        short = first_dimensions(queries, self._dimensions) @ first_dimensions(passages, self._dimensions).T
        found = top_k(short, self._depth)
        scores = np.full_like(short, -np.inf)
        np.put_along_axis(scores, found, np.take_along_axis(queries @ passages.T, found, axis=1), axis=1)
        return scores


def dense_scores(encoder: TextEncoder, queries: np.ndarray, passages: np.ndarray) -> np.ndarray:
    """What each query gives to each passage, shape (queries, passages): the products of their vectors, or what Rescored says.

    Args:
        encoder: whose vectors they are.
        queries, passages: the vectors.
    """
    return encoder.scores(queries, passages) if isinstance(encoder, Rescored) else products(queries, passages)
