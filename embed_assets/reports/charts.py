"""The charts of the reports, as PNG files in the report/ folder of an artifact."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from embed_assets.artifacts.store import REPORT
from embed_assets.evaluation.metrics import HEADLINE
from embed_assets.sweep.leaderboard import BEST, NOISE, WORSE, Leaderboard
from embed_assets.sweep.saturation import Saturation
from embed_assets.training.evaluator import DEV_METRIC
from embed_assets.training.merging import chosen_merge

_COLORS = ("#9aa5b1", "#2a6f97", "#e0a458", "#c8553d", "#588b5b", "#7d5ba6", "#4a5560", "#c9b27c", "#5fb3b3", "#d98ca6")
_DROP_COLORS = ("#d9dee3", "#b8c0c8", "#e0a458", "#7d8b99", "#c8553d", "#588b5b", "#7d5ba6", "#4a5560", "#c9b27c", "#a3c4bc")
_VERDICT_COLORS = {BEST: "#2a6f97", NOISE: "#e0a458", WORSE: "#c8553d"}


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


def draw_merges(folder: Path, merges: pl.DataFrame) -> None:
    """Draw nDCG@10 on dev against the share of the fine-tuned weights in the average, to report/merges.png."""
    figure, axes = _figure(5, 3)
    axes.plot(merges["merge"], merges[DEV_METRIC], color="#2a6f97", marker="o")
    best = chosen_merge(merges)
    axes.axvline(best, color="#e0a458", linestyle="--", linewidth=1, label=f"chosen: {best:g}")
    axes.set_xlabel("share of the fine-tuned weights (0 is the base model)")
    axes.set_ylabel(f"{HEADLINE}, dev")
    axes.legend(frameon=False)
    _save(figure, folder / REPORT / "merges.png")


def draw_gains(folder: Path, scores: pl.DataFrame) -> None:
    """Draw the gain of fine-tuning in each collection by each label source, with intervals, to report/gains.png."""
    collections, sources = list(dict.fromkeys(scores["collection"])), list(dict.fromkeys(scores["labels"]))
    figure, axes = _figure(7, 1.2 + 0.5 * len(collections))
    for number, source in enumerate(sources):
        of_source = scores.filter(pl.col("labels") == source)
        gains, low, high = (of_source[name].to_numpy() for name in ("gain", "low", "high"))
        rows = [collections.index(name) + 0.16 * (number - (len(sources) - 1) / 2) for name in of_source["collection"]]
        axes.errorbar(gains, rows, xerr=_errors(gains, low, high), fmt="o", color=_COLORS[number + 1], label=source, markersize=5)
    axes.axvline(0, color="#4a5560", linewidth=0.8)
    axes.set_yticks(range(len(collections)), [textwrap.shorten(name, 40, placeholder="…") for name in collections])
    axes.invert_yaxis()
    axes.set_xlabel(f"gain of {HEADLINE} by fine-tuning, 95%")
    axes.legend(frameon=False, fontsize=8, ncols=len(sources), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    _save(figure, folder / REPORT / "gains.png")


def draw_scores(folder: Path, summary: Mapping[str, Any]) -> None:
    """Draw one group of bars for each metric to report/<labels>_queries.png, the value above each bar."""
    systems, metrics = list(summary["systems"]), ("ndcg@1", "ndcg@10", "recall@10", "map@10")
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


def draw_dimensions(folder: Path, summary: Mapping[str, Any]) -> None:
    """Draw nDCG@10 against the bytes of a vector to report/dimensions.png, where shortened vectors were scored."""
    sizes = {name: 4 * count for name, count in summary["dimensions"].items() if name.startswith("tuned")}
    if len(sizes) < 2:
        return
    points = sorted((size, summary["systems"][name][HEADLINE], summary["intervals"][name]) for name, size in sizes.items())
    bytes_, values, intervals = (np.array(column) for column in zip(*points, strict=True))
    figure, axes = _figure(6, 3.2)
    axes.errorbar(bytes_, values, yerr=_errors(values, *intervals.T), fmt="o-", color="#2a6f97", label="tuned")
    axes.axhline(summary["systems"]["base"][HEADLINE], color="#9aa5b1", linestyle="--", linewidth=1, label="base, whole vectors")
    axes.set_xscale("log", base=2)
    axes.set_xticks(bytes_, [f"{size:,}" for size in bytes_])
    axes.set_xlabel("bytes of a vector (float32)")
    axes.set_ylabel(HEADLINE)
    axes.set_title(f"{summary['collection']}, {summary['queries']} {summary['labels']} queries", fontsize=10, loc="left")
    axes.legend(frameon=False, loc="lower right")
    _save(figure, folder / REPORT / "dimensions.png")


def draw_leaderboard(folder: Path, collection: str, leaderboard: Leaderboard) -> None:
    """Draw the trials with intervals, by dev queries and by what the test queries have gained, to report/leaderboard.png."""
    table = leaderboard.table
    columns = [("dev", f"{HEADLINE}, dev")] + ([("gain", f"gain of {HEADLINE}, test")] if "gain" in table.columns else [])
    figure, *axes = _figure(4 + 3 * len(columns), 1.3 + 0.32 * len(table), len(columns))
    for panel, (column, label) in zip(axes, columns, strict=True):
        panel.set_xlabel(label)
        rows = range(len(table))
        errors = _errors(*(table[name].to_numpy() for name in (column, f"{column}_low", f"{column}_high")))
        colors = [_VERDICT_COLORS[verdict] for verdict in table["verdict"]]
        panel.errorbar(table[column], rows, xerr=errors, fmt="none", ecolor="#b8c0c8", zorder=1)
        panel.scatter(table[column], rows, color=colors, zorder=2)
        panel.set_ylim(len(table) - 0.5, -0.5)
        panel.set_yticks(rows, table["trial"] if panel is axes[0] else [""] * len(table), fontsize=8)
    if len(columns) > 1:
        axes[1].axvline(0, color="#4a5560", linewidth=0.8)
    for verdict, color in _VERDICT_COLORS.items():
        axes[0].scatter([], [], color=color, label=verdict)
    figure.legend(frameon=False, fontsize=8, ncols=3, loc="outside lower center")
    figure.suptitle(f"{collection}: {leaderboard.queries}", fontsize=10)
    _save(figure, folder / REPORT / "leaderboard.png")


def draw_saturation(
    folder: Path, collection: str, curve: Saturation, examples: np.ndarray, gains: np.ndarray, intervals: np.ndarray
) -> None:
    """Draw gain against training size, and the curve through it, to report/saturation.png.

    Args:
        folder: of the artifact.
        collection: its name.
        curve: the fitted curve.
        examples, gains: the points, shape (trials,).
        intervals: low and high end of each gain's interval, shape (trials, 2).
    """
    figure, axes = _figure(7, 3.6)
    most = int(examples.max())
    axes.errorbar(examples, gains, yerr=_errors(gains, *intervals.T), fmt="o", color="#2a6f97", label="trials, 95%")
    for sizes, style in ((np.linspace(0, most, 100), "-"), (np.linspace(most, 2 * most, 100), "--")):
        axes.plot(sizes, curve.gain(sizes), color="#2a6f97", linewidth=1, linestyle=style)
    errors = _errors(np.array([curve.added]), curve.added_low, curve.added_high)
    reached = curve.gain(np.array([most]))
    axes.errorbar([2 * most], reached + curve.added, yerr=errors, fmt="s", color="#e0a458", label="twice the data, 95%")
    axes.axhline(0, color="#4a5560", linewidth=0.8)
    axes.set_xlabel("training examples")
    axes.set_ylabel(f"gain of {HEADLINE}")
    axes.set_title(textwrap.fill(f"{collection}: {curve.verdict}", 90), fontsize=9, loc="left")
    axes.legend(frameon=False, fontsize=8)
    _save(figure, folder / REPORT / "saturation.png")


def draw_storage(path: Path, collection: str, table: pl.DataFrame) -> None:
    """Draw nDCG@10 against the bytes of a chunk, as benchmark_token_storage and benchmark_vector_storage give them.

    Rows whose ``storage`` begins with the same words, up to a comma, are a line; one without bytes is a line across.
    """
    figure, axes = _figure(7, 3.6)
    stored = table.filter(pl.col("bytes") > 0)
    kinds = stored["storage"].str.split(",").list.first()
    for number, kind in enumerate(kinds.unique(maintain_order=True)):
        of_kind = stored.filter(kinds == kind)
        axes.plot(of_kind["bytes"], of_kind[HEADLINE], marker="o", linewidth=1, color=_COLORS[number], label=kind)
    for row in table.filter(pl.col("bytes") == 0).iter_rows(named=True):
        axes.axhline(row[HEADLINE], color="#4a5560", linestyle="--", linewidth=0.8, label=row["storage"])
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("bytes of a chunk")
    axes.set_ylabel(HEADLINE)
    axes.set_title(collection, fontsize=10, loc="left")
    axes.legend(frameon=False, fontsize=8)
    _save(figure, path)


def draw_growth(path: Path, title: str, table: pl.DataFrame) -> None:
    """Draw the processor time and the memory of mining against the number of chunks, as benchmark_mining gives them."""
    figure, *panels = _figure(8, 3.4, 2)
    shown: tuple[tuple[str, str, dict[str, Any]], ...] = (  # a log scale of less than a decade has one label
        ("cpu_seconds", "seconds of all cores", {"yscale": "log"}),
        ("memory_of_mining_mb", "memory of mining, MB", {"ylim": (0, None)}),
    )
    for axes, (column, label, scale) in zip(panels, shown, strict=True):
        for number, system in enumerate(table["system"].unique(maintain_order=True)):
            rows = table.filter(pl.col("system") == system).sort("chunks")
            axes.plot(rows["chunks"], rows[column], marker="o", linewidth=1, color=_COLORS[number], label=system)
        axes.set(xscale="log", xlabel="chunks", ylabel=label, **scale)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:,.0f}")
    panels[0].set_title(title, fontsize=10, loc="left")
    panels[0].legend(frameon=False, fontsize=8)
    _save(figure, path)


def _errors(values: np.ndarray, low: np.ndarray | float, high: np.ndarray | float) -> np.ndarray:
    """Intervals as matplotlib takes them, shape (2, values); a percentile interval need not hold its mean."""
    return np.maximum(0, np.stack([values - low, high - values]))


def _figure(width: float, height: float, panels: int = 1):
    """A figure that needs no display and leaves matplotlib's global state alone, and its panels side by side."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(1, panels, panel + 1) for panel in range(panels)]
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
    return figure, *axes


def _save(figure, path: Path) -> None:
    figure.savefig(path)
