import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest

from embed_assets.models.encoders import Encoder
from embed_assets.models.hardware import Compute
from embed_assets.models.settings import BaseModelSettings
from embed_assets.retrieval.bm25 import Bm25Index, bm25_index
from embed_assets.retrieval.hybrid import HybridRetriever
from embed_assets.retrieval.ranking import best_per_group, blocks_of_queries, group_numbers, rerank, top_k
from embed_assets.text.tokens import search_terms

PASSAGES = [
    "The tide gauge at the harbour wall is read every hour.",
    "PRT-7719: the scheduler stopped printing large jobs after the clock change.",
    "PRT-7720: the scheduler prints every page twice when duplex is on.",
    "Bread dough rises faster in a warm kitchen than in a cold one.",
    "The orchestra tunes to the oboe before each concert.",
    "A cyclist must ring the bell before overtaking pedestrians.",
]


def test_top_k_orders_the_best_columns():
    scores = np.array([[0.1, 0.9, 0.5, 0.7], [4.0, 1.0, 3.0, 2.0]], dtype=np.float32)
    assert top_k(scores, 2).tolist() == [[1, 3], [0, 2]]
    assert top_k(scores, 4).tolist() == [[1, 3, 2, 0], [0, 2, 3, 1]]


def test_top_k_of_fewer_columns_gives_all_of_them():
    assert top_k(np.array([[0.2, 0.8]]), 100).tolist() == [[1, 0]]


def test_top_k_puts_ties_in_column_order():
    assert top_k(np.array([[1.0, 2.0, 1.0, 2.0, 1.0]]), 5).tolist() == [[1, 3, 0, 2, 4]]
    assert top_k(np.zeros((2, 3)), 3).tolist() == [[0, 1, 2]] * 2


def test_top_k_puts_ties_at_its_end_in_column_order():
    scores = np.random.default_rng(0).integers(0, 3, size=(20, 300)).astype(np.float32)
    assert top_k(scores, 10).tolist() == np.argsort(-scores, axis=1, kind="stable")[:, :10].tolist()


def test_a_column_that_is_not_above_the_threshold_is_not_found():
    scores = np.array([[0.0, 2.0, 0.0, 1.0, 0.0], [0.0] * 5, [-np.inf, 1.0, -np.inf, -np.inf, -np.inf]], dtype=np.float32)
    assert top_k(scores, 3, above=0).tolist() == [[1, 3, -1], [-1] * 3, [1, -1, -1]]
    assert top_k(scores, 3).tolist() == [[1, 3, 0], [0, 1, 2], [1, -1, -1]]


def test_blocks_are_smaller_where_there_are_more_passages():
    assert list(blocks_of_queries(600, 1000)) == [slice(0, 256), slice(256, 512), slice(512, 768)]
    assert [(block.start, block.stop) for block in blocks_of_queries(100, 1_000_000)] == [(0, 67), (67, 134)]
    assert len(list(blocks_of_queries(3, 10**9))) == 3
    assert list(blocks_of_queries(0, 5)) == []


def test_a_document_scores_as_its_best_chunk():
    groups = group_numbers(pl.Series(["a.md", "a.md", "b.md", "c.md", "c.md", "c.md"]))
    assert groups.tolist() == [0, 0, 1, 2, 2, 2]
    scores = np.array([[0.1, 0.4, -0.2, 0.3, 0.9, 0.5], [-0.5, -0.6, 0.0, -0.1, -0.3, -0.2]])
    assert best_per_group(scores, groups).tolist() == [[0.4, -0.2, 0.9], [-0.5, 0.0, -0.1]]


@pytest.mark.parametrize(
    ("query", "best"),
    [("PRT-7719", 1), ("prt-7720", 2), ("error 7719", 1), ("prints twice", 2), ("why does DOUGH rise", 3), ("rings a bell", 5)],
)
def test_bm25_finds_identifiers_and_word_forms(query, best):
    scores = Bm25Index(PASSAGES).scores([query])
    assert scores.shape == (1, 6) and scores.dtype == np.float32
    assert scores[0].argmax() == best and scores[0, best] > np.delete(scores[0], best).max()


@pytest.mark.parametrize("query", ["volcano", "the of and", "", "?!"], ids=["unknown word", "stop words", "empty", "punctuation"])
def test_bm25_gives_nothing_for_a_query_without_a_known_word(query):
    assert Bm25Index(PASSAGES).scores([query, "tide"])[0].tolist() == [0.0] * 6


def test_bm25_finds_a_version_number():
    index = Bm25Index(
        ["Fixed in release 3.8.1 of the scheduler.", "Fixed in release 3.9.2 of the scheduler.", "The tide is high."]
    )
    assert index.scores(["3.9.2"])[0].argmax() == 1


def test_bm25_over_passages_without_words_finds_nothing():
    assert Bm25Index(["the of and", "?"]).scores(["tide"]).tolist() == [[0.0, 0.0]]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Encoder:
    return Encoder(BaseModelSettings(max_tokens=32), tmp_path_factory.mktemp("memos"), compute=Compute(device="cpu"))


def test_hybrid_search_fuses_both_runs(encoder):
    queries = ["PRT-7720 duplex", "Does dough rise in a cold room?"]
    dense = encoder.encode_queries(queries) @ encoder.encode_passages(PASSAGES).T
    (hits,) = HybridRetriever(encoder, PASSAGES).search(queries, k=3)
    assert hits.start == 0 and hits.found[:, 0].tolist() == [2, 3]
    for number, columns in enumerate(hits.found):
        assert len(columns) == 3 == len(set(columns.tolist()))
        assert hits.cosines.row(number) == pytest.approx(dense[number], abs=1e-5)


def test_ranks_count_from_one_and_end_at_the_depth(encoder):
    retriever = HybridRetriever(encoder, PASSAGES)
    queries = ["PRT-7719 clock", "tuning before a concert", "tide gauge"]
    places = [columns.tolist() for hits in retriever.search(queries, 100) for columns in hits.found]
    assert retriever.ranks(queries, [1, 4, 0]) == [1, 1, 1]
    assert retriever.ranks(queries, [3, 3, 3]) == [places[number].index(3) + 1 for number in range(3)]
    assert retriever.ranks(queries, [1, 4, 3], depth=1) == [1, 1, None]


def test_hybrid_search_follows_the_model_where_no_word_matches(encoder):
    query = "loaf baking temperature"
    assert not Bm25Index(PASSAGES).scores([query]).any()
    dense = (encoder.encode_queries([query]) @ encoder.encode_passages(PASSAGES).T)[0]
    (hits,) = HybridRetriever(encoder, PASSAGES).search([query], k=6)
    assert hits.found[0].tolist() == np.argsort(-dense).tolist()


def test_hybrid_search_keeps_the_order_of_more_queries_than_a_block(encoder):
    queries = ["PRT-7719 clock", "PRT-7720 duplex", "tide gauge"] * 100
    assert HybridRetriever(encoder, PASSAGES).ranks(queries, [1, 2, 0] * 100) == [1] * 300


def test_a_re_ranked_run_puts_the_candidates_first_and_keeps_the_order_of_the_rest():
    run = np.array([[3, 1, 0, 2], [2, 3, 1, -1]])
    candidates = np.array([[3, 1], [3, -1]])
    scores = np.array([[-5.0, -4.0], [2.0, -np.inf]], dtype=np.float32)
    columns, values = rerank(run, candidates, scores, np.arange(4))
    assert columns.tolist() == [[1, 3, 0, 2], [3, 2, 1, -1]]
    assert values[0, :2].tolist() == [-4.0, -5.0] and values[1, 0] == 2.0
    assert (np.diff(values[0]) < 0).all()


def test_a_re_ranked_document_scores_as_its_best_candidate():
    """Documents 0 and 1 have two passages each, and document 2 has one, which is no candidate."""
    columns, values = rerank(
        np.array([[0, 2, 1]]), np.array([[0, 2, 1, 3]]), np.array([[1.0, 0.5, -3.0, 4.0]]), np.array([0, 0, 1, 1, 2])
    )
    assert columns.tolist() == [[1, 0, 2]]
    assert values[0, :2].tolist() == [4.0, 1.0]


def test_a_query_without_candidates_keeps_its_run():
    columns, _ = rerank(np.array([[2, 0, -1]]), np.array([[-1, -1]]), np.full((1, 2), -np.inf), np.arange(3))
    assert columns.tolist() == [[2, 0, -1]]


def test_equal_scores_of_a_re_ranker_keep_the_order_of_retrieval():
    """Documents 0 and 1 have two passages each; the best passage of document 1 was retrieved first."""
    run, candidates = np.array([[1, 0]]), np.array([[3, 0, 2, 1]])
    columns, _ = rerank(run, candidates, np.full((1, 4), 7.0), np.array([0, 0, 1, 1]))
    assert columns.tolist() == [[1, 0]]


class WholeNumbers:
    """Vectors of whole numbers: their products are exact, and many of them tie."""

    def __init__(self, seed: int):
        self._random = np.random.default_rng(seed)

    def _encode(self, texts):
        return self._random.integers(-2, 3, size=(len(texts), 6)).astype(np.float32)

    encode_queries = encode_passages = _encode


@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
@pytest.mark.parametrize(("passages", "k"), [(400, 5), (400, 150), (90, 20), (257, 300)])
def test_a_corpus_that_is_gone_through_in_parts_gives_what_one_gives_that_is_held(passages, k, weight, monkeypatch):
    words = np.random.default_rng(passages)
    texts = [
        " ".join(f"w{number}" for number in words.zipf(1.4, size=words.integers(0, 9)) if number < 50) for _ in range(passages)
    ]
    queries = ["w1", "w2 w3", "w7 w7 w1", "w49", "nothing", "", "w1 w2 w4 w8 w16", *texts[:60]]
    columns = np.random.default_rng(1).integers(-1, passages, size=(len(queries), 12))

    def search():
        ((hits),) = HybridRetriever(WholeNumbers(passages), texts, weight=weight).search(queries, k)
        rows = [(hits.cosines.row(row), hits.cosines.row(row, columns[row]), hits.bm25.row(row)) for row in range(len(queries))]
        return [hits.found, hits.cosines.at(columns), hits.bm25.at(columns), *(part for row in rows for part in row)]

    held = search()
    monkeypatch.setattr("embed_assets.retrieval.dense.PASSAGES_AT_ONCE", 32)
    monkeypatch.setattr("embed_assets.retrieval.bm25.SCORES_AT_ONCE", 3 * passages)
    in_parts = search()
    assert all(part.tobytes() == other.tobytes() for part, other in zip(held, in_parts, strict=True))
    assert held[0].shape == (len(queries), min(k, passages))


def test_no_block_holds_the_scores_of_all_passages_of_a_large_corpus(monkeypatch):
    """Of a million passages, the scores of 256 queries would take a gigabyte, twice."""
    sizes = []
    monkeypatch.setattr("embed_assets.retrieval.dense.PASSAGES_AT_ONCE", 100)
    monkeypatch.setattr("embed_assets.retrieval.bm25.SCORES_AT_ONCE", 2000)
    monkeypatch.setattr(
        "embed_assets.retrieval.ranking.top_k", lambda *args, **kwargs: sizes.append(args[0].size) or top_k(*args, **kwargs)
    )
    texts = [f"w{row % 7} w{row % 11}" for row in range(1000)]
    found = [hits.found for hits in HybridRetriever(WholeNumbers(3), texts).search(texts[:300], 10)]
    assert np.concatenate(found).shape == (300, 10) and max(sizes) <= 256 * 100


def test_one_corpus_is_indexed_once_in_a_process(monkeypatch):
    built = []
    monkeypatch.setattr("embed_assets.retrieval.bm25.Bm25Index", lambda *args: built.append(args) or Bm25Index(*args))
    first = bm25_index(["the tide", "is high"])
    assert bm25_index(["the tide", "is high"]) is first and len(built) == 1
    for passages, language in ((["the tide", "is low"], "en"), (["the tid", "eis low"], "en"), (["the tid", "eis low"], "de")):
        found = bm25_index(passages, language)
        assert (
            found is not first
            and found.scores(["tide low"]).tobytes() == Bm25Index(passages, language).scores(["tide low"]).tobytes()
        )
    assert len(built) == 4


def test_threads_that_index_two_corpora_at_once_get_each_their_own(monkeypatch):
    def built(passages, language):
        time.sleep(0.05)
        return Bm25Index(passages, language)

    monkeypatch.setattr("embed_assets.retrieval.bm25.Bm25Index", built)
    corpora = [[f"tide {row}" for row in range(size)] for size in (3, 4, 5)]
    with ThreadPoolExecutor(len(corpora)) as pool:
        assert [index.passages for index in pool.map(bm25_index, corpora)] == [3, 4, 5]


@pytest.mark.parametrize("weights_at_once", [1, 40, 2**21])
def test_scores_are_those_of_bm25s_to_the_last_bit(weights_at_once, monkeypatch):
    import bm25s

    monkeypatch.setattr("embed_assets.retrieval.bm25.WEIGHTS_AT_ONCE", weights_at_once)
    random = np.random.default_rng(7)
    texts = [
        " ".join(f"w{number}" for number in random.zipf(1.3, size=random.integers(0, 60)) if number < 500) for _ in range(300)
    ]
    queries = ["w1 w2 w3", "w9 w9 w80", "w499", *texts[:50]]
    library = bm25s.BM25()
    library.index([*search_terms(texts, "en")], show_progress=False)
    known = [[term for term in terms if term in library.vocab_dict] for terms in search_terms(queries, "en")]
    expected = np.stack([library.get_scores(terms) if terms else np.zeros(300, np.float32) for terms in known])
    assert Bm25Index(texts).scores(queries).tobytes() == expected.tobytes() and expected.any(axis=1).sum() > 40
