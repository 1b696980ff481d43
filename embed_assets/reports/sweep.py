"""The reports on trials, and on what they show together."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from embed_assets.artifacts.checks import Finding
from embed_assets.artifacts.store import FINDINGS, REPORT, Artifact
from embed_assets.evaluation.metrics import HEADLINE
from embed_assets.evaluation.settings import ScoringSettings
from embed_assets.evaluation.statistics import mean_interval
from embed_assets.reports.charts import draw_leaderboard, draw_saturation
from embed_assets.reports.evaluation import write_score_tables
from embed_assets.reports.writing import write_findings, write_summary, write_table
from embed_assets.sweep.leaderboard import Leaderboard
from embed_assets.sweep.saturation import Points, Saturation


def write_trial(folder: Path, checkpoint: Artifact, summaries: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Report on trial: scores on dev and test, and the loss curve of its checkpoint."""
    figures = {"training_seconds": checkpoint.manifest["seconds"], "checkpoint": f"{checkpoint.address}/model"}
    for split, of_split in summaries.items():
        write_score_tables(folder, of_split, prefix=f"{split}_")
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


def write_saturation(folder: Path, collection: str, curve: Saturation, trained: Points, settings: ScoringSettings) -> None:
    """Report on saturation_curve: the points with intervals and the curve, drawn and as a table."""
    examples, gains = trained.examples, trained.gains
    means = gains.mean(axis=1)
    intervals = [mean_interval(row, trained.clusters, settings, (-1, 1)) for row in gains]
    points = {"examples": examples, "gain": means, "low": [low for low, _ in intervals], "high": [high for _, high in intervals]}
    write_table(folder, "saturation", pl.DataFrame(points))
    write_summary(folder, {"verdict": curve.verdict, "limit": round(curve.limit, 4), "queries": gains.shape[1]})
    draw_saturation(folder, collection, curve, examples, means, np.array(intervals))
