import polars as pl
import pytest

from embed_assets.evaluation.evaluation_set import LABEL_SCHEMA, QUERY_SCHEMA
from embed_assets.evaluation.labels import own_units, shows_gain
from embed_assets.evaluation.scoring import Contest, LabelledCollection, score_systems
from embed_assets.evaluation.settings import ScoringSettings

TEXTS = {
    "a1": "Zoos keep animals safe from hunters.",
    "a2": "Zoos keep animals in cages, safe or not.",
    "a3": "Taxes pay for roads.",
}


def test_a_unit_with_the_id_of_the_query_is_its_own_unless_it_is_labelled():
    relevant = {"a3": {"a1": 1}, "q": {"a1": 1}, "a1": {"a1": 1}}
    assert own_units(relevant, ["a1", "a2", "a3"]) == {0: 2}


@pytest.mark.parametrize(("query_id", "score"), [("a1", 1.0), ("q1", 0.6309)])
def test_a_query_that_is_a_document_does_not_find_itself(query_id, score):
    """nDCG@10 of an answer in the second place is 1 / log2(3)."""
    chunks = pl.DataFrame(
        [
            {"chunk_id": f"{name}::0", "document_id": name, "start": 0, "end": len(text), "text": text, "passage": text}
            for name, text in TEXTS.items()
        ]
    )
    queries = pl.DataFrame([(query_id, TEXTS["a1"], "", "human", "test")], schema=QUERY_SCHEMA, orient="row")
    labels = pl.DataFrame([(query_id, "a2", None, None, None, 1)], schema=LABEL_SCHEMA, orient="row")
    (scores,) = score_systems(
        LabelledCollection("c", chunks, queries, labels), Contest({}, hybrids={}), ScoringSettings(resamples=100)
    )
    assert scores.summary["systems"]["bm25"]["ndcg@10"] == pytest.approx(score, abs=1e-4)


@pytest.mark.parametrize(
    ("source", "difference", "low", "p_value", "shown"),
    [
        ("human", 0.02, 0.01, 0.01, True),
        ("human", 0.02, -0.01, 0.2, False),
        ("human", -0.02, -0.03, 0.01, False),
        ("own", 0.02, 0.01, 0.01, True),
        ("synthetic", 0.15, 0.11, 0.01, True),
        ("synthetic", 0.15, 0.09, 0.01, False),  # no more than they flatter
        ("synthetic", 0.15, 0.11, 0.2, False),
        ("look-up", 0.3, 0.25, 1e-9, False),
    ],
)
def test_a_gain_is_shown_beyond_chance_and_beyond_what_the_queries_flatter(source, difference, low, p_value, shown):
    assert shows_gain(source, difference, low, p_value, 0.05) is shown
