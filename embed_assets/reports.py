"""What people look at: figures, tables and charts in the report/ folder of an artifact.

A chart and a table of the same name belong together, and show as one.
"""

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from embed_assets.breakdowns import changed_queries, changes_by_document, compare_with_before, scores_by_style, with_hits
from embed_assets.charts import draw_funnel, draw_leaderboard, draw_loss, draw_saturation, draw_scores
from embed_assets.checks import (
    Finding,
    check_corpus,
    check_evaluation_set,
    check_export,
    check_forgetting,
    check_pairs,
    check_reranker_export,
    check_reranker_scores,
    check_scores,
    check_training,
    check_triplets,
)
from embed_assets.documents import SkippedDocument
from embed_assets.leaderboard import Leaderboard
from embed_assets.leaks import OF_TEST_DOCUMENT
from embed_assets.lookups import identifier_coverage
from embed_assets.qa_pairs import QaPairs
from embed_assets.saturation import Saturation
from embed_assets.scoring import HEADLINE, Scores, bootstrap_interval, join_scores, scores_table
from embed_assets.settings import QuestionsSettings, ScoringSettings
from embed_assets.store import FINDINGS, REPORT, SUMMARY, Artifact

LOSSES_SHOWN = 12
QUERIES_SHOWN = 20


def write_corpus(folder: Path, documents: int, skipped: Sequence[SkippedDocument], chunks: pl.DataFrame) -> None:
    """Report on corpus_chunks: counts, a preview, and the files that were skipped."""
    tokens = chunks["tokens"]
    write_summary(
        folder,
        {
            "documents": documents,
            "skipped_documents": len(skipped),
            "chunks": len(chunks),
            "tokens_per_chunk": round(float(tokens.mean()), 1),
            "longest_chunk": int(tokens.max()),
        },
    )
    write_table(folder, "preview", chunks.gather_every(max(1, len(chunks) // 8)).head(8).select("chunk_id", "tokens", "passage"))
    if skipped:
        write_table(folder, "skipped", pl.DataFrame(list(skipped)))
    write_findings(folder, check_corpus(chunks, documents, len(skipped)))


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
    draw_funnel(folder, table)
    samples = kept.sort("query_id").group_by("style", maintain_order=True).head(10).sort("style", "query_id")
    write_table(folder, "samples", samples.select("style", "query", "document_id", "rank"))
    write_table(folder, "identifiers_without_a_query", coverage.filter(pl.col("queries") == 0).head(50).drop("queries"))
    if pairs.notes:
        write_text(folder, "notes", "\n".join(f"- {note}" for note in pairs.notes))
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


def write_evaluation_set(folder: Path, queries: pl.DataFrame, notes: Sequence[str]) -> None:
    """Report on evaluation_set: queries by source and split, and what was left out."""
    counts = queries.group_by("source", "split").len("queries").sort("source", "split")
    write_summary(folder, {f"{source}_{split}_queries": count for source, split, count in counts.iter_rows()})
    write_table(folder, "samples", queries.group_by("source", "split", maintain_order=True).head(5).drop("query_id"))
    if notes:
        write_text(folder, "notes", "\n".join(f"- {note}" for note in notes))
    write_findings(folder, check_evaluation_set(queries))


def write_triplets(
    folder: Path,
    triplets: pl.DataFrame,
    chunks: pl.DataFrame,
    queries: pl.DataFrame,
    labels: pl.DataFrame,
    left_out: pl.DataFrame,
    counts: Mapping[str, int],
) -> None:
    """Report on triplets: counts by split and reason, samples, and what was left out because something like it is tested."""
    splits = dict(triplets.group_by("split").len().iter_rows())
    reasons = dict(left_out.group_by("reason").len().sort("reason").iter_rows())
    write_summary(
        folder,
        {"train_triplets": splits.get("train", 0), "dev_triplets": splits.get("dev", 0)}
        | {f"left_out_{reason.replace(' ', '_')}": count for reason, count in reasons.items()}
        | {name.replace(" ", "_"): count for name, count in counts.items()},
    )
    write_table(folder, "samples", triplets.head(8).select("style", "anchor", "positive", "negative_1"))
    leaks = left_out.filter(pl.col("reason") != OF_TEST_DOCUMENT)
    if not leaks.is_empty():
        write_table(folder, "left_out", leaks.group_by("reason", maintain_order=True).head(8).sort("reason"))
    write_findings(folder, check_triplets(triplets, chunks, queries, labels, counts["drawn at random"]))


def write_training(folder: Path, curve: pl.DataFrame, best_kept: bool = False) -> None:
    """Report on checkpoint: the loss curve, drawn, in a short table and as Parquet.

    Args:
        folder: the artifact.
        curve: from fine_tune.
        best_kept: whether the model with the smallest dev loss was kept, and not the last one.
    """
    curve.write_parquet(folder / REPORT / "loss.parquet")
    losses = curve["loss"].drop_nulls()
    dev_losses = curve["dev_loss"].drop_nulls()
    summary = {"steps": int(curve["step"].max() or 0)}
    if len(losses):
        summary |= {"first_loss": round(losses[0], 4), "last_loss": round(losses[-1], 4)}
    if best_kept:
        best = curve.drop_nulls("dev_loss").sort("dev_loss", maintain_order=True).row(0, named=True)
        summary |= {"dev_loss": round(best["dev_loss"], 4), "kept_step": best["step"]}
    elif len(dev_losses):
        summary["dev_loss"] = round(dev_losses[-1], 4)
    write_summary(folder, summary)
    draw_loss(folder, curve)
    every = len(curve) // LOSSES_SHOWN + 1
    write_table(folder, "loss", curve.filter((pl.int_range(pl.len()) % every == 0) | pl.col("dev_loss").is_not_null()))
    write_findings(folder, check_training(curve))


def write_scores(
    folder: Path, scores: Sequence[Scores], labels: pl.DataFrame, before: pl.DataFrame | None, settings: ScoringSettings
) -> None:
    """Report on beir_scores: a table and a chart for each label source, and where the gain comes from.

    Args:
        folder: of the artifact.
        scores: of all label sources; the first one is looked at closely.
        labels: of the evaluation set.
        before: scores of each query of the checkpoint before this one, if there was one.
        settings: bootstrap.
    """
    summaries = [score.summary for score in scores]
    _write_scores(folder, summaries, ("base", "tuned", "hybrid"), check_scores(summaries))
    if not scores:
        return
    first = scores[0]
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
    _write_score_tables(folder, summaries)
    for summary in summaries:
        labels = summary["labels"]
        draw_scores(folder, summary)
        for system in systems:
            figures[f"{labels}_{HEADLINE.replace('@', '_at_')}_{system}"] = round(summary["systems"][system][HEADLINE], 4)
    write_summary(folder, figures)
    write_findings(folder, findings)


def write_export(folder: Path, files: Mapping[str, Mapping[str, float]], summaries: Sequence[Mapping[str, Any]]) -> None:
    """Report on onnx_model: parity and size of each file, and the scores of int8 beside those of torch."""
    _write_parity(folder, files)
    _write_score_tables(folder, summaries)
    write_findings(folder, check_export(files))


def write_reranker_export(folder: Path, files: Mapping[str, Mapping[str, float]]) -> None:
    """Report on onnx_reranker: parity and size of each file."""
    _write_parity(folder, files)
    write_findings(folder, check_reranker_export(files))


def _write_parity(folder: Path, files: Mapping[str, Mapping[str, float]]) -> None:
    write_summary(
        folder, {f"{name.removesuffix('.onnx')}_{key}": value for name, row in files.items() for key, value in row.items()}
    )
    write_table(folder, "parity", pl.DataFrame([{"file": name} | dict(row) for name, row in files.items()]))


def write_comparison(folder: Path, summaries: Sequence[Mapping[str, Any]]) -> None:
    """Report on published_index: the candidate beside what is in production, a table for each label source."""
    _write_score_tables(folder, summaries)


def _write_score_tables(folder: Path, summaries: Sequence[Mapping[str, Any]], prefix: str = "") -> None:
    for summary in summaries:
        write_text(folder, f"{prefix}{summary['labels']}_queries", scores_table(summary))


def write_trial(folder: Path, checkpoint: Artifact, summaries: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Report on trial: scores on dev and test, and the loss curve of its checkpoint."""
    figures = {"training_seconds": checkpoint.manifest["seconds"], "checkpoint": str(checkpoint.folder / "model")}
    for split, of_split in summaries.items():
        _write_score_tables(folder, of_split, prefix=f"{split}_")
        for summary in of_split:
            name = f"{split}_{summary['labels']}_{HEADLINE.replace('@', '_at_')}"
            figures |= {f"{name}_{system}": round(values[HEADLINE], 4) for system, values in summary["systems"].items()}
    write_summary(folder, checkpoint.summary | figures)
    for name in ("loss.png", FINDINGS):
        shutil.copy(checkpoint.report / name, folder / REPORT)


def write_leaderboard(folder: Path, collection: str, leaderboard: Leaderboard, seconds: Mapping[str, float]) -> None:
    """Report on leaderboard: trials with intervals, drawn and as a table, and which one to promote."""
    table = leaderboard.table
    shown = table.with_columns(minutes=pl.col("trial").replace_strict(seconds, return_dtype=pl.Float64) / 60)
    write_table(folder, "leaderboard", shown, longest=60)
    write_summary(folder, {"trials": len(table), "best": table["trial"][0], "advice": leaderboard.advice})
    write_findings(folder, [Finding("settings_hold", leaderboard.settled, leaderboard.advice)])
    draw_leaderboard(folder, collection, leaderboard)


def write_saturation(
    folder: Path, collection: str, curve: Saturation, examples: np.ndarray, gains: np.ndarray, settings: ScoringSettings
) -> None:
    """Report on saturation_curve: the points with intervals and the curve, drawn and as a table."""
    means, intervals = gains.mean(axis=1), [bootstrap_interval(row, settings) for row in gains]
    points = {"examples": examples, "gain": means, "low": [low for low, _ in intervals], "high": [high for _, high in intervals]}
    write_table(folder, "saturation", pl.DataFrame(points))
    write_summary(folder, {"verdict": curve.verdict, "limit": round(curve.limit, 4), "queries": gains.shape[1]})
    draw_saturation(folder, collection, curve, examples, means, np.array(intervals))


def write_findings(folder: Path, findings: Sequence[Finding]) -> None:
    """Write the outcomes of a stage's checks to report/findings.json."""
    rows = [dataclasses.asdict(finding) for finding in findings]
    (folder / REPORT / FINDINGS).write_text(json.dumps(rows, indent=2, ensure_ascii=False), encoding="utf-8")


def write_summary(folder: Path, figures: Mapping[str, Any]) -> None:
    """Write counts and figures (numbers, texts or booleans by name) to report/summary.json."""
    (folder / REPORT / SUMMARY).write_text(json.dumps(figures, indent=2, ensure_ascii=False), encoding="utf-8")


def write_text(folder: Path, name: str, markdown: str) -> None:
    """Write Markdown to report/<name>.md."""
    (folder / REPORT / f"{name}.md").write_text(markdown, encoding="utf-8")


def write_table(folder: Path, name: str, frame: pl.DataFrame, longest: int = 160) -> None:
    """Write a table to report/<name>.md; longer texts are cut."""
    lines = [f"| {' | '.join(frame.columns)} |", f"|{' --- |' * frame.width}"]
    lines += [f"| {' | '.join(_cell(value, longest) for value in row)} |" for row in frame.iter_rows()]
    write_text(folder, name, "\n".join(lines))


def _cell(value: Any, longest: int) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
    text = " ".join(text.split()).replace("|", "\\|")
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
