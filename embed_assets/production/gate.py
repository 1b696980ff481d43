"""Whether a model is better than the one in production, and why or why not."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from embed_assets.artifacts.store import Artifact
from embed_assets.evaluation.checks import LOOKUPS_ALONE
from embed_assets.evaluation.evaluation_set import LOOKUP, SYNTHETIC
from embed_assets.evaluation.labels import FLATTERY, deciding_source, shows_gain
from embed_assets.evaluation.metrics import HEADLINE
from embed_assets.evaluation.settings import ScoringSettings
from embed_assets.evaluation.statistics import CLUSTER, PairedDifference, holm, paired_difference, paired_scores
from embed_assets.models.sources import BASE_MODEL
from embed_assets.production.settings import PublishingSettings

VERDICT = "verdict.json"
NOT_BETTER = f"{BASE_MODEL}: the fine-tuned one was not shown to be better"


@dataclass(frozen=True)
class Verdict:
    """Whether a candidate may take the place of what is in production, and the reason in words."""

    better: bool
    reason: str


def judge(
    per_query: pl.DataFrame,
    candidate: str,
    baseline: str,
    name: str,
    settings: PublishingSettings,
    scoring: ScoringSettings = ScoringSettings(),
    as_good_will_do: bool = False,
) -> Verdict:
    """Compare a system with what is in production, as people search: the systems are hybrids.

    It has to be better on the label source that decides (deciding_source: the most trusted one with enough queries), beyond
    chance and beyond what written questions flatter (shows_gain). And it may not be significantly worse on another source or
    on the queries of any style, by an exact test for few documents and with Holm's correction for the number of these
    slices. Look-ups alone decide nothing.

    Args:
        per_query: the scores of each query: ``source``, ``style``, ``system``, ``query_id``, the metrics and, where it is
            known, ``cluster``.
        candidate: the system that may be published.
        baseline: the system in production.
        name: what the reason calls it.
        settings: level of significance, size of slices that count.
        scoring: resamples and seed.
        as_good_will_do: it need not be better, as where the same model is only stored otherwise; worse it may not be.
    """
    pairs = paired_scores(per_query, candidate, baseline) if len(per_query) else per_query
    source = deciding_source(dict(pairs.group_by("source").len().iter_rows())) if len(pairs) else None
    if source is None:
        return Verdict(False, "there is no test query: add human labels or documents")
    if source == LOOKUP:
        return Verdict(False, LOOKUPS_ALONE)
    test = _difference(pairs.filter(pl.col("source") == source), scoring)
    significant = test.p_value < settings.significance
    flatters = ""
    if as_good_will_do:
        passed = test.difference >= 0 or not significant
        words = "not significantly worse" if passed else "significantly worse"
    else:
        passed = shows_gain(source, test.difference, test.low, test.p_value, settings.significance)
        words = "significantly better" if passed else "not significantly better"
        if source == SYNTHETIC and significant and test.difference > 0 and not passed:
            words = "better, but by no more than written questions flatter,"
            flatters = f"; the 95% interval begins at {test.low:+.3f} and has to lie above {FLATTERY:+.2f}: add queries of people"
    reason = (
        f"{words} than {name} in hybrid retrieval: "
        f"{test.difference:+.3f} {HEADLINE} on {test.queries} {source} queries about {test.clusters} documents "
        f"(p = {test.p_value:.2g}{flatters})"
    )
    worse = _worse_slices(pairs, source, settings, scoring)
    return Verdict(passed and not worse, "; ".join([reason, *worse]))


def _worse_slices(pairs: pl.DataFrame, decided: str, settings: PublishingSettings, scoring: ScoringSettings) -> list[str]:
    """The other label sources and the query styles on which the candidate is significantly worse, in words."""
    others = pairs.filter(pl.col("source") != decided).group_by("source", maintain_order=True)
    slices = [(f"{source} queries", frame) for (source,), frame in others]
    styles = pairs.filter(pl.col("style") != "").group_by("source", "style", maintain_order=True)
    slices += [(f"{source} queries of the style {style}", frame) for (source, style), frame in styles]
    tests = {words: _difference(frame, scoring) for words, frame in slices if len(frame) >= settings.min_slice_queries}
    p_values = holm({words: test.p_value for words, test in tests.items()})
    return [
        f"significantly worse on {test.queries} {words}: {test.difference:+.3f} {HEADLINE} "
        f"(p = {p_values[words]:.2g}, corrected for {len(tests)} slices)"
        for words, test in tests.items()
        if test.difference < 0 and p_values[words] < settings.significance
    ]


def _difference(pairs: pl.DataFrame, scoring: ScoringSettings) -> PairedDifference:
    return paired_difference(pairs["difference"].to_numpy(), pairs[CLUSTER].to_list(), scoring)


def write_verdict(folder: Path, verdict: Verdict) -> None:
    """Write a verdict into the artifact of published_index."""
    (folder / VERDICT).write_text(json.dumps(asdict(verdict), indent=2, ensure_ascii=False), encoding="utf-8")


def read_verdict(artifact: Artifact) -> Verdict:
    """The verdict that an artifact of published_index holds."""
    return Verdict(**json.loads((artifact.folder / VERDICT).read_text(encoding="utf-8")))
