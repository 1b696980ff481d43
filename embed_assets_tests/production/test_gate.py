"""When a model may take the place of the one in production."""

import numpy as np
import polars as pl
import pytest

from embed_assets.production.gate import judge
from embed_assets.production.settings import PublishingSettings

SETTINGS = PublishingSettings()


def scored(differences: dict[tuple[str, str], list[float]], p_value: float) -> tuple[list[dict], pl.DataFrame]:
    """Summaries and scores of each query, from the differences of each (label source, style)."""
    rows = []
    for (source, style), values in differences.items():
        for number, value in enumerate(values):
            row = {"source": source, "style": style, "query_id": f"{style}{number}"}
            rows += [row | {"system": "base", "ndcg@10": 0.5}, row | {"system": "tuned", "ndcg@10": 0.5 + value}]
    frame = pl.DataFrame(rows)
    summaries = []
    for source in dict.fromkeys(source for source, _ in differences):
        all_differences = [value for (name, _), values in differences.items() if name == source for value in values]
        test = {"system": "tuned", "baseline": "base", "difference": float(np.mean(all_differences)), "p_value": p_value}
        summaries.append({"labels": source, "queries": len(all_differences), "tests": [test]})
    return summaries, frame


BETTER = [0.1, 0.2, 0.0, 0.3, 0.1, 0.2, 0.15, 0.05]
WORSE = [-value for value in BETTER]


@pytest.mark.parametrize(
    ("differences", "p_value", "better", "words"),
    [
        ({("human", "question"): BETTER}, 0.001, True, "significantly better than the base model: +0.138 ndcg@10 on 8 human"),
        ({("human", "question"): BETTER}, 0.2, False, "not significantly better"),
        ({("human", "question"): WORSE}, 0.001, False, "not significantly better"),
        (
            {("human", "question"): BETTER * 5, ("human", "identifier"): WORSE},
            0.001,
            False,
            "significantly worse on 8 human queries of the style identifier: -0.138",
        ),
        ({("human", ""): BETTER, ("synthetic", ""): WORSE}, 0.001, False, "significantly worse on 8 synthetic queries: -0.138"),
        ({("human", "question"): BETTER, ("human", "rare"): [-0.5, -0.4]}, 0.001, True, "significantly better"),
        ({("human", "question"): BETTER, ("human", "noise"): [-0.5, 0.4, -0.3, 0.3, -0.1, 0.1]}, 0.001, True, "better"),
        (
            {("human", "question"): BETTER, ("human", "same"): [-0.1] * 6},
            0.001,
            False,
            "worse on 6 human queries of the style same",
        ),
        ({("human", "question"): BETTER, ("human", "equal"): [0.0] * 6}, 0.001, True, "better"),
    ],
)
def test_verdict(differences: dict, p_value: float, better: bool, words: str):
    verdict = judge(*scored(differences, p_value), "base", "the base model", SETTINGS)
    assert verdict.better == better
    assert words in verdict.reason


def test_without_test_queries_nothing_can_be_better():
    verdict = judge([], pl.DataFrame(), "base", "the base model", SETTINGS)
    assert (verdict.better, "no test query" in verdict.reason) == (False, True)
