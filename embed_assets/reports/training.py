"""The reports on triplets, trainings and exports."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from embed_assets.artifacts.checks import Finding
from embed_assets.artifacts.store import REPORT
from embed_assets.reports.charts import draw_loss, draw_merges
from embed_assets.reports.evaluation import write_score_tables
from embed_assets.reports.writing import write_findings, write_notes, write_summary, write_table
from embed_assets.training.checks import check_export, check_reranker_export, check_training
from embed_assets.training.evaluator import DEV_METRIC
from embed_assets.training.leaks import OF_TEST_DOCUMENT
from embed_assets.training.merging import chosen_merge

LOSSES_SHOWN = 12


def write_triplets(
    folder: Path,
    triplets: pl.DataFrame,
    left_out: pl.DataFrame,
    counts: Mapping[str, int],
    findings: Sequence[Finding],
    notes: Sequence[str] = (),
) -> None:
    """Report on triplets: counts by split and reason, samples, and what was left out because something like it is tested.

    Args:
        folder: the artifact.
        triplets, counts: from mine_triplets.
        left_out: from training_pairs.
        findings: of check_triplets and check_lengths.
        notes: what is odd about the user's own triplets, in words.
    """
    if notes:
        write_notes(folder, notes)
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
    write_findings(folder, findings)


def write_training(folder: Path, curve: pl.DataFrame, best_kept: bool = False, merges: pl.DataFrame | None = None) -> None:
    """Report on checkpoint: the loss curve and the averages with the base model, drawn, in short tables and as Parquet.

    Args:
        folder: the artifact.
        curve: from fine_tune.
        best_kept: whether the model that was best on dev was kept, and not the last one.
        merges: from choose_merge; None if there was nothing to choose.
    """
    curve.write_parquet(folder / REPORT / "loss.parquet")
    losses = curve["loss"].drop_nulls()
    dev_losses = curve["dev_loss"].drop_nulls()
    summary: dict[str, Any] = {"steps": int(curve["step"].max() or 0)}
    if len(losses):
        summary |= {"first_loss": round(losses[0], 4), "last_loss": round(losses[-1], 4)}
    if best_kept:
        by_ndcg = curve[DEV_METRIC].is_not_null().any()
        judge = DEV_METRIC if by_ndcg else "dev_loss"
        best = curve.drop_nulls(judge).sort(judge, descending=by_ndcg, maintain_order=True).row(0, named=True)
        summary |= {name: round(best[name], 4) for name in ("dev_loss", DEV_METRIC) if best[name] is not None}
        summary |= {"kept_step": best["step"]}
    elif len(dev_losses):
        summary["dev_loss"] = round(dev_losses[-1], 4)
    draw_loss(folder, curve)
    every = len(curve) // LOSSES_SHOWN + 1
    write_table(folder, "loss", curve.filter((pl.int_range(pl.len()) % every == 0) | pl.col("dev_loss").is_not_null()))
    if merges is not None:
        merges.write_parquet(folder / REPORT / "merges.parquet")
        draw_merges(folder, merges)
        write_table(folder, "merges", merges)
        summary |= {"merge": chosen_merge(merges)}
    write_summary(folder, summary)
    write_findings(folder, check_training(curve))


def write_taken_over(folder: Path, name: str, figures: Mapping[str, int]) -> None:
    """Report on a checkpoint that was trained elsewhere, with its name and figures."""
    write_summary(folder, {"trained_elsewhere": name} | dict(figures))
    write_findings(folder, [Finding("loss_fell", True, "nothing was trained here: checkpoint.name names a trained model")])


def write_export(folder: Path, files: Mapping[str, Mapping[str, float]], summaries: Sequence[Mapping[str, Any]]) -> None:
    """Report on onnx_model: parity and size of each file, and the scores of int8 beside those of torch."""
    _write_parity(folder, files)
    write_score_tables(folder, summaries)
    write_findings(folder, check_export(files, summaries))


def write_reranker_export(folder: Path, files: Mapping[str, Mapping[str, float]]) -> None:
    """Report on onnx_reranker: parity and size of each file."""
    _write_parity(folder, files)
    write_findings(folder, check_reranker_export(files))


def _write_parity(folder: Path, files: Mapping[str, Mapping[str, float]]) -> None:
    write_summary(
        folder, {f"{name.removesuffix('.onnx')}_{key}": value for name, row in files.items() for key, value in row.items()}
    )
    write_table(folder, "parity", pl.DataFrame([{"file": name} | dict(row) for name, row in files.items()]))
