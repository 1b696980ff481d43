"""The best of many scores: top k, the best of each group, a re-ranked order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

QUERIES_IN_A_BLOCK = 256
# Scores of a block of queries for all passages, as float32: 256 MB.
SCORES_IN_A_BLOCK = 2**26


@dataclass(frozen=True)
class Found:
    """The best of many scores of each query.

    Args:
        columns: best first, shape (queries, k); -1 stands after the last that was found.
        scores: theirs, same shape.
        lowest: the lowest score of all, shape (queries, 1).
    """

    columns: np.ndarray
    scores: np.ndarray
    lowest: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray, k: int, above: float = -np.inf) -> "Found":
        """The k best columns of each row, as top_k finds them; in the place of what is not found stands the score ``above``."""
        columns = top_k(scores, k, above)
        best = np.where(columns >= 0, np.take_along_axis(scores, columns, axis=1), np.float32(above))
        return cls(columns, best, scores.min(axis=1, keepdims=True))

    @classmethod
    def best_of(cls, columns: np.ndarray, scores: np.ndarray, k: int, lowest: np.ndarray) -> "Found":
        """The k best of what was found in several places, ties in column order; all of shape (queries, any)."""
        order = np.lexsort((columns, -scores), axis=1)[:, :k]
        return cls(np.take_along_axis(columns, order, axis=1), np.take_along_axis(scores, order, axis=1), lowest)

    @classmethod
    def joined(cls, blocks: Sequence["Found"]) -> "Found":
        """Those of all blocks of queries."""
        parts = ((found.columns, found.scores, found.lowest) for found in blocks)
        return cls(*(np.concatenate(of_all) for of_all in zip(*parts, strict=True)))


def blocks_of_queries(queries: int, passages: int) -> Iterator[slice]:
    """The queries in blocks, so small that their scores for all passages fit in memory several times."""
    size = max(1, min(QUERIES_IN_A_BLOCK, SCORES_IN_A_BLOCK // max(1, passages)))
    return (slice(start, start + size) for start in range(0, queries, size))


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
    # torch finds the k best several times faster than numpy, but takes any of those that tie with the last.
    values, columns = torch.topk(torch.from_numpy(np.ascontiguousarray(scores)), min(k + 1, scores.shape[1]), dim=1)
    best = in_order(values[:, :k].numpy(), columns[:, :k].numpy(), above)
    if k < scores.shape[1]:
        for row in np.flatnonzero((values[:, k] == values[:, k - 1]).numpy() & (values[:, k - 1] > above).numpy()):
            found = np.flatnonzero(scores[row] >= values[row, k - 1].item())
            best[row] = in_order(scores[row][found][None], found[None], above)[0, :k]
    return best


def in_order(scores: np.ndarray, columns: np.ndarray, above: float = -np.inf) -> np.ndarray:
    """The columns by their scores, best first, ties in column order; -1 in the place of scores that are not above."""
    order = np.lexsort((columns, -scores), axis=1)
    return np.where(np.take_along_axis(scores, order, axis=1) > above, np.take_along_axis(columns, order, axis=1), -1)


def kth_best(scores: np.ndarray, k: int) -> np.ndarray:
    """The k-th best score of each row, shape (rows, 1); the worst one if there are fewer columns."""
    import torch

    best = torch.topk(torch.from_numpy(np.ascontiguousarray(scores)), min(k, scores.shape[1]), dim=1, sorted=False).values
    return best.amin(1, keepdim=True).numpy()


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


def rerank(run: np.ndarray, candidates: np.ndarray, scores: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Re-order a run by the scores of a re-ranker: a unit scores as the best of its passages that were re-ranked.

    Equal scores keep the order of retrieval. Units without such a passage keep their order, below all others.

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
    of_passages, places = (np.full((len(run), len(groups) + 1), -np.inf, dtype=np.float32) for _ in range(2))
    of_passages[rows, candidates] = scores
    order = np.argsort(-scores, axis=1, kind="stable")
    # Equal scores keep the order of retrieval.
    places[rows, np.take_along_axis(candidates, order, axis=1)] = -np.arange(candidates.shape[1], dtype=np.float32)
    best, place = best_per_group(of_passages[:, :-1], groups), best_per_group(places[:, :-1], groups)
    below = np.full((len(run), best.shape[1] + 1), -np.inf, dtype=np.float32)
    below[rows, run] = -candidates.shape[1] - np.arange(run.shape[1])
    reranked = np.isfinite(place)
    columns = top_k(np.where(reranked, place, below[:, :-1]), run.shape[1])
    lowest = np.min(scores, axis=1, keepdims=True, initial=0, where=candidates >= 0)
    values = np.where(reranked, best, below[:, :-1] + candidates.shape[1] + lowest - 1)
    return columns, np.take_along_axis(values, columns, axis=1)


def group_numbers(names: pl.Series) -> np.ndarray:
    """Numbers the names in order of appearance; equal names must stand together."""
    return names.rle_id().to_numpy().astype(np.int64)
