"""Dense retrieval: the products of the vectors of queries and passages."""

import numpy as np

from embed_assets.retrieval.ranking import Found

# A part of a large corpus whose scores for a block of queries stay in the processor's cache, more or less: 16 MB.
PASSAGES_AT_ONCE = 2**14


class DenseScores:
    """Scores of a block of queries for all passages (fusion.Scores).

    Those of a small corpus are held. A large one is gone through part by part, and only what is better than the best so far
    is kept.

    Args:
        queries: vectors, shape (queries, dimensions).
        passages: vectors, shape (passages, dimensions).
        nearest: the best passages, as ``first`` gives them, where others have found them.
    """

    def __init__(self, queries: np.ndarray, passages: np.ndarray, nearest: Found | None = None):
        self._queries, self._passages, self._nearest = queries, passages, nearest
        self._held = queries @ passages.T if len(passages) <= PASSAGES_AT_ONCE else None

    def first(self, k: int) -> Found:
        """The k best passages of each query."""
        if self._nearest is not None and k == self._nearest.columns.shape[1]:
            return self._nearest
        if self._held is not None:
            return Found.of(self._held, k)
        # The first part holds as many as are asked for, so that there is always a worst of the best so far.
        size = max(PASSAGES_AT_ONCE, k)
        best = Found.of(self._queries @ self._passages[:size].T, k)
        for start in range(size, len(self._passages), size):
            best = _better(best, self._queries @ self._passages[start : start + size].T, start)
        return best

    def at(self, columns: np.ndarray) -> np.ndarray:
        """The scores of some passages of each query, same shape (queries, passages); -inf where the column is -1."""
        if self._held is not None:
            scores = np.take_along_axis(self._held, columns, axis=1)
        else:
            scores = np.stack([self._passages[row] @ query for row, query in zip(columns, self._queries, strict=True)])
        return np.where(columns >= 0, scores, np.float32(-np.inf))

    def row(self, number: int, columns: np.ndarray | None = None) -> np.ndarray:
        """The scores of one query for some passages, or for all, shape (passages,)."""
        places = slice(None) if columns is None else columns
        return self._passages[places] @ self._queries[number] if self._held is None else self._held[number][places]


def products(queries: np.ndarray, passages: np.ndarray) -> np.ndarray:
    """Scores of all passages, shape (queries, passages), in the parts that DenseScores goes through.

    On some processors a product's last bits depend on how many passages it is computed with, and those of a shard have to be
    those of all.
    """
    scores = np.empty((len(queries), len(passages)), np.result_type(queries, passages))
    for start in range(0, len(passages), PASSAGES_AT_ONCE):
        scores[:, start : start + PASSAGES_AT_ONCE] = queries @ passages[start : start + PASSAGES_AT_ONCE].T
    return scores


def _better(best: Found, scores: np.ndarray, start: int) -> Found:
    """The best of those so far and of the next part, whose columns begin at ``start``; of equal ones the earlier."""
    k = best.columns.shape[1]
    lowest = np.minimum(best.lowest, scores.min(axis=1, keepdims=True))
    rows, columns = np.nonzero(scores > best.scores[:, -1:])
    counts = np.bincount(rows, minlength=len(scores))
    if not len(rows):
        return Found(best.columns, best.scores, lowest)
    if counts.max() > k:
        further, of_further = (part := Found.of(scores, k)).columns + start, part.scores
    else:
        places = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        further = np.full((len(scores), counts.max()), -1)
        of_further = np.full(further.shape, -np.inf, dtype=np.float32)
        further[rows, places], of_further[rows, places] = columns + start, scores[rows, columns]
    columns = np.concatenate([best.columns, further], axis=1)
    values = np.concatenate([best.scores, of_further], axis=1)
    # Ties stand in column order: a part that is not full ends with columns that score -inf.
    return Found.best_of(columns, values, k, lowest)
