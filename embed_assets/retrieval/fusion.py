"""Several scores of the same passages, made one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from embed_assets.retrieval.ranking import Found, in_order, kth_best, top_k
from embed_assets.text.identifiers import IDENTIFIER_PATTERNS, is_mostly_identifiers

DEPTH = 100
# Weight of the dense model beside BM25 where nothing is known of a collection.
DEFAULT_WEIGHT = 0.5
# The same for a query that is little but identifiers, which encoders tell apart badly: measured, see docs/proof.md.
IDENTIFIER_WEIGHT = 0.2
PASSAGES_FOR_DEVIATION = 1000


def cosine_deviation(vectors: np.ndarray) -> float | None:
    """The standard deviation of the cosines between different passages: what is much and what is little for a model.

    Args:
        vectors: unit vectors of passages, shape (passages, dimensions); of more than 1,000, that many are taken at equal
            distances.

    Returns:
        None where all are equal, or there are fewer than three.
    """
    drawn = np.linspace(0, len(vectors) - 1, min(len(vectors), PASSAGES_FOR_DEVIATION)).astype(int)
    some = vectors[drawn].astype(np.float32)
    cosines = (some @ some.T)[np.triu_indices(len(some), 1)]
    deviation = float(cosines.std()) if len(cosines) > 1 else 0.0
    return deviation if deviation > 1e-6 else None


def query_weights(queries: Sequence[str], weight: float, patterns: Sequence[str] = IDENTIFIER_PATTERNS) -> np.ndarray:
    """The weight of the dense model for each query, shape (queries, 1): a small one where it is mostly identifiers.

    Args:
        queries: as they are asked.
        weight: for all others.
        patterns: what an identifier looks like.
    """
    small, patterns = min(weight, IDENTIFIER_WEIGHT), tuple(patterns)
    weights = [small if is_mostly_identifiers(query, patterns) else weight for query in queries]
    return np.array(weights, dtype=np.float32).reshape(-1, 1)


def convex_fusion(
    first: np.ndarray,
    second: np.ndarray,
    weight: float | np.ndarray = DEFAULT_WEIGHT,
    depth: int = DEPTH,
    deviation: float | None = None,
) -> np.ndarray:
    """The weighted mean of two scores of the same passages, each scaled from its 100th to its first.

    Convex combination with min-max normalization (Bruch, Gai and Ingber, ACM TOIS 42, 2023, arXiv:2210.11934): the best
    of each run counts 1, its 100th 0, and so does all that comes after it or was not found. What counts 0 in both runs
    comes last, in the order of the first.

    With ``deviation``, the first run keeps its own scale: where its best stands far above its 100th, the model is sure, and
    counts more. To stretch each query's cosines from 0 to 1 throws that away (measured, see docs/proof.md).

    Args:
        first, second: scores, shape (queries, passages); -inf where a run did not find the passage. Of BM25, 0 is what
            no word matches.
        weight: of the first, from 0 to 1, for all queries or for each (query_weights); the second has the rest.
        depth: how many passages of each run are scaled; all where there are fewer.
        deviation: how far above its 100th a score of the first run counts 1 (cosine_deviation); None: as far as the best.

    Returns:
        float32, same shape; what neither run found is -inf.
    """
    of_first, of_second = (
        _scaled(scores, _Scale.of(scores, kth_best(scores, depth), unit)) for scores, unit in ((first, deviation), (second, None))
    )
    return _mean(of_first, of_second, weight)


class Scores(Protocol):
    """What one run gives to all passages for each query of a block, without holding it all at once."""

    def first(self, k: int) -> Found:
        """The k best passages of each query; fewer where the others have no score, or one of 0 that says nothing."""
        ...

    def at(self, columns: np.ndarray) -> np.ndarray:
        """The scores of some passages of each query, same shape (queries, passages)."""
        ...

    def row(self, number: int) -> np.ndarray:
        """The scores of one query for all passages, shape (passages,)."""
        ...


def fused_top_k(
    first: Scores,
    second: Scores,
    k: int,
    weight: float = DEFAULT_WEIGHT,
    depth: int = DEPTH,
    deviation: float | None = None,
) -> np.ndarray:
    """What top_k finds in convex_fusion, without fusing what can be none of the first k: a hundred times less of a million.

    Args:
        first, second: what convex_fusion is given.
        weight, depth, deviation: as in convex_fusion.
        k: how many.

    Returns:
        Columns, best first, shape (queries, k), fewer where there are fewer passages; -1 stands after the last that was found.
    """
    near, named = first.first(max(depth, k)), second.first(depth)
    scales = [_Scale.of_found(found, depth, unit) for found, unit in ((near, deviation), (named, None))]
    columns = np.concatenate([near.columns, named.columns], axis=1)
    of_first = np.concatenate([near.scores, first.at(named.columns)], axis=1)
    of_second = np.concatenate([second.at(near.columns), named.scores], axis=1)
    fused = _mean(_scaled(of_first, scales[0]), _scaled(of_second, scales[1]), weight)
    # What both have found stands twice.
    twice = (named.columns[:, :, None] == near.columns[:, None, :]).any(axis=2)
    fused[:, near.columns.shape[1] :][twice] = -np.inf
    fused[columns < 0] = -np.inf
    best = in_order(fused, columns)[:, : min(k, near.columns.shape[1])]
    # More passages than are scaled may be equally good, and then all of them count.
    for row in np.flatnonzero(np.logical_or(*(scale.all_best for scale in scales))):
        of_all = (scores.row(int(row))[None] for scores in (first, second))
        best[row] = top_k(convex_fusion(next(of_all), next(of_all), weight, depth, deviation), k)[0]
    return best


def fuse_hits(
    first: Mapping[str, float],
    second: Mapping[str, float],
    weight: float = DEFAULT_WEIGHT,
    deviation: float | None = None,
) -> dict[str, float]:
    """convex_fusion of the hits of two searches for one query, best first.

    Args:
        first: id → score of each hit of the dense search; a higher score is better.
        second: id → BM25 score of each hit; what is missing had no match, or was not fetched.
        weight, deviation: as in convex_fusion; both searches have to fetch DEPTH hits.
    """
    ids = list(dict.fromkeys([*first, *second]))
    if not ids:
        return {}
    of_first, of_second = (
        np.array([[hits.get(name, missing) for name in ids]], dtype=np.float32)
        for hits, missing in ((first, -np.inf), (second, 0.0))
    )
    fused = convex_fusion(of_first, of_second, weight, deviation=deviation)[0]
    return {ids[place]: float(fused[place]) for place in np.argsort(-fused, kind="stable")}


@dataclass(frozen=True)
class _Scale:
    """Of each row the best score, the last, which counts 0, whether the row says nothing, and how far above the last counts 1.

    Where no unit is given, the best counts 1.
    """

    best: np.ndarray
    last: np.ndarray
    says_nothing: np.ndarray
    unit: float | None

    @classmethod
    def of(cls, scores: np.ndarray, kth: np.ndarray, unit: float | None) -> "_Scale":
        best, worst = (extreme(scores, axis=1, keepdims=True) for extreme in (np.max, np.min))
        last, few = kth.copy(), ~np.isfinite(kth[:, 0])
        last[few] = np.min(scores[few], axis=1, keepdims=True, initial=np.inf, where=np.isfinite(scores[few]))
        return cls(best, last, best <= worst, unit)

    @classmethod
    def of_found(cls, found: Found, depth: int, unit: float | None) -> "_Scale":
        """The same from the best of each row."""
        finite = np.isfinite(found.scores)
        last = found.scores[:, :depth][:, -1:].copy()
        few = ~np.isfinite(last[:, 0])
        last[few] = np.min(found.scores[few], axis=1, keepdims=True, initial=np.inf, where=finite[few])
        return cls(found.scores[:, :1], last, found.scores[:, :1] <= found.lowest, unit)

    @property
    def all_best(self) -> np.ndarray:
        return ((self.best <= self.last) & ~self.says_nothing & (self.unit is None))[:, 0]


def _scaled(scores: np.ndarray, scale: _Scale) -> np.ndarray:
    """The scores so that the last is 0 and the best, or what stands a unit above the last, is 1; all 0 where all are equal."""
    if scale.unit is not None:
        return np.where(np.isfinite(scores), (scores - scale.last) / scale.unit, -np.inf)
    span = scale.best - scale.last
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = np.where(span > 0, (scores - scale.last) / span, np.where(scores >= scale.best, 1.0, scores - scale.best))
    return np.where(scale.says_nothing, np.where(np.isfinite(scores), 0.0, -np.inf), scaled)


def _mean(first: np.ndarray, second: np.ndarray, weight: float | np.ndarray) -> np.ndarray:
    fused = weight * np.maximum(first, 0) + (1 - weight) * np.maximum(second, 0)
    return np.where(fused > 0, fused, np.minimum(first, 0)).astype(np.float32)
