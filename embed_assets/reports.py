"""What people look at: figures, tables and charts in the report/ folder of an artifact.

A chart and a table of the same name belong together, and show as one.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from embed_assets.checks import (
    Finding,
    check_corpus,
    check_evaluation_set,
    check_export,
    check_pairs,
    check_scores,
    check_training,
    check_triplets,
)
from embed_assets.documents import SkippedDocument
from embed_assets.lookups import identifier_coverage
from embed_assets.qa_pairs import QaPairs
from embed_assets.scoring import HEADLINE, scores_table
from embed_assets.settings import QuestionsSettings
from embed_assets.store import FINDINGS, REPORT, SUMMARY

LOSSES_SHOWN = 12


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


def write_triplets(folder: Path, triplets: pl.DataFrame, queries: pl.DataFrame, left_out: Mapping[str, int]) -> None:
    """Report on triplets: counts by split and reason, and samples."""
    counts = dict(triplets.group_by("split").len().iter_rows())
    write_summary(
        folder,
        {"train_triplets": counts.get("train", 0), "dev_triplets": counts.get("dev", 0)}
        | {reason.replace(" ", "_"): count for reason, count in left_out.items()},
    )
    write_table(folder, "samples", triplets.head(8).select("style", "anchor", "positive", "negative_1"))
    write_findings(folder, check_triplets(triplets, queries, left_out["drawn at random"]))


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


def write_scores(folder: Path, summaries: Sequence[Mapping[str, Any]]) -> None:
    """Report on beir_scores: a table and a chart for each label source."""
    figures = {}
    for summary in summaries:
        labels = summary["labels"]
        write_text(folder, f"{labels}_queries", scores_table(summary))
        draw_scores(folder, summary)
        for system in ("base", "tuned", "hybrid"):
            figures[f"{labels}_{HEADLINE.replace('@', '_at_')}_{system}"] = round(summary["systems"][system][HEADLINE], 4)
    write_summary(folder, figures)
    write_findings(folder, check_scores(summaries))


def write_export(folder: Path, files: Mapping[str, Mapping[str, float]], summaries: Sequence[Mapping[str, Any]]) -> None:
    """Report on onnx_model: parity and size of each file, and the scores of int8 beside those of torch."""
    write_summary(
        folder, {f"{name.removesuffix('.onnx')}_{key}": value for name, row in files.items() for key, value in row.items()}
    )
    write_table(folder, "parity", pl.DataFrame([{"file": name} | dict(row) for name, row in files.items()]))
    for summary in summaries:
        write_text(folder, f"{summary['labels']}_queries", scores_table(summary))
    write_findings(folder, check_export(files))


def write_comparison(folder: Path, summaries: Sequence[Mapping[str, Any]]) -> None:
    """Report on published_index: the candidate beside what is in production, a table for each label source."""
    for summary in summaries:
        write_text(folder, f"{summary['labels']}_queries", scores_table(summary))


def draw_funnel(folder: Path, table: pl.DataFrame) -> None:
    """Draw how many queries of each style were kept or dropped, and why, to report/funnel.png."""
    styles = sorted(table["style"].unique())
    counts = dict(table.group_by("dropped").len().sort("len", descending=True).iter_rows())
    figure, axes = _figure(8, 0.9 + 0.42 * max(3, len(styles)))
    left = dict.fromkeys(styles, 0)
    for i, fate in enumerate([None, *(fate for fate in counts if fate is not None)]):
        of_style = dict(table.filter(pl.col("dropped").eq_missing(fate)).group_by("style").len().iter_rows())
        widths = [of_style.get(style, 0) for style in styles]
        color = "#2a6f97" if fate is None else _DROP_COLORS[i % len(_DROP_COLORS)]
        axes.barh(styles, widths, left=[left[style] for style in styles], label=fate or "kept", color=color)
        left = {style: left[style] + width for style, width in zip(styles, widths, strict=True)}
    axes.invert_yaxis()
    axes.set_xlabel("queries")
    axes.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    _save(figure, folder / REPORT / "funnel.png")


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


def draw_loss(folder: Path, curve: pl.DataFrame) -> None:
    """Draw a loss curve to report/loss.png."""
    figure, axes = _figure(7, 3.2)
    for name, color in (("loss", "#4c72b0"), ("dev_loss", "#dd8452")):
        points = curve.drop_nulls(name)
        if len(points):
            axes.plot(
                points["step"], points[name], color=color, label=name.replace("_", " "), marker="o" if len(points) < 8 else None
            )
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.legend(frameon=False)
    _save(figure, folder / REPORT / "loss.png")


def draw_scores(
    folder: Path, summary: Mapping[str, Any], metrics: tuple[str, ...] = ("ndcg@1", "ndcg@10", "recall@10", "map@10")
) -> None:
    """Draw one group of bars for each metric to report/<labels>_queries.png, the value above each bar."""
    systems = list(summary["systems"])
    figure, axes = _figure(8, 3.6)
    width = 0.84 / len(systems)
    for i, system in enumerate(systems):
        values = [summary["systems"][system][metric] for metric in metrics]
        places = [j + (i - (len(systems) - 1) / 2) * width for j in range(len(metrics))]
        bars = axes.bar(places, values, width * 0.92, label=system, color=_COLORS[i % len(_COLORS)])
        axes.bar_label(bars, labels=[f"{value:.2f}".lstrip("0") for value in values], fontsize=7, padding=1)
    axes.set_xticks(range(len(metrics)), metrics)
    axes.set_ylim(0, min(1.12, 1.15 * max(max(v[m] for m in metrics) for v in summary["systems"].values()) + 0.02))
    axes.set_title(f"{summary['collection']}, {summary['queries']} {summary['labels']} queries", fontsize=10, loc="left")
    axes.legend(frameon=False, fontsize=8, ncols=len(systems), loc="upper center", bbox_to_anchor=(0.5, -0.08))
    _save(figure, folder / REPORT / f"{summary['labels']}_queries.png")


_COLORS = ("#9aa5b1", "#2a6f97", "#e0a458", "#c8553d", "#588b5b", "#7d5ba6")
_DROP_COLORS = ("#d9dee3", "#b8c0c8", "#e0a458", "#7d8b99", "#c8553d", "#588b5b", "#7d5ba6", "#4a5560", "#c9b27c", "#a3c4bc")


def _figure(width: float, height: float):
    """A figure that needs no display and leaves matplotlib's global state alone."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure, path: Path) -> None:
    figure.savefig(path)
