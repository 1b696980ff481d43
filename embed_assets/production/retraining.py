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
        asked_moved: what ``moved`` was at that time.
        tries: how many runs were asked for, one after the other, since the last one that did not fail.
    """

    observed: str = ""
    moved: float = 0.0
    due: float = 0.0
    asked_for: str = ""
    asked_moved: float = 0.0
    tries: int = 0

    @property
    def request(self) -> str:
        """What tells the run that was asked for last from those before; empty if there is none.

        The same content may come back: the time tells this change from an earlier one to the same content.
        """
        return f"{self.asked_for} {self.asked_moved:.0f} {self.tries}" if self.asked_for else ""


@dataclass(frozen=True)
class Decision:
    """Whether to run, and why or why not, in words."""

    run: bool
    reason: str


def decide(
    watch: Watch,
    digest: str,
    change: Change,
    settings: RetrainingSettings,
    now: float,
    busy: bool = False,
    failed_at: float | None = None,
) -> tuple[Watch, Decision]:
    """Decide whether a change of a table is worth a run now.

    Args:
        watch: what was remembered at the last look.
        digest: content of the table.
        change: how it differs from what the chunks were made of.
        settings: thresholds and waiting times.
        now: the time, in seconds since 1970.
        busy: whether a run of the collection is in progress.
        failed_at: when the run that was asked for last failed, in seconds since 1970; None if it did not.

    Returns:
        What to remember, and the decision. A content is asked for once, unless its run fails.
    """
    # A clock that ran ahead, and was set right since, must not be waited for.
    watch = replace(watch, moved=min(watch.moved, now), due=min(watch.due, now))
    failed_at = None if failed_at is None else min(failed_at, now)
    if watch.observed != digest:
        watch = replace(watch, observed=digest, moved=now)
    failed = bool(watch.asked_for) and failed_at is not None
    if not change.total and not failed:
        # In the middle of its run the chunks are new already, and the run may still fail.
        forgotten = replace(watch, due=0.0) if busy else replace(watch, due=0.0, asked_for="", tries=0)
        return forgotten, Decision(False, "nothing changed")
    if watch.asked_for == digest and not failed:
        return replace(watch, due=0.0), Decision(False, f"{change}: a run was asked for already")
    enough = min(settings.changed_rows, math.ceil(settings.changed_share * change.rows) or 1)
    if busy and (failed or change.total >= enough):
        return replace(watch, due=0.0), Decision(False, f"{change}: waits for the run in progress")
    if failed_at is not None and failed and (watch.asked_for == digest or change.total < enough):
        return _try_again(watch, digest, change, settings, now, failed_at)
    if change.total < enough:
        return replace(watch, due=0.0), Decision(False, f"{change}: fewer than {enough:,}")
    watch = replace(watch, due=watch.due or now)
    quiet, longest = settings.quiet_minutes * 60, settings.max_wait_minutes * 60
    if now - watch.moved < quiet and now - watch.due < longest:
        return watch, Decision(False, f"{change}: waits until nothing moves for {settings.quiet_minutes:g} minutes")
    return _ask(watch, digest, 1), Decision(True, str(change))


def _try_again(
    watch: Watch, digest: str, change: Change, settings: RetrainingSettings, now: float, failed_at: float
) -> tuple[Watch, Decision]:
    """Ask for another run in place of one that failed; chunks that were made before the failure hide the change."""
    watch = replace(watch, due=0.0)
    if watch.tries >= settings.max_tries:
        reason = f"{watch.tries} runs failed: mend what they name, then materialize the collection by hand"
        return watch, Decision(False, f"{change}: {reason}")
    wait = settings.retry_minutes * 60 * 2 ** (watch.tries - 1) - (now - failed_at)
    if wait > 0:
        return watch, Decision(False, f"{change}: its run failed, tried again in {math.ceil(wait / 60)} minutes")
    words = f"{change}: try {watch.tries + 1} of {settings.max_tries}, the run before failed"
    return _ask(watch, digest, watch.tries + 1), Decision(True, words)


def _ask(watch: Watch, digest: str, tries: int) -> Watch:
    return replace(watch, due=0.0, asked_for=digest, asked_moved=watch.moved, tries=tries)
