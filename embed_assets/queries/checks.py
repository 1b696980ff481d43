"""What can be wrong with QA pairs."""

import polars as pl

from embed_assets.artifacts.checks import Check, Finding

FEWEST_PAIRS = 8
LEAST_COVERAGE = 0.5

PAIRS_CHECKS = {
    "enough_pairs": Check(f"At least {FEWEST_PAIRS} pairs are left after the filters.", error=True, blocking=True),
    "identifiers_covered": Check(f"At least {LEAST_COVERAGE:.0%} of the identifiers in the collection are in a query."),
}


def check_pairs(pairs: pl.DataFrame, covered: int, identifiers: int) -> list[Finding]:
    """enough_pairs and identifiers_covered."""
    kept = pairs["dropped"].null_count()
    return [
        Finding(
            "enough_pairs",
            kept >= FEWEST_PAIRS,
            f"{kept} of {len(pairs)} candidates are left, and at least {FEWEST_PAIRS} are needed: "
            "add documents or raise the numbers in 'questions'",
        ),
        Finding(
            "identifiers_covered",
            covered >= LEAST_COVERAGE * identifiers,
            f"{covered} of {identifiers} identifiers are in a query; a higher questions.identifiers_per_chunk covers more",
        ),
    ]
