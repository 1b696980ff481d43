from typing import Any

import pytest

from embed_assets.models.onnx import INT8_MODEL, MODEL
from embed_assets.training.checks import check_export

FILES = {MODEL: {"min_cosine": 1.0}, INT8_MODEL: {"min_cosine": 0.97}}


def scores(source: str, difference: float, p_value: float) -> dict[str, Any]:
    test = {"system": "int8", "baseline": "tuned", "difference": difference, "low": difference - 0.01, "high": difference + 0.01}
    test |= {"p_value": p_value, "standard_error": 0.005}
    return {"labels": source, "queries": 200, "documents": 50, "tests": [test]}


@pytest.mark.parametrize(
    ("p_values", "passed"),
    [
        ((0.01, 0.9), False),
        ((0.06, 0.9), True),  # not significant
        ((0.04, 0.5), True),  # of two sources, one may look like this by chance
    ],
)
def test_an_int8_file_that_is_significantly_worse_on_any_source_fails(p_values, passed):
    summaries = [scores("human", 0.0, p_values[1]), scores("look-up", -0.02, p_values[0])]
    finding = check_export(FILES, summaries)[1]
    assert (finding.name, finding.passed) == ("int8_holds", passed)
    assert "-0.020 ndcg@10 on 200 look-up queries" in finding.message and "95% -0.030 to -0.010" in finding.message
    assert ("worse on look-up queries, so use model.onnx, and set export.int8 to false" in finding.message) is not passed


@pytest.mark.parametrize(("of_texts", "of_tokens", "passed"), [(1.0, 1.0, True), (1.0, 0.99, False), (0.99, 1.0, False)])
def test_an_export_agrees_by_texts_and_by_tokens_or_fails(of_texts, of_tokens, passed):
    finding = check_export({MODEL: {"min_cosine": of_texts, "min_cosine_of_tokens": of_tokens}})[0]
    assert (finding.name, finding.passed) == ("agrees_with_torch", passed)
    assert f"of texts: {of_texts:.6f}" in finding.message and f"of tokens: {of_tokens:.6f}" in finding.message


def test_a_better_int8_file_passes():
    assert check_export(FILES, [scores("human", 0.02, 0.001)])[1].passed


def test_without_an_int8_file_or_its_scores_nothing_fails_and_the_reason_is_told():
    assert [it.message for it in check_export({MODEL: FILES[MODEL]})][1] == "there is no int8 file: export.int8 is false"
    finding = check_export(FILES)[1]
    assert finding.passed and "export.score_int8" in finding.message
