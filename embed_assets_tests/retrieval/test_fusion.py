"""Convex fusion, with values that can be checked by hand."""

import numpy as np
import pytest

from embed_assets.retrieval.fusion import convex_fusion, cosine_deviation, fuse_hits, fused_top_k, query_weights
from embed_assets.retrieval.ranking import Found, top_k

NONE = -np.inf


def fused(first: list[float], second: list[float], weight: float = 0.5, depth: int = 100) -> list[float]:
    return convex_fusion(np.array([first], dtype=np.float32), np.array([second], dtype=np.float32), weight, depth)[0].tolist()


def test_each_run_is_scaled_from_its_last_to_its_first():
    assert fused([0.9, 0.5, 0.7], [2.0, 10.0, 4.0]) == pytest.approx([0.5, 0.5, 0.25 + 0.125])
    assert fused([0.9, 0.5, 0.7], [2.0, 10.0, 4.0], weight=0.8) == pytest.approx([0.8, 0.2, 0.4 + 0.05])


def test_what_comes_after_the_depth_counts_nothing_and_keeps_the_order_of_the_first_run():
    scores = fused([0.8, 0.2, 0.7, 0.3, 0.6], [0.0, 0.0, 4.0, 0.0, 2.0], depth=2)
    assert scores[:3] == pytest.approx([0.5, scores[1], 0.5]) and scores[4] < 0
    assert np.argsort([-score for score in scores], kind="stable").tolist() == [0, 2, 4, 3, 1]


def test_a_weight_of_one_or_zero_is_one_of_the_runs():
    first, second = [0.1, 0.4, 0.3], [7.0, 0.0, 3.0]
    assert np.argsort(fused(first, second, 1.0)).tolist() == np.argsort(first).tolist()
    assert np.argsort(fused(first, second, 0.0)).tolist() == np.argsort(second).tolist()


def test_a_run_that_says_nothing_leaves_the_order_to_the_other():
    assert fused([0.1, 0.9, 0.5], [0.0, 0.0, 0.0]) == pytest.approx([0.0, 0.5, 0.25])
    assert fused([0.3, 0.3, 0.3], [1.0, 3.0, 2.0]) == pytest.approx([0.0, 0.5, 0.25])


def test_one_word_match_counts_in_full_and_nothing_found_stays_nothing():
    assert fused([0.5, 0.4, NONE], [0.0, 3.0, 0.0]) == pytest.approx([0.5, 0.5, NONE])


def test_with_a_deviation_the_model_counts_as_far_as_it_tells_passages_apart():
    """The words give 1, 0.5 and 0 to the first three; a cosine .2 above the last one counts 1."""
    words = np.array([[8.0, 4.0, 0.0]] * 2, dtype=np.float32)
    dense = np.array([[0.1, 0.1, 0.5], [0.1, 0.1, 0.14]], dtype=np.float32)
    sure, unsure = convex_fusion(dense, words, deviation=0.2)
    assert sure == pytest.approx([0.5, 0.25, 1.0]) and unsure == pytest.approx([0.5, 0.25, 0.1])
    # Stretched from 0 to 1, both queries look the same.
    assert convex_fusion(dense, words).tolist() == [[0.5, 0.25, 0.5]] * 2


def test_the_deviation_is_that_of_the_cosines_of_different_passages():
    # Cosines 0, .6 and .8: mean .4667, squares of the distances .2178, .0178 and .1111.
    vectors = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]], dtype=np.float32)
    assert cosine_deviation(vectors) == pytest.approx((0.3467 / 3) ** 0.5, abs=1e-4)
    # A third of the pairs are now equal passages: mean .6444, mean of the squares .5556.
    assert cosine_deviation(np.repeat(vectors, 2000, axis=0)) == pytest.approx(0.3746, abs=1e-3)
    assert cosine_deviation(vectors[:2]) is None and cosine_deviation(vectors[:0]) is None
    assert cosine_deviation(np.repeat(vectors[:1], 9, axis=0)) is None


def test_equal_best_scores_all_count_one():
    assert fused([0.9, 0.9, 0.1], [0.0, 0.0, 5.0], depth=2) == pytest.approx([0.5, 0.5, 0.5])


@pytest.mark.parametrize("deviation", [None, 0.8])
def test_hits_of_two_searches_are_fused_as_the_whole_matrix_would_be(deviation):
    """300 passages, of which each search fetches its first 100; word scores are zero for most of them."""
    random = np.random.default_rng(5)
    dense = random.normal(size=300).astype(np.float32)
    words = np.where(random.random(300) < 0.2, random.gamma(2.0, 3.0, 300), 0).astype(np.float32)
    whole = convex_fusion(dense[None], words[None], 0.3, deviation=deviation)[0]
    first = {str(place): float(dense[place]) for place in np.argsort(-dense)[:100]}
    second = {str(place): float(words[place]) for place in np.argsort(-words)[:100] if words[place] > 0}
    hits = fuse_hits(first, second, 0.3, deviation=deviation)
    assert list(hits)[:80] == [str(place) for place in np.argsort(-whole, kind="stable")[:80]]
    assert [hits[name] for name in list(hits)[:80]] == pytest.approx(sorted(whole, reverse=True)[:80], abs=1e-6)


@pytest.mark.parametrize(
    ("query", "is_one"),
    [
        *(
            ("NOX-48213", True),
            ("nox-48213", True),
            ("what is cve-2024-1234?", True),
            ("9.3(10)", True),
            ("RHSA-2024:1234", True),
        ),
        *(("NOX-48213 MAX_RETRY_COUNT", True), ("E4012", True), ("why does NOX-48213 reboot the switch", False)),
        *(("follow-up meeting", False), ("a state-of-the-art method", False), ("3 ways to cook rice", False), ("", False)),
        *(("how to replace the fan tray", False), ("Wi-Fi", False), ("?!", False)),
    ],
)
def test_words_count_more_for_a_query_that_is_mostly_identifiers(query, is_one):
    assert query_weights([query, "what is a fan"], 0.7) == pytest.approx(np.array([[0.2 if is_one else 0.7], [0.7]]))
    assert query_weights([query], 0.1).item() == pytest.approx(0.1)


def test_a_collection_says_what_an_identifier_is():
    assert query_weights(["ticket 77", "NOX-48213"], 0.5, [r"ticket \d+"]) == pytest.approx(np.array([[0.2], [0.5]]))


def test_each_query_has_its_own_weight():
    dense, words = np.array([[0.9, 0.5, 0.7]] * 2, dtype=np.float32), np.array([[2.0, 10.0, 4.0]] * 2, dtype=np.float32)
    weights = query_weights(["what is a fan", "NOX-48213"], 0.5)
    assert convex_fusion(dense, words, weights) == pytest.approx(np.array([[0.5, 0.5, 0.375], [0.2, 0.8, 0.3]]), abs=1e-6)
    assert convex_fusion(dense, words, weights).dtype == np.float32


def test_no_hits_give_none():
    assert fuse_hits({}, {}) == {}
    assert list(fuse_hits({}, {"a": 2.0, "b": 1.0})) == ["a", "b"]


@pytest.mark.parametrize("deviation", [None, 0.3])
@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize(("columns", "k", "depth"), [(300, 20, 50), (300, 80, 50), (60, 100, 100), (7, 3, 2), (300, 300, 10)])
def test_the_first_of_a_fusion_are_found_without_fusing_all(columns, k, depth, weight, deviation):
    """Scores with many ties, words that match few passages or none, equal rows and passages that were not found."""
    random = np.random.default_rng(columns + k)
    dense = random.integers(-40, 40, size=(40, columns)).astype(np.float32) / 40
    words = np.where(random.random((40, columns)) < 0.2, random.integers(1, 9, size=(40, columns)), 0).astype(np.float32)
    dense[3], words[4], words[5], words[6, 1:], dense[7, random.random(columns) < 0.9] = 0.5, 0.0, 2.0, 1.0, NONE
    words[8, : columns // 2], dense[9] = 4.0, NONE
    expected = top_k(convex_fusion(dense, words, weight, depth, deviation), k)
    assert fused_top_k(Held(dense), Held(words), k, weight, depth, deviation).tolist() == expected.tolist()


class Held:
    """Scores that are there."""

    def __init__(self, scores: np.ndarray):
        self._scores = scores

    def first(self, k: int) -> Found:
        columns = top_k(self._scores, k)
        return Found(columns, self.at(columns), self._scores.min(axis=1, keepdims=True))

    def at(self, columns: np.ndarray) -> np.ndarray:
        return np.where(columns >= 0, np.take_along_axis(self._scores, columns, axis=1), -np.inf)

    def row(self, number: int) -> np.ndarray:
        return self._scores[number]
