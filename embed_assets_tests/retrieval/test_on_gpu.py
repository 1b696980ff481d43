"""The nearest passages as a GPU finds them: computed by torch, here on the device that there is."""

from collections.abc import Sequence

import numpy as np
import pytest

from embed_assets.cluster.ray_cluster import Cluster
from embed_assets.models.hardware import Compute
from embed_assets.retrieval import hybrid, on_gpu
from embed_assets.retrieval.dense import PASSAGES_AT_ONCE, DenseScores
from embed_assets.retrieval.hybrid import HybridRetriever
from embed_assets.retrieval.on_gpu import nearest, worth_gpu

# So few values that many products tie, and all are exact.
PASSAGES, QUERIES = (
    np.random.default_rng(seed).integers(-2, 3, (rows, 4)).astype(np.float32) for seed, rows in ((0, 3000), (1, 9))
)


class GivenVectors:
    """An encoder whose texts are the numbers of vectors that are there."""

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        return QUERIES[[int(text) for text in texts]]

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        return PASSAGES[[int(text) for text in texts]]


@pytest.mark.parametrize("part", [7, 1000, 10**6])
@pytest.mark.parametrize("k", [1, 100, 5000])
def test_those_of_one_process_are_found_also_where_many_tie(part: int, k: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(on_gpu, "PASSAGES_IN_A_PART", part)
    blocks = [QUERIES[:4], QUERIES[4:]]
    for block, found in zip(blocks, nearest(blocks, PASSAGES, k, Compute().torch_device()), strict=True):
        expected = DenseScores(block, PASSAGES).first(k)
        for name in ("columns", "scores", "lowest"):
            assert np.array_equal(getattr(found, name), getattr(expected, name))


def test_hybrid_retrieval_finds_the_same_with_what_a_gpu_found(monkeypatch: pytest.MonkeyPatch):
    passages, queries = ([str(row) for row in range(len(vectors))] for vectors in (PASSAGES, QUERIES))
    (alone,) = HybridRetriever(GivenVectors(), passages).search(queries, 20)
    asked = []

    def seen(blocks, vectors, k, device):
        asked.append(device)
        return nearest(blocks, vectors, k, device)

    monkeypatch.setattr(hybrid, "worth_gpu", lambda compute, vectors: True)
    monkeypatch.setattr(hybrid, "nearest", seen)
    (together,) = HybridRetriever(GivenVectors(), passages, compute=Compute()).search(queries, 20)
    assert asked == [Compute().torch_device()]
    assert np.array_equal(together.found, alone.found)


def test_a_gpu_searches_where_all_vectors_fit_and_are_many(monkeypatch: pytest.MonkeyPatch):
    vectors = np.broadcast_to(np.float16(1), (PASSAGES_AT_ONCE + 1, 100))
    assert not worth_gpu(Compute(device="cpu"), vectors)
    for free, worth in ((vectors.size * 8, True), (vectors.size * 8 - 1, False)):
        monkeypatch.setattr(Compute, "free_memory", lambda self, free=free: free)
        assert worth_gpu(Compute(device="cuda:1"), vectors) == worth
        assert not worth_gpu(Compute(device="cuda:1"), vectors[1:])
        assert not worth_gpu(Compute(device="cuda", cluster=Cluster()), vectors), "the driver may have no GPU"
