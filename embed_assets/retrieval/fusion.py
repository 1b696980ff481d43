"""Several orders of the same passages, made one."""

from collections.abc import Sequence

import numpy as np


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
