"""When a model may take the place of the one in production."""

import polars as pl
import pytest

from embed_assets.production.gate import judge
from embed_assets.production.settings import PublishingSettings

SETTINGS = PublishingSettings()


def scored(differences: dict[tuple[str, str], list[float]], documents: int | None = None) -> pl.DataFrame:
    """Scores of each query, from the differences of each (label source, style)."""
    rows = []
    for (source, style), values in differences.items():
        for number, value in enumerate(values):
            row = {"source": source, "style": style, "query_id": f"{source}{style}{number}"}
            row["cluster"] = f"{style}{number % documents}" if documents else None
            rows += [row | {"system": "hybrid_base", "ndcg@10": 0.5}, row | {"system": "hybrid", "ndcg@10": 0.5 + value}]
    return pl.DataFrame(rows)


def verdict(differences: dict[tuple[str, str], list[float]], documents: int | None = None):
    return judge(scored(differences, documents), "hybrid", "hybrid_base", "the base model", SETTINGS)


BETTER = [0.1, 0.2, 0.0, 0.3, 0.1, 0.2, 0.15, 0.05]
WORSE = [-value for value in BETTER]
NOISE = [-0.5, 0.4, -0.3, 0.3, -0.1, 0.1]


@pytest.mark.parametrize(
    ("differences", "better", "words"),
    [
        ({("human", "question"): BETTER}, True, "significantly better than the base model in hybrid retrieval: +0.138 ndcg@10"),
        ({("human", "question"): NOISE}, False, "not significantly better"),
        ({("human", "question"): WORSE}, False, "not significantly better"),
        ({("human", "question"): BETTER[:2]}, False, "not significantly better"),
        ({("human", "question"): BETTER * 5, ("human", "identifier"): WORSE}, False, "on 8 human queries of the style identi"),
        ({("human", ""): BETTER * 5, ("synthetic", ""): WORSE}, False, "significantly worse on 8 synthetic queries: -0.138"),
        ({("human", "question"): BETTER * 5, ("human", "rare"): [-0.5, -0.4]}, True, "significantly better"),
        ({("human", "question"): BETTER * 5, ("human", "noise"): NOISE}, True, "better"),
        ({("human", "question"): BETTER * 5, ("human", "equal"): [0.0] * 6}, True, "better"),
        ({("human", "question"): BETTER * 5, ("look-up", "keyword"): WORSE * 5}, False, "worse on 40 look-up queries"),
    ],
)  # fmt: skip
def test_verdict(differences: dict, better: bool, words: str):
    found = verdict(differences)
    assert (found.better, words in found.reason) == (better, True), found.reason


def test_without_test_queries_nothing_can_be_better():
    found = judge(pl.DataFrame(), "hybrid", "hybrid_base", "the base model", SETTINGS)
    assert (found.better, "no test query" in found.reason) == (False, True)


def test_four_human_labels_do_not_outvote_hundreds_of_questions():
    found = verdict({("human", ""): [0.0, -0.1, 0.0, 0.0], ("synthetic", "question"): BETTER * 40})
    assert found.better and "320 synthetic queries" in found.reason
    assert not verdict({("human", ""): WORSE * 5, ("synthetic", "question"): BETTER * 40}).better


def test_written_questions_flatter_and_people_do_not():
    """A gain of .04 that is beyond chance."""
    small = [0.02, 0.06, 0.04, 0.03, 0.05] * 20
    assert verdict({("human", ""): small}).better
    found = verdict({("synthetic", "question"): small})
    assert not found.better and found.reason.startswith(
        "better, but by no more than written questions flatter, than the base model"
    )
    assert "has to lie above +0.10: add queries of people" in found.reason
    assert verdict({("synthetic", "question"): [value + 0.1 for value in small]}).better


def test_look_ups_alone_cannot_tell():
    found = verdict({("look-up", "keyword"): BETTER * 40})
    assert not found.better and found.reason.startswith("cannot tell")


def test_queries_of_few_documents_are_not_many_queries():
    """The same 320 queries: of 320 documents a proof, of four none."""
    assert verdict({("human", "question"): BETTER * 40}).better
    found = verdict({("human", "question"): BETTER * 40}, documents=4)
    assert not found.better and "about 4 documents" in found.reason


def test_many_equal_slices_seldom_veto():
    """Four of five queries of a style get worse: by chance in one of eight cases, and there are ten styles."""
    slices = {("human", f"style {number}"): [0.02, 0.01, -0.01, 0.0, 0.01] for number in range(9)}
    assert verdict({("human", "question"): BETTER * 5, **slices, ("human", "last"): [0.0, -0.37, -0.37, -0.37, -0.37]}).better
