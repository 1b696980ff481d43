"""The graph from a notebook or a script: run a collection, read what was built as Polars frames, search."""

import os
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import polars as pl

from embed_assets.artifacts import workspace as workspaces
from embed_assets.artifacts.workspace import Workspace
from embed_assets.cli.arguments import set_environment
from embed_assets.evaluation.metrics import HEADLINE
from embed_assets.evaluation.scoring import read_summaries
from embed_assets.graph import STAGES
from embed_assets.lineage import open_published
from embed_assets.production.search import Hit, Mode, search_index
from embed_assets.settings import read_settings
from embed_assets.sweep.stages import LEADERBOARD, SATURATION_CURVE, TRIAL

# Dagster hears of a workspace from the environment, and two of its runs in one process wait for each other for good.
_ONE_RUN = threading.Lock()


class RunFailedError(RuntimeError):
    """A run failed; the message says which assets, and why. What was built before is kept."""


def open_workspace(data: str | Path | None = "", home: str | Path | None = "") -> Workspace:
    """The folder of data and the folder of results; by default those that the environment names, as for the command line."""
    return workspaces.open_workspace(str(data or ""), str(home or ""))


def materialize(workspace: Workspace, collection: str, *until: str) -> None:
    """Build the assets of a collection, in this process; what is there already is taken from the store. Threads take turns.

    Args:
        workspace: data and results.
        collection: its name, which is that of its folder.
        until: the last assets, such as ``"beir_scores"``, with all that they are made from; without any, all but the
            optional ones.

    Raises:
        CollectionError, SettingsError: there is no such collection, or its settings are wrong.
        ValueError: an asset of that name does not exist.
        RunFailedError: something could not be built.
    """
    read_settings(workspace, collection)
    _check_assets(until, STAGES)
    from embed_assets.cli.runs import failures_of_collection, open_instance

    with _ONE_RUN, _environment_of(workspace), open_instance(workspace.home) as instance:
        if failures := failures_of_collection(instance, collection, *until):
            raise RunFailedError(f"{collection}: {'; '.join(failures)}")


def read_table(workspace: Workspace, collection: str, asset: str, table: str) -> pl.DataFrame:
    """A table of what an asset of a collection holds now, such as ``"chunks"`` of ``"corpus_chunks"``.

    Raises:
        MissingArtifactError: the asset was never built.
        ValueError: an asset of that name does not exist.
        FileNotFoundError: it has no such table; the message lists those it has.
    """
    _check_assets([asset], (*STAGES, TRIAL.name, LEADERBOARD.name, SATURATION_CURVE.name))
    folder = workspace.store.current(asset, collection).folder
    tables = sorted(path.stem for path in folder.glob("*.parquet"))
    if table not in tables:
        raise FileNotFoundError(f"{asset} of {collection} has no table {table!r}, only {', '.join(tables) or 'none'}")
    return pl.read_parquet(folder / f"{table}.parquet")


def read_scores(workspace: Workspace, collection: str, asset: str = "beir_scores") -> pl.DataFrame:
    """The scores of a collection: one row for each label source and system, such as ``tuned`` on ``human`` queries.

    Args:
        workspace: data and results.
        collection: its name.
        asset: ``beir_scores`` or ``reranker_scores``.

    Returns:
        ``labels``, ``queries``, ``documents``, ``system``, a column for each metric, and ``low`` and ``high``, the 95%
        interval of nDCG@10. No row where there was nothing to score.

    Raises:
        MissingArtifactError: the scores were never built.
        ValueError: the asset has no scores.
    """
    _check_assets([asset], ("beir_scores", "reranker_scores"))
    rows = [
        {
            "labels": summary["labels"],
            "queries": summary["queries"],
            "documents": summary["documents"],
            "system": system,
            **metrics,
            "low": summary["intervals"][system][0],
            "high": summary["intervals"][system][1],
        }
        for summary in read_summaries(workspace.store.current(asset, collection).folder)
        for system, metrics in summary["systems"].items()
    ]
    return pl.DataFrame(rows, schema_overrides={HEADLINE: pl.Float64} if rows else None)


def search(workspace: Workspace, collection: str, query: str, mode: Mode = "hybrid", limit: int = 10) -> pl.DataFrame:
    """Search the published index of a collection, as ``search_index`` does.

    Returns:
        ``chunk_id``, ``document_id``, ``score`` and ``text``, best first.

    Raises:
        ValueError: there is no such mode, or the limit is below 1.
        PublishingError: nothing is published.
        MissingArtifactError: the model of the index is not in the store, or no re-ranker was trained.
    """
    settings, published = read_settings(workspace, collection), open_published(workspace, collection)
    hits = search_index(published, query, settings.late_interaction, settings.reranking, mode, limit)
    return pl.DataFrame([asdict(hit) for hit in hits], schema=list(Hit.__dataclass_fields__))


def _check_assets(names: Iterable[object], known: Collection[str]) -> None:
    if unknown := [str(name) for name in names if not isinstance(name, str) or name not in known]:
        raise ValueError(f"no asset is called {', '.join(unknown)}; there are {', '.join(known)}")


@contextmanager
def _environment_of(workspace: Workspace) -> Iterator[None]:
    """The assets find their folders in the environment, which is then as it was."""
    before = {name: os.environ.get(name) for name in ("EMBED_ASSETS_HOME", "EMBED_ASSETS_DATA")}
    set_environment(workspace)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
