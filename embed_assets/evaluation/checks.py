"""What can be wrong with an evaluation set and with scores."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from embed_assets.artifacts.checks import Check, Finding
from embed_assets.evaluation.evaluation_set import HUMAN, OWN, SYNTHETIC
from embed_assets.evaluation.metrics import HEADLINE

FEWEST_QUERIES = 100
SIGNIFICANCE = 0.05
# Standard deviation of per-query nDCG@10 differences between two systems: 0.13 to 0.33 on the sample collections.
TYPICAL_DEVIATION = 0.25
# A difference is found in 4 of 5 cases at the 5% level if it is so many standard errors large (Cohen, 1988).
DETECTABLE_ERRORS = 1.96 + 0.84

EVALUATION_SET_CHECKS = {
    "enough_queries": Check(f"There are at least {FEWEST_QUERIES} test queries, so that the scores are stable."),
}
SCORES_CHECKS = {
    "tuned_beats_base": Check(f"The fine-tuned model has a better {HEADLINE} than the base model.", error=True),
}
FORGETTING_CHECKS = {
    "nothing_forgotten": Check("The fine-tuned model is not significantly worse on a collection that was not trained on."),
}
RERANKER_SCORES_CHECKS = {
    "reranking_does_no_harm": Check(f"Re-ranking does not make the {HEADLINE} of the hybrid significantly worse."),
}


def check_evaluation_set(queries: pl.DataFrame) -> list[Finding]:
    """enough_queries, for the human queries if there are any."""
    tested = queries.filter(pl.col("split") == "test")
    counts = dict(tested.group_by("source").len().iter_rows())
    source = next((source for source in (HUMAN, OWN) if source in counts), SYNTHETIC)
    count = counts.get(source, 0)
    detectable = DETECTABLE_ERRORS * TYPICAL_DEVIATION / math.sqrt(max(1, count))
    message = f"{count} {source} test queries: differences under about {detectable:.3f} {HEADLINE} will look like noise"
    return [Finding("enough_queries", count >= FEWEST_QUERIES, message)]


def check_scores(summaries: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """tuned_beats_base, on the human queries if there are any."""
    if not summaries:
        return [Finding("tuned_beats_base", False, "there is no test query: add human labels or documents")]
    summary = summaries[0]
    test, message = _test_in_words(summary, "tuned", "base")
    perfect = summary["systems"]["base"][HEADLINE] == 1
    return [Finding("tuned_beats_base", perfect or test["difference"] > 0, message)]


def check_reranker_scores(summaries: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """reranking_does_no_harm, on the human queries if there are any."""
    if not summaries:
        return [Finding("reranking_does_no_harm", False, "there is no test query: add human labels or documents")]
    test, message = _test_in_words(summaries[0], "hybrid_reranked", "hybrid")
    worse = test["difference"] < 0 and test["p_value"] < SIGNIFICANCE
    return [Finding("reranking_does_no_harm", not worse, message)]


def check_forgetting(summaries: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """nothing_forgotten, on the human queries of the other collection if there are any."""
    if not summaries:
        return [Finding("nothing_forgotten", True, "nothing was looked at: name a collection in forgetting.collection")]
    test, message = _test_in_words(summaries[0], "tuned", "base")
    worse = test["difference"] < 0 and test["p_value"] < SIGNIFICANCE
    return [Finding("nothing_forgotten", not worse, f"{summaries[0]['collection']}: {message}")]


def _test_in_words(summary: Mapping[str, Any], system: str, baseline: str) -> tuple[Mapping[str, Any], str]:
    test = next(test for test in summary["tests"] if (test["system"], test["baseline"]) == (system, baseline))
    message = (
        f"{test['difference']:+.3f} {HEADLINE} on {summary['queries']} {summary['labels']} queries "
        f"(95% {test['low']:+.3f} to {test['high']:+.3f}, p = {test['p_value']:.2g})"
    )
    # The interval is a bootstrap over the differences of the queries, 1.96 standard errors to each side.
    if detectable := DETECTABLE_ERRORS * (test["high"] - test["low"]) / (2 * 1.96):
        message += f"; so many queries show differences from about {detectable:.3f} on"
    return test, message
