"""The report on all collections together."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from embed_assets.artifacts.store import REPORT
from embed_assets.reports.charts import draw_gains
from embed_assets.reports.writing import write_table


def write_overview(folder: Path, scores: pl.DataFrame, states: Sequence[Mapping[str, str]]) -> None:
    """Write report/gains.png with report/gains.md, and report/production.md.

    Args:
        folder: where to.
        scores: one row for each collection and label source: ``collection``, ``labels``, ``queries``, nDCG@10 of the systems,
            ``gain``, ``low``, ``high`` and ``verdict``.
        states: what is in production of each collection, and what is out of date.
    """
    (folder / REPORT).mkdir(exist_ok=True)
    if not scores.is_empty():
        draw_gains(folder, scores)
    write_table(folder, "gains", scores.drop("low", "high"))
    write_table(folder, "production", pl.DataFrame(list(states)))


def overview_figures(scores: pl.DataFrame) -> dict[str, float]:
    """Figures that are plotted over time: how many collections have scores, and their mean gain by each label source."""
    means = scores.group_by("labels").agg(pl.col("gain").mean()).sort("labels")
    figures = {f"mean_gain_{labels.replace('-', '_')}": round(gain, 4) for labels, gain in means.iter_rows()}
    return {"collections_with_scores": scores["collection"].n_unique(), **figures}
