"""Several scores of the same passages, made one."""

from collections.abc import Mapping

import numpy as np

from embed_assets.retrieval.ranking import kth_best

DEPTH = 100
# Weight of the dense model beside BM25 where nothing is known of a collection.
DEFAULT_WEIGHT = 0.5


def convex_fusion(first: np.ndarray, second: np.ndarray, weight: float = DEFAULT_WEIGHT, depth: int = DEPTH) -> np.ndarray:
    """The weighted mean of two scores of the same passages, each scaled from its 100th to its first.

    Convex combination with min-max normalization (Bruch, Gai and Ingber, ACM TOIS 42, 2023, arXiv:2210.11934): the best
    of each run counts 1, its 100th 0, and so does all that comes after it or was not found. What counts 0 in both runs
    comes last, in the order of the first.

    Args:
        first, second: scores, shape (queries, passages); -inf where a run did not find the passage. Of BM25, 0 is what
            no word matches.
        weight: of the first, from 0 to 1; the second has the rest.
        depth: how many passages of each run are scaled; all where there are fewer.

    Returns:
        float32, same shape; what neither run found is -inf.
    """
    of_first, of_second = _min_max(first, depth), _min_max(second, depth)
    fused = weight * np.maximum(of_first, 0) + (1 - weight) * np.maximum(of_second, 0)
    return np.where(fused > 0, fused, np.minimum(of_first, 0)).astype(np.float32)


def fuse_hits(
    first: Mapping[str, float], second: Mapping[str, float], weight: float = DEFAULT_WEIGHT, depth: int = DEPTH
) -> dict[str, float]:
    """convex_fusion of the hits of two searches for one query, best first.

    Args:
        first: id → score of each hit of the dense search; a higher score is better.
        second: id → BM25 score of each hit; what is missing had no match, or was not fetched.
        weight, depth: as in convex_fusion; both searches have to fetch that many hits.
    """
    ids = list(dict.fromkeys([*first, *second]))
    if not ids:
        return {}
    of_first, of_second = (
        np.array([[hits.get(name, missing) for name in ids]], dtype=np.float32)
        for hits, missing in ((first, -np.inf), (second, 0.0))
    )
    fused = convex_fusion(of_first, of_second, weight, depth)[0]
    return {ids[place]: float(fused[place]) for place in np.argsort(-fused, kind="stable")}


def _min_max(scores: np.ndarray, depth: int) -> np.ndarray:
    """Each row so that its first score is 1 and the depth-th, or the last that was found, is 0; all 0 where all are equal."""
    found = np.isfinite(scores)
    best = np.max(scores, axis=1, keepdims=True, initial=-np.inf)
    last = np.min(scores, axis=1, keepdims=True, initial=np.inf, where=found)
    last = np.maximum(last, kth_best(scores, depth))
    span = best - last
    with np.errstate(invalid="ignore", divide="ignore"):
        # Where as many as are scaled are equal, they are all best.
        scaled = np.where(span > 0, (scores - last) / span, np.where(scores >= best, 1.0, scores - best))
    says_nothing = best <= np.min(scores, axis=1, keepdims=True, initial=np.inf)
    return np.where(says_nothing, np.where(found, 0.0, -np.inf), scaled)
