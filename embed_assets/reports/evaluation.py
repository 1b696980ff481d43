"""The reports on the evaluation set and on scores."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from embed_assets.artifacts.checks import Finding
from embed_assets.evaluation.breakdowns import (
    changed_queries,
    changes_by_document,
    compare_with_before,
    scores_by_style,
    with_hits,
)
from embed_assets.evaluation.checks import (
    check_evaluation_set,
    check_forgetting,
    check_reranker_scores,
    check_scores,
    deciding_summary,
)
from embed_assets.evaluation.metrics import HEADLINE
from embed_assets.evaluation.scoring import Scores, join_scores, scores_table
from embed_assets.evaluation.settings import ScoringSettings
from embed_assets.evaluation.systems import LATE
from embed_assets.reports.charts import draw_dimensions, draw_scores
from embed_assets.reports.small_charts import Bar, write_bars
from embed_assets.reports.writing import write_findings, write_notes, write_summary, write_table, write_text

QUERIES_SHOWN = 20


def write_evaluation_set(folder: Path, queries: pl.DataFrame, notes: Sequence[str]) -> None:
    """Report on evaluation_set: queries by source and split, and what was left out."""
    counts = queries.group_by("source", "split").len("queries").sort("source", "split")
    write_summary(folder, {f"{source}_{split}_queries": count for source, split, count in counts.iter_rows()})
    write_table(folder, "samples", queries.group_by("source", "split", maintain_order=True).head(5).drop("query_id"))
    if notes:
        write_notes(folder, notes)
    write_findings(folder, check_evaluation_set(queries))


def write_scores(
    folder: Path, scores: Sequence[Scores], labels: pl.DataFrame, before: pl.DataFrame | None, settings: ScoringSettings
) -> None:
    """Report on beir_scores: a table and a chart for each label source, and where the gain comes from.

    Args:
        folder: of the artifact.
        scores: of all label sources; the one that decides is looked at closely.
        labels: of the evaluation set.
        before: scores of each query of the checkpoint before this one, if there was one.
        settings: bootstrap.
    """
    summaries = [score.summary for score in scores]
    _write_scores(folder, summaries, ("base", "tuned", "hybrid", LATE), check_scores(summaries))
    if not scores:
        return
    deciding = deciding_summary(summaries)
    first = next(score for score in scores if score.summary is deciding)
    draw_dimensions(folder, first.summary)
    changed = changed_queries(first.per_query, "base", "tuned")
    for name, some in (("lost_most", changed.filter(pl.col("difference") < 0)), ("gained_most", changed.reverse())):
        some = some.filter(pl.col("difference") != 0).head(QUERIES_SHOWN)
        write_table(folder, name, with_hits(some, first.runs, first.qrels, ("base", "tuned")).drop("query_id"))
    documents = changes_by_document(changed, labels)
    if len(documents) > QUERIES_SHOWN:
        documents = pl.concat([documents.head(QUERIES_SHOWN // 2), documents.tail(QUERIES_SHOWN // 2)])
    write_table(folder, "by_document", documents)
    if not (styles := scores_by_style(first.per_query)).is_empty():
        write_table(folder, "by_style", styles)
    if before is not None:
        per_query, _ = join_scores(scores)
        write_table(
            folder, "against_the_checkpoint_before", pl.DataFrame(compare_with_before(per_query, before, "tuned", settings))
        )


def write_reranker_scores(folder: Path, summaries: Sequence[Mapping[str, Any]]) -> None:
    """Report on reranker_scores: a table and a chart for each label source."""
    _write_scores(folder, summaries, ("tuned", "hybrid", "hybrid_reranked"), check_reranker_scores(summaries))


def write_forgetting(folder: Path, summaries: Sequence[Mapping[str, Any]]) -> None:
    """Report on forgetting: a table and a chart for each label source of the other collection."""
    _write_scores(folder, summaries, ("base", "tuned"), check_forgetting(summaries))


def _write_scores(
    folder: Path, summaries: Sequence[Mapping[str, Any]], systems: Sequence[str], findings: Sequence[Finding]
) -> None:
    figures = {}
    write_score_tables(folder, summaries)
    for summary in summaries:
        labels = summary["labels"]
        draw_scores(folder, summary)
        for system in [name for name in systems if name in summary["systems"]]:
            figures[f"{labels}_{HEADLINE.replace('@', '_at_')}_{system}"] = round(summary["systems"][system][HEADLINE], 4)
    if summaries:
        _write_bars(folder, deciding_summary(summaries))
    write_summary(folder, figures)
    write_findings(folder, findings)


def _write_bars(folder: Path, summary: Mapping[str, Any]) -> None:
    """The scores at a glance."""
    bars = [Bar(name, found[HEADLINE], summary["intervals"][name]) for name, found in summary["systems"].items()]
    write_bars(folder, "scores", bars, f"{HEADLINE} of {summary['queries']:,} {summary['labels']} queries, lines: 95%")


def write_score_tables(folder: Path, summaries: Sequence[Mapping[str, Any]], prefix: str = "") -> None:
    """A table of the systems for each label source."""
    for summary in summaries:
        write_text(folder, f"{prefix}{summary['labels']}_queries", scores_table(summary))
