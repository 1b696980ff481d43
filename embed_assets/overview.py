"""All collections side by side: what fine-tuning gained, what is in production, and what is out of date."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from embed_assets.artifacts.secrets import hide_secrets
from embed_assets.artifacts.store import MissingArtifactError
from embed_assets.artifacts.workspace import Workspace
from embed_assets.evaluation.checks import SIGNIFICANCE, find_test, is_worse
from embed_assets.evaluation.evaluation_set import HUMAN, SYNTHETIC
from embed_assets.evaluation.labels import shows_gain
from embed_assets.evaluation.metrics import HEADLINE
from embed_assets.evaluation.scoring import read_summaries
from embed_assets.lineage import open_published, out_of_date

logger = logging.getLogger(__name__)
GAINS, LOSES, CANNOT_TELL = "gains", "loses", "cannot tell"
SCHEMA = {
    "collection": pl.String,
    "labels": pl.String,
    "queries": pl.Int64,
    "base": pl.Float64,
    "tuned": pl.Float64,
    "bm25": pl.Float64,
    "hybrid_base": pl.Float64,
    "hybrid": pl.Float64,
    "late": pl.Float64,
    "gain": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "verdict": pl.String,
}


def score_overview(workspace: Workspace, collections: Iterable[str]) -> pl.DataFrame:
    """The nDCG@10 of each collection and label source, and what the test of the fine-tuned model against its base says.

    Args:
        workspace: where the artifacts lie.
        collections: their names; those without scores are left out, and those whose scores are damaged are named in the log.

    Returns:
        One row for each collection and label source, in the order of the collections, the most trusted source first:
        ``gain`` is that of ``tuned`` over ``base`` with its 95% interval, and ``verdict`` whether it is significant
        (corrected for the comparisons beside it).
    """
    rows = []
    for collection in collections:
        try:
            artifact = workspace.store.current("beir_scores", collection)
            rows += [_row(collection, summary) for summary in read_summaries(artifact.folder)]
        except MissingArtifactError:
            continue
        except Exception as error:  # one collection must not hide the others
            logger.warning("%s: its scores cannot be read: %s", collection, hide_secrets(error))
    return pl.DataFrame(rows, schema=SCHEMA)


def contradictions(scores: pl.DataFrame) -> list[str]:
    """The collections whose written questions say the opposite of people, both significantly.

    Args:
        scores: from score_overview.
    """
    said = {
        (collection, labels): verdict for collection, labels, verdict in scores.select("collection", "labels", "verdict").rows()
    }
    names = dict.fromkeys(scores["collection"])
    return [name for name in names if {said.get((name, HUMAN)), said.get((name, SYNTHETIC))} == {GAINS, LOSES}]


def in_production(workspace: Workspace, collection: str) -> dict[str, str]:
    """What is in production of a collection and since when, and which stages are out of date; a failed look is told in words."""
    try:
        published = open_published(workspace, collection).describe()
        stale = ", ".join(out_of_date(workspace, collection)) or "nothing"
    except Exception as error:  # one collection must not hide the others
        return {"collection": collection, "in_production_since": hide_secrets(error), "model": "", "out_of_date": ""}
    return {
        "collection": collection,
        "in_production_since": published.get("in_production_since", "not published"),
        "model": published.get("model_in_production", ""),
        "out_of_date": stale,
    }


def _row(collection: str, summary: Mapping[str, Any]) -> dict[str, Any]:
    test = find_test(summary, "tuned", "base")
    gains = shows_gain(summary["labels"], test["difference"], test["low"], test["p_value"], SIGNIFICANCE)
    verdict = GAINS if gains else LOSES if is_worse(test) else CANNOT_TELL
    systems = ("base", "tuned", "bm25", "hybrid_base", "hybrid", "late")
    figures = {name: summary["systems"].get(name, {}).get(HEADLINE) for name in systems}
    about = {"collection": collection, "labels": summary["labels"], "queries": summary["queries"]}
    return about | figures | {"gain": test["difference"], "low": test["low"], "high": test["high"], "verdict": verdict}
