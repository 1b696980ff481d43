"""Whether a model is better than the one in production, and why or why not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from embed_assets.evaluation.metrics import HEADLINE
from embed_assets.evaluation.statistics import paired_p_value
from embed_assets.production.settings import PublishingSettings


@dataclass(frozen=True)
class Verdict:
    """Whether a candidate may take the place of what is in production, and the reason in words."""

    better: bool
    reason: str


def judge(
    summaries: Sequence[Mapping[str, Any]], per_query: pl.DataFrame, baseline: str, name: str, settings: PublishingSettings
) -> Verdict:
    """Compare the fine-tuned model with what is in production.

    It has to be significantly better on the first label source (human labels where there are any), and may not be
    significantly worse on another source or on the queries of any style.

    Args:
        summaries: of the scores, each with a test of ``tuned`` against the baseline.
        per_query: the scores of each query: ``source``, ``style``, ``system``, ``query_id`` and the metrics.
        baseline: the system in production.
        name: what the reason calls it.
        settings: level of significance, size of slices that count.
    """
    if not summaries:
        return Verdict(False, "there is no test query: add human labels or documents")
    summary = summaries[0]
    test = next(test for test in summary["tests"] if (test["system"], test["baseline"]) == ("tuned", baseline))
    better = test["difference"] > 0 and test["p_value"] < settings.significance
    reason = (
        f"{'significantly better' if better else 'not significantly better'} than {name}: {test['difference']:+.3f} {HEADLINE} "
        f"on {summary['queries']} {summary['labels']} queries (p = {test['p_value']:.2g})"
    )
    worse = _worse_slices(per_query, baseline, settings)
    return Verdict(better and not worse, "; ".join([reason, *worse]))


def _worse_slices(per_query: pl.DataFrame, baseline: str, settings: PublishingSettings) -> list[str]:
    """The label sources and query styles on which the tuned model is significantly worse, in words."""
    of = {system: per_query.filter(pl.col("system") == system) for system in ("tuned", baseline)}
    pairs = of["tuned"].join(of[baseline], on=["source", "query_id"], suffix="_before")
    pairs = pairs.select("source", "style", difference=pl.col(HEADLINE) - pl.col(f"{HEADLINE}_before"))
    slices = [((source, "all"), frame) for (source,), frame in pairs.group_by("source", maintain_order=True)]
    slices += list(pairs.filter(pl.col("style") != "").group_by("source", "style", maintain_order=True))
    worse = []
    for (source, style), frame in slices:
        differences = frame["difference"].to_numpy()
        mean = float(differences.mean())
        if len(differences) < settings.min_slice_queries or mean >= 0:
            continue
        p_value = paired_p_value(differences)
        if p_value < settings.significance:
            queries = f"{len(differences)} {source} queries" + (f" of the style {style}" if style != "all" else "")
            worse.append(f"significantly worse on {queries}: {mean:+.3f} {HEADLINE} (p = {p_value:.2g})")
    return worse
