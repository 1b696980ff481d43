"""Whether a run has anything to do, told without Dagster, whose import takes longer than to look."""

import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from embed_assets.artifacts.files import fingerprint_of, write_atomically
from embed_assets.artifacts.workspace import Workspace
from embed_assets.graph import needed
from embed_assets.lineage import open_published
from embed_assets.plan import plan_with_results
from embed_assets.production.published_index import PublishedIndex
from embed_assets.production.stages import PUBLISHED_INDEX
from embed_assets.settings import read_settings

DAGSTER_YAML = "dagster.yaml"
# Dagster hears of a run at least so often: the freshness of published_index goes by its runs.
SECONDS_TO_REMEMBER = 24 * 3600.0


def dagster_home(home: Path) -> Path:
    """The folder that runs are recorded in: $DAGSTER_HOME, or else the home."""
    configured = os.environ.get("DAGSTER_HOME")
    return Path(configured).expanduser().resolve() if configured else home


class Settled:
    """What a run of a collection finds in place, and whether one that found the same had nothing to do.

    Args:
        workspace: settings, sources and store.
        collection: name of the collection.
        until: the last stages, as of a run.
    """

    def __init__(self, workspace: Workspace, collection: str, until: Sequence[str]):
        self._workspace, self._collection, self._until = workspace, collection, until
        self._instance = dagster_home(workspace.home) / DAGSTER_YAML
        name = fingerprint_of([collection, sorted(until), str(self._instance)])
        self._record = workspace.home / "settled" / name
        self._before = self._state()

    def holds(self) -> bool:
        """Whether a run of the last day, which Dagster knows of, left everything as it is now."""
        if self._before is None or not self._instance.is_file() or not self._record.is_file():
            return False
        recent = time.time() - self._record.stat().st_mtime < SECONDS_TO_REMEMBER
        return recent and self._record.read_text(encoding="utf-8") == self._before

    def remember(self) -> None:
        """After a run that succeeded: whether the next one has nothing to do.

        What a run does beside its results, to publish, is known to be nothing when it left all as it was.
        """
        if self._before is None and self._index() is not None:
            return
        after = self._state()
        if after is not None and (after == self._before or self._index() is None):
            self._record.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._record, after)

    def _state(self) -> str | None:
        """Hash of the results that are in place and of what is in production; None if a run would compute anything."""
        planned = plan_with_results(self._workspace, self._collection, self._until, priced=False)
        results = {row.stage: artifact.fingerprint for row, artifact in planned if artifact is not None}
        current = {stage: self._workspace.store.pointer(stage, self._collection) for stage in results}
        if len(results) < len(planned) or current != results:
            return None
        if (index := self._index()) is None:
            return fingerprint_of(results)
        pointer = index.pointer()
        return fingerprint_of([results, asdict(pointer), *map(index.metadata, (pointer.current, pointer.withdrawn))])

    def _index(self) -> PublishedIndex | None:
        """Where the run publishes; None if it does not."""
        settings = read_settings(self._workspace, self._collection)
        if PUBLISHED_INDEX not in needed(self._until, settings) or not settings.publishing.uri:
            return None
        return open_published(self._workspace, self._collection).index
