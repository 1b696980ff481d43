"""What can be wrong with a result, said in words.

Each stage writes its findings beside its result; they show as asset checks.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from embed_assets.evaluation_set import HUMAN, OWN, SYNTHETIC
from embed_assets.pairs import normalize_query
from embed_assets.scoring import HEADLINE


@dataclass(frozen=True)
class Check:
    """A kind of finding.

    Args:
        description: what is asked for.
        error: whether a failure is an error, or only a warning.
        blocking: whether what lies downstream is not computed after a failure.
    """

    description: str
    error: bool = False
    blocking: bool = False


@dataclass(frozen=True)
class Finding:
    """The outcome of a check, with a message for people."""

    name: str
    passed: bool
    message: str


MOST_DUPLICATES = 0.05
MOST_SKIPPED = 0.1
FEWEST_PAIRS = 8
LEAST_COVERAGE = 0.5
FEWEST_QUERIES = 100
MOST_RANDOM_NEGATIVES = 0.2
LEAST_COSINE = 0.9999
LARGEST_DIFFERENCE = 0.001
SIGNIFICANCE = 0.05
# Half precision costs up to 0.0001 on all-MiniLM-L6-v2.
LEAST_SERVED_COSINE = 0.999
# Standard deviation of per-query nDCG@10 differences between two systems: 0.13 to 0.33 on the sample collections.
TYPICAL_DEVIATION = 0.25
# A difference is found in 4 of 5 cases at the 5% level if it is so many standard errors large (Cohen, 1988).
DETECTABLE_ERRORS = 1.96 + 0.84

CHECKS: dict[str, dict[str, Check]] = {
    "corpus_chunks": {
        "distinct_chunks": Check(f"At most {MOST_DUPLICATES:.0%} of the chunks repeat the text of another one."),
        "documents_read": Check(f"At most {MOST_SKIPPED:.0%} of the source files or rows were skipped."),
    },
    "qa_pairs": {
        "enough_pairs": Check(f"At least {FEWEST_PAIRS} pairs are left after the filters.", error=True, blocking=True),
        "identifiers_covered": Check(f"At least {LEAST_COVERAGE:.0%} of the identifiers in the collection are in a query."),
    },
    "evaluation_set": {
        "enough_queries": Check(f"There are at least {FEWEST_QUERIES} test queries, so that the scores are stable."),
    },
    "triplets": {
        "no_leaked_test_queries": Check("No test query is trained on.", error=True, blocking=True),
        "no_leaked_documents": Check(
            "No positive is of a document with synthetic or own test queries, nor a trained one of a document with dev queries.",
            error=True,
            blocking=True,
        ),
        "hard_negatives_found": Check(f"At most {MOST_RANDOM_NEGATIVES:.0%} of the negatives had to be drawn at random."),
    },
    "checkpoint": {
        "loss_fell": Check("The loss at the end is below the loss at the start."),
    },
    "beir_scores": {
        "tuned_beats_base": Check(f"The fine-tuned model has a better {HEADLINE} than the base model.", error=True),
    },
    "onnx_model": {
        "agrees_with_torch": Check(f"The float32 file agrees with torch to a cosine of {LEAST_COSINE}.", error=True),
    },
    "forgetting": {
        "nothing_forgotten": Check("The fine-tuned model is not significantly worse on a collection that was not trained on."),
    },
    "trial": {
        "loss_fell": Check("The loss at the end is below the loss at the start."),
    },
    "leaderboard": {
        "settings_hold": Check("No trial is significantly better on the dev queries than the settings as they are."),
    },
    "saturation_curve": {},
    "reranker": {
        "loss_fell": Check("The loss at the end is below the loss at the start."),
    },
    "reranker_scores": {
        "reranking_does_no_harm": Check(f"Re-ranking does not make the {HEADLINE} of the hybrid significantly worse."),
    },
    "onnx_reranker": {
        "agrees_with_torch": Check(f"The scores of the float32 file are within {LARGEST_DIFFERENCE} of torch's.", error=True),
    },
    "published_index": {
        "promoted": Check("The checkpoint is in production: significantly better than what was there, or an operator said so."),
    },
    "production_drift": {
        "chunks_covered": Check("The model in production was trained with queries for most of the chunks that there are now."),
        "score_holds": Check(f"The index that is searched has the {HEADLINE} that it was published with."),
    },
}


def check_corpus(chunks: pl.DataFrame, documents: int, skipped: int) -> list[Finding]:
    """distinct_chunks and documents_read."""
    repeated = len(chunks) - chunks["text"].n_unique()
    sources = documents + skipped
    return [
        Finding(
            "distinct_chunks",
            repeated <= MOST_DUPLICATES * len(chunks),
            f"{repeated} of {len(chunks)} chunks repeat the text of another one",
        ),
        Finding("documents_read", skipped <= MOST_SKIPPED * sources, f"{skipped} of {sources} source files or rows were skipped"),
    ]


def check_pairs(pairs: pl.DataFrame, covered: int, identifiers: int) -> list[Finding]:
    """enough_pairs and identifiers_covered."""
    kept = pairs["dropped"].null_count()
    return [
        Finding(
            "enough_pairs",
            kept >= FEWEST_PAIRS,
            f"{kept} of {len(pairs)} candidates are left: with too few, add documents or raise the numbers in 'questions'",
        ),
        Finding(
            "identifiers_covered",
            covered >= LEAST_COVERAGE * identifiers,
            f"{covered} of {identifiers} identifiers are in a query; a higher questions.identifiers_per_chunk covers more",
        ),
    ]


def check_evaluation_set(queries: pl.DataFrame) -> list[Finding]:
    """enough_queries, for the human queries if there are any."""
    tested = queries.filter(pl.col("split") == "test")
    counts = dict(tested.group_by("source").len().iter_rows())
    source = next((source for source in (HUMAN, OWN) if source in counts), SYNTHETIC)
    count = counts.get(source, 0)
    detectable = DETECTABLE_ERRORS * TYPICAL_DEVIATION / math.sqrt(max(1, count))
    message = f"{count} {source} test queries: differences under about {detectable:.3f} {HEADLINE} will look like noise"
    return [Finding("enough_queries", count >= FEWEST_QUERIES, message)]


def check_triplets(
    triplets: pl.DataFrame, chunks: pl.DataFrame, queries: pl.DataFrame, labels: pl.DataFrame, drawn_at_random: int
) -> list[Finding]:
    """no_leaked_test_queries, no_leaked_documents and hard_negatives_found."""
    tested = {normalize_query(query) for query in queries.filter(pl.col("split") == "test")["query"]}
    leaked = sorted({anchor for anchor in triplets["anchor"] if normalize_query(anchor) in tested})
    held_out = labels.join(queries.filter(pl.col("source") != HUMAN), on="query_id").select("document_id", held_out="split")
    learnt = triplets.join(chunks, left_on="positive_chunk", right_on="chunk_id").join(held_out.unique(), on="document_id")
    leaked_documents = sorted(set(learnt.filter((pl.col("held_out") == "test") | (pl.col("split") == "train"))["document_id"]))
    negatives = len(triplets) * sum(name.startswith("negative_") and name != "negative_chunks" for name in triplets.columns)
    return [
        Finding(
            "no_leaked_test_queries",
            not leaked,
            f"{len(leaked)} test queries are trained on, such as {leaked[0]!r}" if leaked else "no test query is trained on",
        ),
        Finding(
            "no_leaked_documents",
            not leaked_documents,
            f"{len(leaked_documents)} held-out documents are trained on, such as {leaked_documents[0]!r}"
            if leaked_documents
            else "no held-out document is trained on",
        ),
        Finding(
            "hard_negatives_found",
            drawn_at_random <= MOST_RANDOM_NEGATIVES * max(1, negatives),
            f"{drawn_at_random} of {negatives} negatives were drawn at random; a higher negatives.top_k or margin finds more",
        ),
    ]


def check_training(curve: pl.DataFrame) -> list[Finding]:
    """loss_fell, by the means of the first and the last quarter of the curve."""
    losses = curve["loss"].drop_nulls()
    part = max(1, len(losses) // 4)
    if len(losses) < 2:
        return [Finding("loss_fell", True, "too few steps to tell")]
    first, last = losses.head(part).mean(), losses.tail(part).mean()
    return [Finding("loss_fell", last < first, f"the loss went from {first:.3f} to {last:.3f}")]


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


def check_export(files: Mapping[str, Mapping[str, float]]) -> list[Finding]:
    """agrees_with_torch."""
    least = files["model.onnx"]["min_cosine"]
    return [Finding("agrees_with_torch", least >= LEAST_COSINE, f"least cosine to torch: {least:.6f}")]


def check_reranker_export(files: Mapping[str, Mapping[str, float]]) -> list[Finding]:
    """agrees_with_torch, for a re-ranker."""
    largest = files["model.onnx"]["max_difference"]
    return [Finding("agrees_with_torch", largest <= LARGEST_DIFFERENCE, f"largest difference to torch's scores: {largest:.6f}")]
