"""What queries give to the passages of a large corpus: computed by workers on a cluster, each with a shard of the vectors."""

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

from embed_assets.cluster.ray_cluster import Cluster
from embed_assets.cluster.workers import Workers
from embed_assets.retrieval.dense import PASSAGES_AT_ONCE, DenseScores, products
from embed_assets.retrieval.ranking import Found, best_per_group, top_k

# Pairs of a query and a passage that are worth starting workers: with 384 dimensions, about two minutes of a core.
LEAST_PAIRS = 2**33
# Passages: 200 MB with 384 dimensions.
LEAST_IN_A_SHARD, MOST_IN_A_SHARD = 2**14, 2**17
# Shards begin where a part of DenseScores does, so that products are the same.
STEP = PASSAGES_AT_ONCE


@dataclass(frozen=True)
class Shard:
    """Some passages that stand together: the number of the first, the vectors, and the group of each if there are groups."""

    first: int
    vectors: np.ndarray
    groups: np.ndarray | None = None


class Asked(Protocol):
    """What is asked about a block of queries."""

    def of(self, shard: Shard) -> Found:
        """The best passages of a shard, by their numbers among all; any that is among the best of all is among them."""
        ...


@dataclass(frozen=True)
class Nearest:
    """The best passages.

    Args:
        queries: vectors, shape (queries, dimensions).
        k: how many of each query.
    """

    queries: np.ndarray
    k: int

    def of(self, shard: Shard) -> Found:
        """As Asked.of, part by part as one process goes through all passages."""
        found = DenseScores(self.queries, shard.vectors).first(self.k)
        return Found(np.where(found.columns < 0, -1, found.columns + shard.first), found.scores, found.lowest)

    def joined(self, shards: Sequence[Found]) -> Found:
        """What DenseScores.first finds among all passages, from what was found in the shards, in their order."""
        columns, scores = (np.concatenate([getattr(it, name) for it in shards], axis=1) for name in ("columns", "scores"))
        return Found.best_of(columns, scores, self.k, np.min([it.lowest for it in shards], axis=0))


@dataclass(frozen=True)
class Best:
    """The best passages, and the best one of each of the best groups; no order is told.

    Args:
        queries: vectors, shape (queries, dimensions).
        k: how many passages and groups of each query.
        left_out: row of a query → the group that does not count for it.
    """

    queries: np.ndarray
    k: int
    left_out: Mapping[int, int] = dataclasses.field(default_factory=dict)

    def of(self, shard: Shard) -> Found:
        """As Asked.of."""
        scores = products(self.queries, shard.vectors)
        for row, group in self.left_out.items():
            scores[row, shard.groups == group] = -np.inf
        columns = top_k(scores, self.k)
        if shard.groups is not None:
            columns = np.concatenate([columns, _best_of_groups(scores, shard.groups, self.k)], axis=1)
        best = np.take_along_axis(scores, columns, axis=1)
        return Found(np.where(columns < 0, -1, columns + shard.first), best, scores.min(axis=1, keepdims=True))


def _best_of_groups(scores: np.ndarray, groups: np.ndarray, k: int) -> np.ndarray:
    """The best column of each of the k best groups."""
    starts = np.flatnonzero(np.diff(groups, prepend=groups[0] - 1))
    ends = [*starts[1:], len(groups)]
    best = top_k(best_per_group(scores, groups), k)
    rows = [
        [starts[group] + np.argmax(of_query[starts[group] : ends[group]]) for group in row]
        for of_query, row in zip(scores, best, strict=True)
    ]
    return np.array(rows, dtype=np.int64)


def merge(shards: Sequence[Found], passages: int) -> np.ndarray:
    """What is known of all shards, shape (queries, passages); -inf where nothing is known."""
    scores = np.full((len(shards[0].columns), passages), -np.inf, dtype=np.float32)
    for found in shards:
        rows, places = np.nonzero(found.columns >= 0)
        scores[rows, found.columns[rows, places]] = found.scores[rows, places]
    return scores


class ShardScores:
    """What a worker does; the vectors come from Ray's object store, where its node keeps those that it had."""

    def __init__(self, where: str):
        del where  # there is no model to load

    def answer(self, items: Sequence[tuple[Any, Any]]) -> Iterator[tuple[int, Found]]:
        """Search shards; each item has references to a Shard and to what is asked."""
        import ray

        for place, references in enumerate(items):
            shard, asked = ray.get(list(references))
            yield place, asked.of(shard)


def worth_shards(cluster: Cluster | None, queries: int, passages: int) -> bool:
    """Whether workers of a cluster should search: there is one, LEAST_PAIRS are to be scored, and two shards can be made."""
    return cluster is not None and queries * passages >= LEAST_PAIRS and passages >= 2 * LEAST_IN_A_SHARD


def bounds_of_shards(passages: int, workers: int) -> list[slice]:
    """Shards of about the same size: one for each worker, more where they would be too large, fewer where too small."""
    count = max(1, min(workers, passages // LEAST_IN_A_SHARD), -(-passages // MOST_IN_A_SHARD))
    starts = [round(passages * number / count / STEP) * STEP for number in range(count)]
    return [slice(start, end) for start, end in pairwise([*starts, passages])]


class Shards:
    """The vectors of passages, in shards on the workers of a cluster. They score on CPU cores, as one process does.

    Args:
        cluster: how many workers, and how large.
        passages: system → vectors of the passages, which are the same for all systems.
        groups: number of each passage's group, ascending from 0 without gaps, if the best groups have to be known.
    """

    def __init__(self, cluster: Cluster, passages: Mapping[str, np.ndarray], groups: np.ndarray | None = None):
        (self._count,) = {len(vectors) for vectors in passages.values()}
        bounds = bounds_of_shards(self._count, cluster.workers)
        shards = len(bounds) * len(passages)
        self.workers = Workers(dataclasses.replace(cluster, worker_gpus=0), ShardScores, "vectors", shards)
        self._shards = {name: [_put(it, vectors, groups) for it in bounds] for name, vectors in passages.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._shards = {}
        self.workers.close()

    def nearest(self, blocks: Iterable[Nearest]) -> Iterator[Found]:
        """The best passages of each block of queries, where there is one system."""
        (system,) = self._shards
        asked = deque[Nearest]()

        def taken() -> Iterator[dict[str, Asked]]:
            for block in blocks:
                asked.append(block)
                yield {system: block}

        for parts in self._found(taken()):
            yield asked.popleft().joined(parts[system])

    def scores(self, blocks: Iterable[Mapping[str, Best]]) -> Iterator[dict[str, np.ndarray]]:
        """What each query of a block gives to each passage, shape (queries, passages), by system; -inf where it is not known.

        Args:
            blocks: for each block of queries what is asked about it, by system. They are taken some ahead of what is given.
        """
        for parts in self._found(blocks):
            yield {name: merge(found, self._count) for name, found in parts.items()}

    def _found(self, blocks: Iterable[Mapping[str, Asked]]) -> Iterator[dict[str, list[Found]]]:
        """What is found for each block, by system and then by shard."""
        places = [(name, shard) for name, shards in self._shards.items() for shard in shards]
        waiting: dict[int, dict[int, Found]] = {}
        first = 0
        for number, found in self.workers.answer(_items(places, blocks), kinds=len(places)):
            block, place = divmod(number, len(places))
            waiting.setdefault(block, {})[place] = found
            while len(waiting.get(first, ())) == len(places):
                parts = waiting.pop(first)
                first += 1
                yield {name: [parts[row] for row, (of, _) in enumerate(places) if of == name] for name in self._shards}


def _put(of: slice, vectors: np.ndarray, groups: np.ndarray | None) -> Any:
    import ray

    return ray.put(Shard(of.start, np.ascontiguousarray(vectors[of]), None if groups is None else groups[of]))


def _items(places: Sequence[tuple[str, Any]], blocks: Iterable[Mapping[str, Asked]]) -> Iterator[list[tuple[Any, Any]]]:
    """What the workers are given, an item at a time."""
    import ray

    for block in blocks:
        asked = {name: ray.put(of_system) for name, of_system in block.items()}
        yield from ([(shard, asked[name])] for name, shard in places)
