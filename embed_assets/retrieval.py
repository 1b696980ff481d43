"""Exact retrieval: BM25, dense, the two fused, and re-ranked."""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from embed_assets.models.encoders import Encoder

QUERIES_IN_A_BLOCK = 256


class Bm25Index:
    """BM25 over passages: lower case, English stop words and Snowball stems.

    As in Lucene's standard tokenizer, dots within a word do not split it, so that 3.9.2 is one term.

    Args:
        passages: the texts to search.
    """

    def __init__(self, passages: Sequence[str]):
        import bm25s

        self._passages = len(passages)
        self._index = bm25s.BM25()
        terms = self._tokenize(passages)
        self._has_terms = any(terms)
        if self._has_terms:
            self._index.index(terms, show_progress=False)

    @staticmethod
    def _tokenize(texts: Sequence[str]) -> list[list[str]]:
        import bm25s
        import Stemmer

        return bm25s.tokenize(
            list(texts),
            token_pattern=r"(?u)\w+(?:\.\w+)*",
            stopwords="en",
            stemmer=Stemmer.Stemmer("english"),
            show_progress=False,
            return_ids=False,
        )

    def scores(self, queries: Sequence[str]) -> np.ndarray:
        """BM25 scores, float32, shape (queries, passages); 0 where no term matches."""
        found = np.zeros((len(queries), self._passages), dtype=np.float32)
        for row, terms in enumerate(self._tokenize(queries)):
            if terms and self._has_terms:
                found[row] = self._index.get_scores(terms)
        return found


def top_k(scores: np.ndarray, k: int, above: float = -np.inf) -> np.ndarray:
    """Columns of the k best scores of each row, best first, ties in column order.

    Args:
        scores: shape (rows, columns).
        k: how many; all columns if there are fewer.
        above: only scores above this count as found.

    Returns:
        shape (rows, k); -1 stands after the last column that was found.
    """
    import torch

    k = min(k, scores.shape[1])
    # torch finds the k best several times faster than numpy, but takes any of those that tie.
    worst = (
        torch.topk(torch.from_numpy(np.ascontiguousarray(scores)), k, dim=1, sorted=False).values.amin(1, keepdim=True).numpy()
    )
    rows, columns = np.nonzero((scores >= worst) & (scores > above))
    return _first_k(rows, columns, scores[rows, columns], len(scores), k)


def _first_k(rows: np.ndarray, columns: np.ndarray, scores: np.ndarray, count: int, k: int) -> np.ndarray:
    """The columns of the k best of the scores of each row, shape (count, k); -1 after the last."""
    order = np.lexsort((columns, -scores, rows))
    rows, columns = rows[order], columns[order]
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    best = np.full((count, k), -1)
    best[rows[place < k], place[place < k]] = columns[place < k]
    return best


def reciprocal_rank_fusion(runs: Sequence[np.ndarray], columns: int, k: int = 60) -> np.ndarray:
    """Fused scores of several runs over the same passages.

    Each passage gets the sum of 1 / (k + rank) over the runs that hold it, ranks counted from 1
    (Cormack, Clarke and Buettcher, SIGIR 2009; their k is 60).

    Args:
        runs: columns best first, each of shape (queries, length); -1 where nothing was found.
        columns: number of passages.
        k: damps the weight of the first ranks.

    Returns:
        float32, shape (queries, columns); 0 where no run holds the passage.
    """
    # The column beyond the last one takes what was not found: -1 points there.
    fused = np.zeros((len(runs[0]), columns + 1), dtype=np.float32)
    for run in runs:
        weights = 1.0 / (k + 1 + np.arange(run.shape[1], dtype=np.float32))
        rows = np.arange(len(run))[:, None]
        fused[rows, run] += weights
    return fused[:, :columns]


def best_per_group(scores: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The best score among the columns of each group: a document scores as its best chunk.

    Args:
        scores: shape (rows, columns).
        groups: group number of each column, ascending from 0 without gaps.

    Returns:
        shape (rows, number of groups).
    """
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    return np.maximum.reduceat(scores, starts, axis=1)


def fuse_with_order(scores: np.ndarray, weight: float = 1.0, k: int = 60) -> np.ndarray:
    """Reciprocal rank fusion of a re-ranker's scores with the order in which it was given the passages.

    A re-ranker that was trained on little is wrong in other places than retrieval is; two that agree are seldom wrong.

    Args:
        scores: of the passages, best first by retrieval, shape (queries, passages); -inf stands for none.
        weight: of the re-ranker's reciprocal rank; that of retrieval weighs 1.
        k: as in reciprocal_rank_fusion.

    Returns:
        Fused scores, float32, same shape; -inf stays.
    """
    found, places = np.isfinite(scores), np.arange(scores.shape[1])
    order = np.argsort(-scores, axis=1, kind="stable")
    order = np.where(np.take_along_axis(found, order, axis=1), order, -1)
    columns = scores.shape[1]
    fused = reciprocal_rank_fusion([np.where(found, places, -1)], columns, k)
    fused += weight * reciprocal_rank_fusion([order], columns, k)
    # Two passages that swap their ranks tie: the one that was retrieved first stays first.
    return np.where(found, fused - 1e-8 * places, -np.inf).astype(np.float32)


def rerank(run: np.ndarray, candidates: np.ndarray, scores: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Re-order a run by the scores of a re-ranker: a unit scores as the best of its passages that were re-ranked.

    Units without such a passage keep their order, below all others.

    Args:
        run: units (passages, or documents), best first, shape (queries, length); -1 where nothing was found.
        candidates: columns of the passages that were re-ranked, shape (queries, candidates); -1 stands for none.
        scores: what the re-ranker gave them, same shape.
        groups: number of each passage's unit, as in best_per_group.

    Returns:
        Units, best first, and their scores, both of shape (queries, length). The score of a unit that was not
        re-ranked says only that it is lower.
    """
    rows = np.arange(len(run))[:, None]
    # The column beyond the last one takes what was not found: -1 points there.
    of_passages = np.full((len(run), len(groups) + 1), -np.inf, dtype=np.float32)
    of_passages[rows, candidates] = scores
    best = best_per_group(of_passages[:, :-1], groups)
    lowest = np.min(scores, axis=1, keepdims=True, initial=0, where=candidates >= 0)
    below = np.full((len(run), best.shape[1] + 1), -np.inf, dtype=np.float32)
    below[rows, run] = lowest - 1 - np.arange(run.shape[1])
    values = np.where(np.isfinite(best), best, below[:, :-1])
    columns = top_k(values, run.shape[1])
    return columns, np.take_along_axis(values, columns, axis=1)


def group_numbers(names: pl.Series) -> np.ndarray:
    """Numbers the names in order of appearance; equal names must stand together."""
    return (names.rle_id()).to_numpy().astype(np.int64)


class HybridRetriever:
    """BM25 and dense retrieval over the same passages, fused by reciprocal rank.

    Args:
        encoder: the dense model.
        passages: the texts to search.
        depth: how many passages of each run are fused.
    """

    def __init__(self, encoder: Encoder, passages: Sequence[str], depth: int = 100):
        self._encoder = encoder
        self._vectors = encoder.encode_passages(passages)
        self._bm25 = Bm25Index(passages)
        self._depth = depth

    def search_blocks(self, queries: Sequence[str], k: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Search block by block, so that memory is bounded whatever the number of queries.

        Yields:
            For each block the number of its first query; the rows of the first k passages, best first, shape
            (queries, k), -1 after the last that was found; and the cosines to every passage, shape (queries, passages).
        """
        query_vectors = self._encoder.encode_queries(queries)
        for start in range(0, len(queries), QUERIES_IN_A_BLOCK):
            block = slice(start, start + QUERIES_IN_A_BLOCK)
            dense = query_vectors[block] @ self._vectors.T
            bm25 = self._bm25.scores(queries[block])
            fused = reciprocal_rank_fusion([top_k(dense, self._depth), top_k(bm25, self._depth, above=0)], dense.shape[1])
            yield start, top_k(fused, k, above=0), dense

    def search(self, queries: Sequence[str], k: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Search query by query.

        Yields:
            For each query its number, the rows of the first k passages, best first (fewer if fewer were
            found), and the cosines between the query and every passage.
        """
        for start, found, cosines in self.search_blocks(queries, k):
            for row, columns in enumerate(found):
                yield start + row, columns[columns >= 0], cosines[row]

    def ranks(self, queries: Sequence[str], targets: Sequence[int]) -> list[int | None]:
        """The place of each query's target passage, counted from 1; None where it is not found."""
        places = []
        for number, columns, _ in self.search(queries, self._depth):
            place = np.flatnonzero(columns == targets[number])
            places.append(int(place[0]) + 1 if len(place) else None)
        return places
