"""BM25 and dense retrieval over the same passages."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from embed_assets.in_parallel import workers_for
from embed_assets.models.encoders import TextEncoder
from embed_assets.models.hardware import Compute
from embed_assets.retrieval.bm25 import Bm25Scores, bm25_index
from embed_assets.retrieval.dense import DenseScores
from embed_assets.retrieval.fusion import DEFAULT_WEIGHT, DEPTH, cosine_deviation, fused_top_k
from embed_assets.retrieval.on_gpu import nearest, worth_gpu
from embed_assets.retrieval.ranking import QUERIES_IN_A_BLOCK, Found
from embed_assets.retrieval.shards import Nearest, Shards, worth_shards
from embed_assets.retrieval.threads import in_threads
from embed_assets.text.languages import ENGLISH


@dataclass(frozen=True)
class Hits:
    """What was found for a block of queries.

    Args:
        start: number of the first query.
        found: rows of the first k passages, best first, shape (queries, k); -1 after the last that was found.
        cosines: between the queries and any passages.
        bm25: BM25 scores of any passages.
    """

    start: int
    found: np.ndarray
    cosines: DenseScores
    bm25: Bm25Scores


class HybridRetriever:
    """BM25 and dense retrieval over the same passages, fused by convex_fusion of their scores.

    Args:
        encoder: the dense model.
        passages: the texts to search.
        language: ISO 639-1 code of the passages' language.
        weight: of the dense model.
        compute: its cluster shares a large corpus (shards.worth_shards), its GPU compares the vectors (on_gpu.worth_gpu); None:
            this process does both.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        passages: Sequence[str],
        language: str = ENGLISH,
        weight: float = DEFAULT_WEIGHT,
        compute: Compute | None = None,
    ):
        self._encoder = encoder
        # Before the vectors, which take most of the memory.
        self._bm25 = bm25_index(passages, language)
        self._vectors = encoder.encode_passages(passages)
        self._weight, self._deviation = weight, cosine_deviation(self._vectors)
        self._compute = compute or Compute(device="cpu")

    def search(self, queries: Sequence[str], k: int) -> Iterator[Hits]:
        """Search block by block, so that memory is bounded whatever the number of queries and of passages."""
        query_vectors = self._encoder.encode_queries(queries)
        blocks = [slice(start, start + QUERIES_IN_A_BLOCK) for start in range(0, len(queries), QUERIES_IN_A_BLOCK)]
        nearest = self._nearest([query_vectors[block] for block in blocks], len(queries), max(DEPTH, k))

        def hits(asked: tuple[slice, Found | None]) -> Hits:
            block, near = asked
            cosines = DenseScores(query_vectors[block], self._vectors, near)
            bm25 = self._bm25.search(queries[block])
            return Hits(block.start, fused_top_k(cosines, bm25, k, self._weight, deviation=self._deviation), cosines, bm25)

        return in_threads(hits, zip(blocks, nearest, strict=True), workers_for(len(blocks)))

    def _nearest(self, blocks: Sequence[np.ndarray], queries: int, k: int) -> Iterator[Found | None]:
        """The best passages of each block of queries where workers or a GPU find them; else None, for this process to look."""
        cluster = self._compute.cluster
        if cluster is not None and worth_shards(cluster, queries, len(self._vectors)):
            with Shards(cluster, {"dense": self._vectors}) as shards:
                yield from shards.nearest(Nearest(block, k) for block in blocks)
        elif worth_gpu(self._compute, self._vectors):
            yield from nearest(blocks, self._vectors, k, self._compute.torch_device())
        else:
            yield from [None] * len(blocks)

    def ranks(self, queries: Sequence[str], targets: Sequence[int], depth: int = DEPTH) -> list[int | None]:
        """The place of each query's target passage, counted from 1; None where it is not among the first ``depth``."""
        places: list[int | None] = []
        for hits in self.search(queries, depth):
            for columns, target in zip(hits.found, targets[hits.start :], strict=False):
                place = np.flatnonzero(columns == target)
                places.append(int(place[0]) + 1 if len(place) else None)
        return places
