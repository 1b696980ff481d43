"""When a change of a production table is worth a run."""

import math
from dataclasses import dataclass, replace

from embed_assets.corpus.production_table import Change
from embed_assets.production.settings import RetrainingSettings


@dataclass(frozen=True)
class Watch:
    """What is remembered of a table from one look to the next; times are in seconds since 1970.

    Args:
        observed: digest of its content at the last look.
        moved: when the content was first seen as it is.
        due: since when the change is large enough; 0 if it is not.
        asked_for: digest of the content for which a run was asked for last.
    """

    observed: str = ""
    moved: float = 0.0
    due: float = 0.0
    asked_for: str = ""


@dataclass(frozen=True)
class Decision:
    """Whether to run, and why or why not, in words."""

    run: bool
    reason: str


def decide(
    watch: Watch, digest: str, change: Change, settings: RetrainingSettings, now: float, busy: bool = False
) -> tuple[Watch, Decision]:
    """Decide whether a change of a table is worth a run now.

    Args:
        watch: what was remembered at the last look.
        digest: content of the table.
        change: how it differs from what the chunks were made of.
        settings: thresholds and waiting times.
        now: the time, in seconds since 1970.
        busy: whether a run of the collection is in progress.

    Returns:
        What to remember, and the decision. A content is asked for once: a failed run is not repeated.
    """
    if watch.observed != digest:
        watch = replace(watch, observed=digest, moved=now)
    if not change.total:
        return replace(watch, due=0.0, asked_for=""), Decision(False, "nothing changed")
    if watch.asked_for == digest:
        return replace(watch, due=0.0), Decision(False, f"{change}: a run was asked for already")
    enough = min(settings.changed_rows, math.ceil(settings.changed_share * change.rows) or 1)
    if change.total < enough:
        return replace(watch, due=0.0), Decision(False, f"{change}: fewer than {enough:,}")
    if busy:
        return replace(watch, due=0.0), Decision(False, f"{change}: waits for the run in progress")
    watch = replace(watch, due=watch.due or now)
    quiet, longest = settings.quiet_minutes * 60, settings.max_wait_minutes * 60
    if now - watch.moved < quiet and now - watch.due < longest:
        return watch, Decision(False, f"{change}: waits until nothing moves for {settings.quiet_minutes:g} minutes")
    return replace(watch, due=0.0, asked_for=digest), Decision(True, str(change))
