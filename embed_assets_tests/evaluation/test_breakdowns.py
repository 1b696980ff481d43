"""Where a gain comes from, with numbers that can be checked by hand."""

import polars as pl
import pytest

from embed_assets.evaluation.breakdowns import (
    changed_queries,
    changes_by_document,
    compare_with_before,
    scores_by_style,
    with_hits,
)
from embed_assets.evaluation.metrics import HEADLINE
from embed_assets.evaluation.settings import ScoringSettings

QUERIES = {"q1": ("XFP-220", "identifier"), "q2": ("red light", "question"), "q3": ("lost password", "question")}
BASE, TUNED = {"q1": 0.0, "q2": 1.0, "q3": 0.5}, {"q1": 1.0, "q2": 0.5, "q3": 0.5}


def per_query(**systems: dict[str, float]) -> pl.DataFrame:
    rows = [
        (query_id, *QUERIES[query_id], "human", system, value)
        for system, values in systems.items()
        for query_id, value in values.items()
    ]
    return pl.DataFrame(rows, schema=["query_id", "query", "style", "source", "system", HEADLINE], orient="row")


LABELS = pl.DataFrame({"query_id": ["q1", "q2", "q3"], "document_id": ["led.md", "led.md", "password.md"]})


def test_each_style_has_its_own_scores():
    table = scores_by_style(per_query(base=BASE, tuned=TUNED))
    assert table.rows() == [("identifier", 1, 0.0, 1.0), ("question", 2, 0.75, 0.5)]


def test_the_largest_loss_comes_first():
    changed = changed_queries(per_query(base=BASE, tuned=TUNED), "base", "tuned")
    assert changed.select("query_id", "base", "tuned", "difference").rows() == [
        ("q2", 1.0, 0.5, -0.5),
        ("q3", 0.5, 0.5, 0.0),
        ("q1", 0.0, 1.0, 1.0),
    ]


def test_documents_have_the_mean_of_the_queries_that_they_answer():
    changed = changed_queries(per_query(base=BASE, tuned=TUNED), "base", "tuned")
    assert changes_by_document(changed, LABELS).rows() == [("password.md", 1, 0.0), ("led.md", 2, 0.25)]


def test_relevant_hits_are_marked():
    changed = changed_queries(per_query(base=BASE, tuned=TUNED), "base", "tuned").head(1)
    units = ["fan.md", "led.md", "password.md", "snmp.md"]
    runs = pl.DataFrame({"query_id": "q2", "unit": units, "rank": [1, 2, 3, 4], "system": "tuned"})
    shown = with_hits(changed, runs, {"q2": {"led.md": 1}}, ("base", "tuned"))
    assert shown["hits of tuned"].to_list() == ["fan.md, led.md ✓, password.md"]
    assert shown["hits of base"].to_list() == [""]


def test_the_checkpoint_before_is_compared_on_the_queries_that_both_have():
    before = per_query(tuned={"q1": 0.5, "q2": 0.5})
    (row,) = compare_with_before(per_query(base=BASE, tuned=TUNED), before, "tuned", ScoringSettings(resamples=100))
    assert (row["labels"], row["queries"]) == ("human", 2)
    assert (row["before"], row["now"], row["difference"]) == pytest.approx((0.5, 0.75, 0.25))
    assert row["low"] <= row["difference"] <= row["high"]
