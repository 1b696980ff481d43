"""The report on qa_pairs."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from embed_assets.artifacts.store import REPORT
from embed_assets.queries.checks import check_pairs
from embed_assets.queries.lookups import identifier_coverage
from embed_assets.queries.qa_pairs import QaPairs
from embed_assets.queries.settings import QuestionsSettings
from embed_assets.queries.shares import MULTI_HOP
from embed_assets.reports.charts import draw_funnel
from embed_assets.reports.small_charts import Bar, write_bars
from embed_assets.reports.writing import write_findings, write_notes, write_summary, write_table


def write_pairs(folder: Path, pairs: QaPairs, chunks: pl.DataFrame, settings: QuestionsSettings, saved_encoding: str) -> None:
    """Report on qa_pairs: every pair with what became of it, a funnel by style, samples, and identifiers without a query."""
    table = pairs.table
    table.write_parquet(folder / REPORT / "all_pairs.parquet")
    kept = table.filter(pl.col("dropped").is_null())
    coverage = identifier_coverage(chunks, kept, settings)
    covered = coverage.filter(pl.col("queries") > 0).height
    write_summary(
        folder,
        {
            "candidates": len(table),
            "pairs": len(kept),
            "written_by_model": table.filter(pl.col("prompt") != "").height,
            "identifiers_with_a_query": f"{covered} of {len(coverage)}",
            "saved_encoding": saved_encoding,
        }
        | {
            f"{task}_{name}": value
            for task, usage in pairs.usage.items()
            for name, value in usage.figures(settings.language_models[task]).items()
        },
    )
    funnel = funnel_of(table)
    write_table(folder, "funnel", funnel)
    bars = [Bar(style, share) for style, share in funnel.select("style", "kept_share").iter_rows()]
    write_bars(folder, "kept", bars, "share of the candidates of each style that is kept")
    if not (shares := shares_of_questions(table, settings)).is_empty():
        write_table(folder, "shares_of_questions", shares)
    draw_funnel(folder, table)
    samples = kept.sort("query_id").group_by("style", maintain_order=True).head(10).sort("style", "query_id")
    write_table(folder, "samples", samples.select("style", "query", "document_id", "rank"))
    write_table(folder, "identifiers_without_a_query", coverage.filter(pl.col("queries") == 0).head(50).drop("queries"))
    if pairs.notes:
        write_notes(folder, pairs.notes)
    write_findings(folder, check_pairs(table, covered, len(coverage)))


def funnel_of(table: pl.DataFrame) -> pl.DataFrame:
    """What became of the candidates of each style: how many there were, how many each filter dropped, how many are kept.

    Args:
        table: pairs with ``style`` and ``dropped``.
    """
    if table.is_empty():
        return pl.DataFrame(schema={"style": pl.String, "candidates": pl.UInt32, "kept": pl.UInt32, "kept_share": pl.Float64})
    counted = table.with_columns(pl.col("dropped").fill_null("kept")).pivot(
        "dropped", index="style", values="query_id", aggregate_function="len"
    )
    reasons = sorted(name for name in counted.columns if name not in ("style", "kept"))
    kept = pl.col("kept") if "kept" in counted.columns else pl.lit(0)
    return (
        counted.fill_null(0)
        .select("style", pl.sum_horizontal(pl.exclude("style")).alias("candidates"), *reasons, kept.alias("kept"))
        .with_columns(kept_share=(pl.col("kept") / pl.col("candidates")).round(2))
        .sort("style")
    )


def shares_of_questions(table: pl.DataFrame, settings: QuestionsSettings) -> pl.DataFrame:
    """How the written questions are spread over styles, reasoning types and hops, beside the shares of the settings.

    Args:
        table: pairs in PAIR_SCHEMA.
        settings: the shares.

    Returns:
        ``by``, ``value``, ``stated`` (its share in the settings; null for what they do not name), ``written`` and ``kept``
        (questions) and ``written_share``. Reasoning types are those of batch mode. Hops are the chunks that a multi-hop
        question names.
    """
    # What a call did not write is no question.
    written = table.filter((pl.col("prompt") != "") & (pl.col("query") != ""))
    hops = pl.struct("document_id", "start").n_unique()
    questions = written.group_by("query_id", maintain_order=True).agg(
        pl.col("style", "reasoning_type").first(), hops.alias("hops"), pl.col("dropped").null_count().gt(0).alias("kept")
    )
    several = pl.col("style").is_in([*questions.filter(pl.col("hops") > 1)["style"].to_list(), MULTI_HOP])
    parts = [_shares("style", questions, settings.styles)]
    if settings.mode == "batch":
        parts.append(_shares("reasoning_type", questions, dict.fromkeys(settings.reasoning_types, 1.0)))
    parts.append(_shares("hops", questions.filter(several), {str(number): share for number, share in settings.hops.items()}))
    return pl.concat(parts)


def _shares(by: str, questions: pl.DataFrame, shares: Mapping[str, float]) -> pl.DataFrame:
    """The rows of shares_of_questions for one column; none where there is no question."""
    named = pl.DataFrame(list(shares.items()), schema={"value": pl.String, "stated": pl.Float64}, orient="row")
    stated = named.with_columns(pl.col("stated") / pl.col("stated").sum())
    counted = questions.group_by(pl.col(by).cast(pl.String).alias("value")).agg(
        pl.len().cast(pl.Int64).alias("written"), pl.col("kept").sum().cast(pl.Int64)
    )
    joined = stated.join(counted, on="value", how="full", coalesce=True, maintain_order="left_right")
    return joined.filter(pl.lit(len(questions) > 0)).select(
        pl.lit(by.replace("_", " ")).alias("by"),
        pl.col("value").fill_null("none given"),
        pl.col("stated").round(3),
        pl.col("written", "kept").fill_null(0),
        (pl.col("written").fill_null(0) / len(questions)).round(3).alias("written_share"),
    )
