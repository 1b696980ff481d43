import numpy as np
import pytest

from embed_assets.retrieval import postings
from embed_assets.retrieval.postings import Postings

PASSAGES = [["pump", "oil", "pump"], [], ["oil"], ["valve", "pump"], ["oil", "oil", "oil"]]


@pytest.mark.parametrize("at_once", [1, 2, 100])
def test_each_term_has_its_passages_and_how_often_however_many_are_put_in_order_at_once(monkeypatch, at_once):
    monkeypatch.setattr(postings, "PASSAGES_AT_ONCE", at_once)
    found = Postings(iter(PASSAGES), np.float32, repeated=True)
    of_term = {
        term: (found.rows[(at := found.places(number))].tolist(), found.counts[at].tolist())
        for term, number in found.numbers.items()
    }
    assert of_term == {"pump": ([0, 3], [2, 1]), "oil": ([0, 2, 4], [1, 1, 3]), "valve": ([3], [1])}
    assert found.lengths.tolist() == [3, 0, 1, 2, 3]


def test_no_passage_has_no_term():
    found = Postings([], np.int8, repeated=False)
    assert found.numbers == {} and len(found.rows) == 0 and len(found.lengths) == 0
