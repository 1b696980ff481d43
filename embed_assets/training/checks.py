"""What can be wrong with triplets, with a training and with an export."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from embed_assets.artifacts.checks import Check, Finding
from embed_assets.evaluation.checks import SIGNIFICANCE, test_in_words
from embed_assets.evaluation.evaluation_set import HUMAN, OWN
from embed_assets.evaluation.statistics import holm
from embed_assets.models.onnx import INT8_MODEL, MODEL
from embed_assets.text.columns import NEGATIVES
from embed_assets.text.near_duplicates import normalize_query

MOST_RANDOM_NEGATIVES, MOST_CUT_PASSAGES = 0.2, 0.1
LEAST_COSINE = 0.9999
# What check_parity compares, in words.
COMPARED = {"min_cosine": "of texts", "min_cosine_of_tokens": "of tokens"}
LARGEST_DIFFERENCE = 0.001

TRIPLETS_CHECKS = {
    "no_leaked_test_queries": Check("No test query is trained on.", error=True, blocking=True),
    "no_leaked_documents": Check(
        "No positive of a synthetic query is of a document with synthetic test queries, nor a trained one of a document with dev "
        "queries.",
        error=True,
        blocking=True,
    ),
    "hard_negatives_found": Check(f"At most {MOST_RANDOM_NEGATIVES:.0%} of the negatives had to be drawn at random."),
    "passages_fit": Check(f"At most {MOST_CUT_PASSAGES:.0%} of the passages are longer than base_model.max_tokens."),
}
TRAINING_CHECKS = {
    "loss_fell": Check("The loss at the end is below the loss at the start."),
}
EXPORT_CHECKS = {
    "agrees_with_torch": Check(
        f"The float32 file agrees with torch to a cosine of {LEAST_COSINE}, by texts and by tokens.", error=True
    ),
    "int8_holds": Check("The int8 file finds significantly worse than the float model on no label source.", error=True),
}
RERANKER_EXPORT_CHECKS = {
    "agrees_with_torch": Check(f"The scores of the float32 file are within {LARGEST_DIFFERENCE} of torch's.", error=True),
}


def check_triplets(
    triplets: pl.DataFrame,
    chunks: pl.DataFrame,
    queries: pl.DataFrame,
    labels: pl.DataFrame,
    drawn_at_random: int,
) -> list[Finding]:
    """no_leaked_test_queries, no_leaked_documents and hard_negatives_found."""
    tested = {normalize_query(query) for query in queries.filter(pl.col("split") == "test")["query"]}
    leaked = sorted({anchor for anchor in triplets["anchor"] if normalize_query(anchor) in tested})
    by_document = queries.filter(~pl.col("source").is_in([HUMAN, OWN]))
    # A look-up that several documents answer is held out with the one that it was taken from; the others are trained on.
    of_one_document = labels.filter(pl.col("document_id").n_unique().over("query_id") == 1)
    held_out = of_one_document.join(by_document, on="query_id").select("document_id", held_out="split")
    learnt = triplets.filter(pl.col("source") != OWN) if "source" in triplets.columns else triplets
    learnt = learnt.join(chunks, left_on="positive_chunk", right_on="chunk_id").join(held_out.unique(), on="document_id")
    leaked_documents = sorted(set(learnt.filter((pl.col("held_out") == "test") | (pl.col("split") == "train"))["document_id"]))
    negatives = len(triplets) * triplets.select(NEGATIVES).width
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


def check_lengths(chunks: pl.DataFrame, max_tokens: int, around: int) -> Finding:
    """passages_fit.

    Args:
        chunks: with ``tokens``, of the passage without its prompt and special tokens.
        max_tokens: what the base model reads, with both.
        around: tokens of both (tokens_around_passages).
    """
    lengths = chunks["tokens"] + around
    cut = int((lengths > max_tokens).sum())
    return Finding(
        "passages_fit",
        cut <= MOST_CUT_PASSAGES * max(1, chunks.height),
        f"{cut} of {chunks.height} passages are longer than base_model.max_tokens ({max_tokens}), the longest has "
        f"{lengths.max() or 0}: what is beyond is never found; raise base_model.max_tokens, or shorten the chunks"
        if cut
        else f"all {chunks.height} passages are within base_model.max_tokens ({max_tokens})",
    )


def check_training(curve: pl.DataFrame) -> list[Finding]:
    """loss_fell, by the means of the first and the last quarter of the curve."""
    losses = curve["loss"].drop_nulls()
    part = max(1, len(losses) // 4)
    if len(losses) < 2:
        return [Finding("loss_fell", True, "too few steps to tell")]
    first, last = losses.head(part).mean(), losses.tail(part).mean()
    return [Finding("loss_fell", last < first, f"the loss went from {first:.3f} to {last:.3f}")]


def check_export(files: Mapping[str, Mapping[str, float]], summaries: Sequence[Mapping[str, Any]] = ()) -> list[Finding]:
    """agrees_with_torch and int8_holds.

    Args:
        files: from check_parity.
        summaries: the scores of ``int8`` and of ``tuned`` by label source. The latter is torch's, with which the float32 file
            agrees; that its vectors are compared, which are kept already, saves encoding all passages once more.
    """
    least = {what: files[MODEL][name] for name, what in COMPARED.items() if name in files[MODEL]}
    words = "; ".join(f"least cosine to torch {what}: {cosine:.6f}" for what, cosine in least.items())
    agrees = Finding("agrees_with_torch", min(least.values()) >= LEAST_COSINE, words)
    if INT8_MODEL not in files:
        return [agrees, Finding("int8_holds", True, "there is no int8 file: export.int8 is false")]
    if not summaries:
        return [agrees, Finding("int8_holds", True, "it was not scored: export.score_int8 is false, or there is no test query")]
    return [agrees, _int8_holds(summaries)]


def _int8_holds(summaries: Sequence[Mapping[str, Any]]) -> Finding:
    """Corrected for the number of sources (Holm): one of them may look worse by chance."""
    tests = {summary["labels"]: test_in_words(summary, "int8", "tuned") for summary in summaries}
    p_values = holm({source: test["p_value"] for source, (test, _) in tests.items()})
    worse = [source for source, (test, _) in tests.items() if test["difference"] < 0 and p_values[source] < SIGNIFICANCE]
    words = "; ".join(message for _, message in tests.values())
    if worse:
        words = (
            f"significantly worse on {' and '.join(worse)} queries, so use {MODEL}, and set export.int8 to false to write no "
            f"int8 file, or export.per_channel to true if it is not: {words}"
        )
    return Finding("int8_holds", not worse, words)


def check_reranker_export(files: Mapping[str, Mapping[str, float]]) -> list[Finding]:
    """agrees_with_torch, for a re-ranker."""
    largest = files[MODEL]["max_difference"]
    return [Finding("agrees_with_torch", largest <= LARGEST_DIFFERENCE, f"largest difference to torch's scores: {largest:.6f}")]
