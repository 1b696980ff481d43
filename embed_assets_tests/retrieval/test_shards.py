"""The best of all passages, from the best of each shard."""

import numpy as np
import pytest

from embed_assets.cluster.ray_cluster import Cluster
from embed_assets.retrieval import dense, shards
from embed_assets.retrieval.dense import PASSAGES_AT_ONCE, DenseScores, products
from embed_assets.retrieval.fusion import DEPTH, convex_fusion, fused_top_k
from embed_assets.retrieval.ranking import Found, best_per_group, top_k
from embed_assets.retrieval.shards import Asked, Best, Nearest, Shard, merge, worth_shards

COUNT = 3000


def few_values(seed: int, shape: tuple[int, int]) -> np.ndarray:
    """Vectors with so few values that many products tie."""
    return np.random.default_rng(seed).integers(-2, 3, shape).astype(np.float32)


PASSAGES, QUERIES = few_values(0, (COUNT, 4)), few_values(1, (9, 4))
BM25 = np.maximum(few_values(2, (9, COUNT)), 0)
# Documents of 1 to 40 chunks; some go over the end of a shard.
GROUPS = np.repeat(np.arange(COUNT), np.random.default_rng(3).integers(1, 40, COUNT))[:COUNT]


def found(asked: Asked, size: int, groups: np.ndarray | None = None) -> list[Found]:
    return [
        asked.of(Shard(start, PASSAGES[start : start + size], None if groups is None else groups[start : start + size]))
        for start in range(0, COUNT, size)
    ]


@pytest.mark.parametrize("size", [64, 1000, COUNT])
@pytest.mark.parametrize("k", [1, 10, 150])
@pytest.mark.parametrize("part", [100, COUNT])
def test_the_nearest_of_all_shards_are_those_of_one_process_also_where_many_tie(
    size: int, k: int, part: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(dense, "PASSAGES_AT_ONCE", part)
    asked, every = Nearest(QUERIES, k), DenseScores(QUERIES, PASSAGES).first(k)
    joined = asked.joined(found(asked, size))
    for name in ("columns", "scores", "lowest"):
        assert np.array_equal(getattr(joined, name), getattr(every, name))
    bm25 = DenseScores(np.eye(9, dtype=np.float32), BM25.T.copy())
    fused = fused_top_k(DenseScores(QUERIES, PASSAGES), bm25, k, depth=k, deviation=1.5)
    assert np.array_equal(fused_top_k(DenseScores(QUERIES, PASSAGES, joined), bm25, k, depth=k, deviation=1.5), fused)


@pytest.mark.parametrize("size", [64, 1000])
def test_documents_have_the_same_places_and_scores(size: int):
    every, left_out = QUERIES @ PASSAGES.T, {2: 5, 7: int(GROUPS[999])}
    for row, group in left_out.items():
        every[row, group == GROUPS] = -np.inf
    known = merge(found(Best(QUERIES, DEPTH, left_out), size, GROUPS), COUNT)
    assert np.array_equal(known[known > -np.inf], every[known > -np.inf])
    fused = [[convex_fusion(it, BM25, weight, deviation=1.5) for it in (known, every)] for weight in (0.3, 0.9)]
    for ours, theirs in [[known, every], *fused]:
        of_units, of_all = best_per_group(ours, GROUPS), best_per_group(theirs, GROUPS)
        first = top_k(of_all, DEPTH)
        assert np.array_equal(top_k(of_units, DEPTH), first)
        assert np.array_equal(np.take_along_axis(of_units, first, axis=1), np.take_along_axis(of_all, first, axis=1))


def test_workers_are_started_only_for_so_many_pairs():
    two = Cluster(2, 0, 1)
    assert not worth_shards(None, 10**6, 10**9)
    assert worth_shards(two, 2**13, 2**20) and not worth_shards(two, 2**13 - 1, 2**20)
    assert not worth_shards(two, 2**20, 2**15 - 1)  # one shard is no share


@pytest.mark.parametrize(
    ("passages", "workers", "count"), [(9000, 8, 1), (40_000, 8, 2), (10**6, 2, 8), (10**6, 16, 16), (2**17 * 100 + 1, 3, 101)]
)
def test_no_shard_is_small_or_large(passages: int, workers: int, count: int):
    bounds = shards.bounds_of_shards(passages, workers)
    assert len(bounds) == count and bounds[0].start == 0 and bounds[-1].stop == passages
    assert [it.stop for it in bounds[:-1]] == [it.start for it in bounds[1:]]
    sizes = [it.stop - it.start for it in bounds]
    assert all(it.start % PASSAGES_AT_ONCE == 0 for it in bounds)
    assert min(sizes) >= PASSAGES_AT_ONCE / 2 or count == 1
    assert max(sizes) <= shards.MOST_IN_A_SHARD + PASSAGES_AT_ONCE


def test_products_with_a_shard_are_the_bits_of_those_with_all():
    draw = np.random.default_rng(5)
    passages, queries = (draw.standard_normal((rows, 96), dtype=np.float32) for rows in (70_000, 20))
    every = products(queries, passages)
    for of in shards.bounds_of_shards(len(passages), 4):
        assert np.array_equal(products(queries, passages[of]), every[:, of])
    assert np.allclose(every, queries @ passages.T, atol=1e-4)
