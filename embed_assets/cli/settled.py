"""Whether a run has anything to do, told without Dagster, whose import takes longer than to look."""

import contextlib
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from embed_assets.artifacts.files import fingerprint_of, write_atomically
from embed_assets.artifacts.workspace import Workspace
from embed_assets.lineage import open_published
from embed_assets.plan import plan_with_results, would_publish
from embed_assets.production.stages import PUBLISHED_INDEX

logger = logging.getLogger(__name__)
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

    def holds(self) -> bool:
        """Whether a run of the last day, which Dagster knows of, left everything as it is now."""
        if not self._instance.is_file() or not self._record.is_file():
            return False
        recent = 0 <= time.time() - self._record.stat().st_mtime < SECONDS_TO_REMEMBER
        return recent and self._record.read_text(encoding="utf-8") == self._state()

    def remember(self) -> None:
        """After a run that succeeded: that the next one has nothing to do, if that is so."""
        if (after := self._state()) is None:
            return
        with contextlib.suppress(OSError):  # the next run looks more closely then
            self._record.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._record, after)

    def _state(self) -> str | None:
        """Hash of the results that are in place and of what is in production; None if a run would do anything."""
        try:
            return self._look()
        except Exception as error:  # whatever it is, the run that meets it tells it better
            logger.debug("%s: it is not known whether there is anything to do: %s", self._collection, error)
            return None

    def _look(self) -> str | None:
        planned = plan_with_results(self._workspace, self._collection, self._until, priced=False)
        results = {row.stage: artifact.fingerprint for row, artifact in planned if artifact is not None}
        current = {stage: self._workspace.store.pointer(stage, self._collection) for stage in results}
        if len(results) < len(planned) or current != results:
            return None
        published = open_published(self._workspace, self._collection)
        if PUBLISHED_INDEX.name not in results or not published.settings.uri:
            return fingerprint_of(results)
        # Each run asks the endpoint; and it may have an index to write, although the verdict on it is there.
        if published.settings.endpoint_url or would_publish(self._workspace, self._collection):
            return None
        index = published.index
        pointer = index.pointer()
        return fingerprint_of([results, asdict(pointer), *map(index.metadata, (pointer.current, pointer.withdrawn))])
