"""What can be wrong with an evaluation set and with scores."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from embed_assets.artifacts.checks import Check, Finding
from embed_assets.evaluation.evaluation_set import LOOKUP
from embed_assets.evaluation.labels import deciding_source
from embed_assets.evaluation.metrics import HEADLINE
from embed_assets.evaluation.statistics import DETECTABLE_ERRORS

FEWEST_QUERIES = 100
SIGNIFICANCE = 0.05
# Standard deviation of per-query nDCG@10 differences between two systems: 0.13 to 0.33 on the sample collections.
TYPICAL_DEVIATION = 0.25
MOST_LOST = 0.05
LOOKUPS_ALONE = (
    "cannot tell: the only test queries are look-ups, words of the documents themselves, which reward word matching and say "
    "nothing about what people ask: add human labels, own pairs or written questions"
)

EVALUATION_SET_CHECKS = {
    "enough_queries": Check(f"There are at least {FEWEST_QUERIES} test queries, so that the scores are stable."),
    "can_tell": Check("There are test queries of people, own pairs or written questions: look-ups alone prove nothing."),
}
SCORES_CHECKS = {
    "tuned_beats_base": Check(f"The fine-tuned model has a better {HEADLINE} than the base model.", error=True),
    "sources_agree": Check("No label source shows a loss where another one shows a gain."),
    "labels_hold": Check(f"At most {MOST_LOST:.0%} of the labels of the test queries were lost by edits of the documents."),
}
FORGETTING_CHECKS = {
    "nothing_forgotten": Check("The fine-tuned model is not significantly worse on a collection that was not trained on."),
}
RERANKER_SCORES_CHECKS = {
    "reranking_does_no_harm": Check(f"Re-ranking does not make the {HEADLINE} of the hybrid significantly worse."),
}


def check_evaluation_set(queries: pl.DataFrame) -> list[Finding]:
    """enough_queries, for the label source that decides, and can_tell."""
    tested = queries.filter(pl.col("split") == "test")
    counts = dict(tested.group_by("source").len().iter_rows())
    source = deciding_source(counts)
    count = counts.get(source, 0)
    detectable = DETECTABLE_ERRORS * TYPICAL_DEVIATION / math.sqrt(max(1, count))
    message = f"{count} {source or ''} test queries".replace("  ", " ")
    message += f": differences under about {detectable:.3f} {HEADLINE} will look like noise"
    tells = source not in (None, LOOKUP)
    return [
        Finding("enough_queries", count >= FEWEST_QUERIES, message),
        Finding("can_tell", tells, f"{count} {source} queries decide" if tells else LOOKUPS_ALONE),
    ]


def check_scores(summaries: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """tuned_beats_base, on the label source that decides, sources_agree and labels_hold."""
    if not summaries:
        return [Finding("tuned_beats_base", False, "there is no test query: add human labels or documents")]
    summary = deciding_summary(summaries)
    test, message = test_in_words(summary, "tuned", "base")
    if summary["labels"] == LOOKUP:
        message = f"{message}; {LOOKUPS_ALONE}"
    perfect = summary["systems"]["base"][HEADLINE] == 1
    beats = Finding("tuned_beats_base", perfect or test["difference"] > 0, message)
    return [beats, _sources_agree(summaries), _labels_hold(summaries)]


def check_reranker_scores(summaries: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """reranking_does_no_harm, on the label source that decides."""
    if not summaries:
        return [Finding("reranking_does_no_harm", False, "there is no test query: add human labels or documents")]
    test, message = test_in_words(deciding_summary(summaries), "hybrid_reranked", "hybrid")
    return [Finding("reranking_does_no_harm", not is_worse(test), message)]


def check_forgetting(summaries: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """nothing_forgotten, on the label source of the other collection that decides."""
    if not summaries:
        return [Finding("nothing_forgotten", True, "nothing was looked at: name a collection in forgetting.collection")]
    summary = deciding_summary(summaries)
    test, message = test_in_words(summary, "tuned", "base")
    return [Finding("nothing_forgotten", not is_worse(test), f"{summary['collection']}: {message}")]


def deciding_summary(summaries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The summary of the label source that decides."""
    source = deciding_source({summary["labels"]: summary["queries"] for summary in summaries})
    return next(summary for summary in summaries if summary["labels"] == source)


def _sources_agree(summaries: Sequence[Mapping[str, Any]]) -> Finding:
    """Whether no source shows a gain of the tuned model, and another a loss, beyond their intervals."""
    tests = {summary["labels"]: find_test(summary, "tuned", "base") for summary in summaries}
    gains = [source for source, test in tests.items() if test["low"] > 0]
    losses = [source for source, test in tests.items() if test["high"] < 0]
    words = "; ".join(f"{tests[source]['difference']:+.3f} {HEADLINE} on {source} queries" for source in tests)
    if gains and losses:
        words += f": believe the {deciding_summary(summaries)['labels']} ones; the others cannot tell here"
    return Finding("sources_agree", not (gains and losses), words)


def _labels_hold(summaries: Sequence[Mapping[str, Any]]) -> Finding:
    counts = {summary["labels"]: summary["label_counts"] for summary in summaries}
    lost = {source: count["lost"] for source, count in counts.items() if count["lost"]}
    share = sum(lost.values()) / max(1, sum(count["there"] + count["lost"] for count in counts.values()))
    words = ", ".join(f"{count} of {source} queries" for source, count in lost.items())
    message = f"labels whose text or document is gone: {words} ({share:.1%} of all)" if lost else "no label was lost"
    return Finding("labels_hold", share <= MOST_LOST, message)


def is_worse(test: Mapping[str, Any]) -> bool:
    """Whether a test says that its system is significantly worse than its baseline."""
    return test["difference"] < 0 and test["p_value"] < SIGNIFICANCE


def find_test(summary: Mapping[str, Any], system: str, baseline: str) -> Mapping[str, Any]:
    """The test of a system against another on the queries of one label source."""
    return next(test for test in summary["tests"] if (test["system"], test["baseline"]) == (system, baseline))


def test_in_words(summary: Mapping[str, Any], system: str, baseline: str) -> tuple[Mapping[str, Any], str]:
    """find_test, and what it says, in words."""
    test = find_test(summary, system, baseline)
    message = (
        f"{test['difference']:+.3f} {HEADLINE} on {summary['queries']} {summary['labels']} queries about "
        f"{summary['documents']} documents (95% {test['low']:+.3f} to {test['high']:+.3f}, p = {test['p_value']:.2g})"
    )
    if test["standard_error"]:
        message += f"; so many queries show differences from about {DETECTABLE_ERRORS * test['standard_error']:.3f} on"
    return test, message
