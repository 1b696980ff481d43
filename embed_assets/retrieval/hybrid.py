"""BM25 and dense retrieval over the same passages."""

from collections.abc import Iterator, Sequence

import numpy as np

from embed_assets.models.encoders import TextEncoder
from embed_assets.retrieval.bm25 import Bm25Index
from embed_assets.retrieval.fusion import DEFAULT_WEIGHT, DEPTH, cosine_deviation, fused_top_k
from embed_assets.retrieval.ranking import blocks_of_queries
from embed_assets.text.languages import ENGLISH


class HybridRetriever:
    """BM25 and dense retrieval over the same passages, fused by convex_fusion of their scores.

    Args:
        encoder: the dense model.
        passages: the texts to search.
        depth: how far down a passage counts as found.
        language: ISO 639-1 code of the passages' language.
        weight: of the dense model.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        passages: Sequence[str],
        depth: int = DEPTH,
        language: str = ENGLISH,
        weight: float = DEFAULT_WEIGHT,
    ):
        self._encoder = encoder
        self._vectors = encoder.encode_passages(passages)
        self._bm25 = Bm25Index(passages, language)
        self._depth, self._weight, self._deviation = depth, weight, cosine_deviation(self._vectors)

    def search_blocks(self, queries: Sequence[str], k: int) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """Search block by block, so that memory is bounded whatever the number of queries.

        Yields:
            For each block the number of its first query; the rows of the first k passages, best first, shape
            (queries, k), -1 after the last that was found; and the cosines and the BM25 scores of every passage, both of
            shape (queries, passages).
        """
        query_vectors = self._encoder.encode_queries(queries)
        for block in blocks_of_queries(len(queries), len(self._vectors)):
            dense = query_vectors[block] @ self._vectors.T
            bm25 = self._bm25.scores(queries[block])
            yield block.start, fused_top_k(dense, bm25, k, self._weight, deviation=self._deviation), dense, bm25

    def search(self, queries: Sequence[str], k: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Search query by query.

        Yields:
            For each query its number, the rows of the first k passages, best first (fewer if fewer were
            found), and the cosines between the query and every passage.
        """
        for start, found, cosines, _ in self.search_blocks(queries, k):
            for row, columns in enumerate(found):
                yield start + row, columns[columns >= 0], cosines[row]

    def ranks(self, queries: Sequence[str], targets: Sequence[int]) -> list[int | None]:
        """The place of each query's target passage, counted from 1; None where it is not found."""
        places = []
        for number, columns, _ in self.search(queries, self._depth):
            place = np.flatnonzero(columns == targets[number])
            places.append(int(place[0]) + 1 if len(place) else None)
        return places
