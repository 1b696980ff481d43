"""What each system retrieves for each query."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from embed_assets.cluster.ray_cluster import Cluster
from embed_assets.corpus.spans import language_of
from embed_assets.evaluation.labels import own_units
from embed_assets.models.encoders import TextEncoder
from embed_assets.models.rerankers import PairScorer
from embed_assets.retrieval.bm25 import bm25_index
from embed_assets.retrieval.fusion import DEPTH, convex_fusion, cosine_deviation, query_weights
from embed_assets.retrieval.ranking import best_per_group, blocks_of_queries, group_numbers, rerank, top_k
from embed_assets.retrieval.rescoring import Rescored, dense_scores
from embed_assets.retrieval.shards import Best, Shards, worth_shards
from embed_assets.text.identifiers import IDENTIFIER_PATTERNS

BM25 = "bm25"
BYTES_IN_MEMORY = 2**28


@dataclass(frozen=True)
class RerankedSystem:
    """Another system whose first passages are re-ordered.

    Args:
        system: name of the other system.
        reranker: scores the passages.
        top_k: how many passages of each query it scores.
        weight: of its scores in the convex fusion with those of the other system; None puts them in the place of those.
    """

    system: str
    reranker: PairScorer
    top_k: int
    weight: float | None = None


class Systems:
    """The dense systems and BM25 over the chunks of a collection.

    Args:
        chunks: the collection's chunks.
        encoders: dense systems by name.
        with_bm25: whether there is BM25 too.
        patterns: what an identifier looks like.
        cluster: workers that share the vectors of a large corpus (shards.worth_shards); None: this process has them all.
    """

    def __init__(
        self,
        chunks: pl.DataFrame,
        encoders: Mapping[str, TextEncoder],
        with_bm25: bool,
        patterns: Sequence[str] = IDENTIFIER_PATTERNS,
        cluster: Cluster | None = None,
    ):
        self.chunks, self.patterns, self._encoders, self._cluster = chunks, patterns, encoders, cluster
        self._passages = chunks["passage"].to_list()
        self._vectors = {name: _kept(encoder.encode_passages(self._passages)) for name, encoder in encoders.items()}
        self.deviations = {name: cosine_deviation(vectors) for name, vectors in self._vectors.items()}
        self._bm25 = bm25_index(self._passages, language_of(chunks)) if with_bm25 else None

    @property
    def dimensions(self) -> dict[str, int]:
        """Of the vectors of each dense system."""
        return {name: vectors.shape[1] for name, vectors in self._vectors.items()}

    def units(self, by_document: bool) -> tuple[list[str], np.ndarray]:
        """The names of the units, and the number of the unit of each chunk."""
        if by_document:
            return self.chunks["document_id"].unique(maintain_order=True).to_list(), group_numbers(self.chunks["document_id"])
        return self.chunks["chunk_id"].to_list(), np.arange(len(self.chunks))

    def search_blocks(
        self, queries: pl.DataFrame, relevant: Mapping[str, Mapping[str, int]], by_document: bool, k: int
    ) -> Iterator[tuple[list[str], dict[str, np.ndarray]]]:
        """The queries block by block, and what each system gives to each chunk, shape (queries, chunks).

        The document that a query itself is does not count as found (labels.own_units). With workers on a cluster, what is
        none of the best is -inf.

        Args:
            queries: ``query_id`` and ``query``.
            relevant: from relevant_units, of these queries in their order.
            by_document: whether the units are documents.
            k: how many of the first units, and of the first chunks, are asked for.
        """
        texts = queries["query"].to_list()
        vectors = {name: encoder.encode_queries(texts) for name, encoder in self._encoders.items()}
        units, groups = self.units(by_document)
        own = own_units(relevant, units) if by_document else {}
        for block, scores in self._dense_blocks(vectors, len(texts), groups if by_document else None, own, k):
            if self._bm25 is not None:
                scores[BM25] = self._bm25.scores(texts[block])
            for row, unit in own.items():
                if block.start <= row < block.stop:
                    for system, values in scores.items():
                        values[row - block.start, groups == unit] = 0 if system == BM25 else -np.inf
            yield texts[block], scores

    def _dense_blocks(
        self, queries: Mapping[str, np.ndarray], count: int, groups: np.ndarray | None, own: Mapping[int, int], k: int
    ) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
        """The blocks of queries, and what each dense system gives to each chunk."""
        blocks = list(blocks_of_queries(count, len(self._passages)))
        if not worth_shards(self._cluster, count, len(self._passages)) or not self._can_be_shared():
            for block in blocks:
                systems = self._encoders.items()
                yield block, {name: dense_scores(it, queries[name][block], self._vectors[name]) for name, it in systems}
            return
        assert self._cluster is not None

        def asked(block: slice) -> dict[str, Best]:
            left_out = {row - block.start: unit for row, unit in own.items() if block.start <= row < block.stop}
            return {name: Best(of[block], max(k, DEPTH), left_out) for name, of in queries.items()}

        with Shards(self._cluster, self._vectors, groups) as shards:
            yield from zip(blocks, shards.scores(map(asked, blocks)), strict=True)

    def _can_be_shared(self) -> bool:
        """Whether the best of each shard are enough: not where short vectors find, or all vectors are the same."""
        rescored = any(isinstance(encoder, Rescored) for encoder in self._encoders.values())
        return bool(self._encoders) and not rescored and None not in self.deviations.values()

    def fuse(self, queries: Sequence[str], scores: Mapping[str, np.ndarray], dense: str, weight: float) -> np.ndarray:
        """What a dense system and BM25 give together to each chunk, shape (queries, chunks), from what search_blocks yields."""
        weights = query_weights(queries, weight, self.patterns)
        return convex_fusion(scores[dense], scores[BM25], weights, deviation=self.deviations[dense])

    def rank(
        self,
        queries: pl.DataFrame,
        relevant: Mapping[str, Mapping[str, int]],
        by_document: bool,
        top_k: int,
        hybrids: Mapping[str, tuple[str, float]],
        reranked: Mapping[str, RerankedSystem],
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """The first units of each system, and their scores.

        All fusing is done on chunks, which is what search finds; a document then scores as its best chunk.

        Args:
            queries, relevant, by_document: as in search_blocks.
            top_k: length of the runs.
            hybrids: name of a hybrid system → the dense system that is fused with BM25, and its weight.
            reranked: systems that re-order the chunks of another one, by name.

        Returns:
            System → units (columns, best first, -1 where none is left) and scores, both of shape (queries, top_k).
        """
        _, groups = self.units(by_document)
        blocks: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
        retrieved: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in reranked}
        texts: list[str] = []
        most = max(top_k, *(system.top_k for system in reranked.values()), 0)
        for of_block, scores in self.search_blocks(queries, relevant, by_document, most):
            texts += of_block
            for name, (dense, weight) in hybrids.items():
                scores[name] = self.fuse(of_block, scores, dense, weight)
            for name, values in scores.items():
                blocks.setdefault(name, []).append(_first(name, best_per_group(values, groups), top_k))
            for name, system in reranked.items():
                retrieved[name].append(_first(system.system, scores[system.system], system.top_k))
        runs = {name: _joined(parts) for name, parts in blocks.items()}
        for name, system in reranked.items():
            runs[name] = self._rerank(system, texts, runs[system.system][0], *_joined(retrieved[name]), groups)
        return runs

    def _rerank(
        self,
        system: RerankedSystem,
        texts: list[str],
        run: np.ndarray,
        candidates: np.ndarray,
        retrieved: np.ndarray,
        groups: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        # All queries at once: what encodes a passage does so once for all of them.
        scores = self._score_candidates(system, texts, candidates, retrieved)
        blocks = blocks_of_queries(len(texts), len(groups))
        return _joined([rerank(run[block], candidates[block], scores[block], groups) for block in blocks])

    def _score_candidates(
        self, system: RerankedSystem, texts: list[str], candidates: np.ndarray, retrieved: np.ndarray
    ) -> np.ndarray:
        scores = np.full(candidates.shape, -np.inf, dtype=np.float32)
        found = candidates >= 0
        rows = np.nonzero(found)[0].tolist()
        pairs = [(texts[row], self._passages[column]) for row, column in zip(rows, candidates[found].tolist(), strict=True)]
        scores[found] = system.reranker.score(pairs)
        if system.weight is None:
            return scores
        return convex_fusion(scores, np.where(found, retrieved, -np.inf), system.weight, system.top_k)


def _kept(vectors: np.ndarray) -> np.ndarray:
    """Vectors of a system; large ones lie in a file, which is dropped from memory where that is short.

    All systems are read for each block of queries, so that memory would else have to hold the vectors of all at once.
    """
    if vectors.nbytes < BYTES_IN_MEMORY:
        return vectors
    # A file without a name is gone with the process, however that ends.
    with tempfile.TemporaryFile() as file:
        vectors.tofile(file)
        file.flush()
        return np.memmap(file, dtype=vectors.dtype, mode="r", shape=vectors.shape)


def _first(system: str, scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    columns = top_k(scores, k, 0 if system == BM25 else -np.inf)
    return columns, np.take_along_axis(scores, columns, axis=1)


def _joined(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Columns and scores of all blocks of queries."""
    columns, scores = zip(*parts, strict=True)
    return np.concatenate(columns), np.concatenate(scores)
