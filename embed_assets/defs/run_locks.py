"""Runs whose process was killed, which would hold their slot of the gpu pool for ever.

Dagster's code server ends such runs, but only its own ones, and only while it lives: nobody ends those of a
server that was killed, as by a power cut, nor those of the command line. So a run holds a lock file in the home
folder for as long as a process executes it. The kernel frees the lock of a process that died, whatever its host,
user, container or clock.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dagster import DagsterInstance, DagsterRunStatus, DefaultSensorStatus, SensorEvaluationContext, SkipReason, sensor

from embed_assets.artifacts.files import is_locked, lock, unused_name
from embed_assets.defs.resources import WorkspaceResource

LOCK = ".lock"
IN_PROGRESS = (DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING)


@sensor(
    minimum_interval_seconds=30,
    default_status=DefaultSensorStatus.RUNNING,
    description="Ends runs whose process was killed, so that the next one gets their slot of the gpu pool.",
)
def watch_runs(context: SensorEvaluationContext, workspace: WorkspaceResource) -> SkipReason:
    """Ends runs whose process was killed, so that the next one gets their slot of the gpu pool."""
    return SkipReason(f"ended: {', '.join(end_dead_runs(context.instance, workspace.open().home)) or 'none'}")


@contextmanager
def hold_run(home: Path, run_id: str) -> Iterator[None]:
    """Hold the lock file of a run, which says that a process executes it.

    The file gets its name when it is locked and loses it before it is free: nobody sees a free one of a run that lives. After an
    error it stays, free: on a full disk the run could not record that it ended, and would keep its slot.
    """
    path = _runs(home) / f"{run_id}{LOCK}"
    path.parent.mkdir(parents=True, exist_ok=True)
    nameless = unused_name(path)
    try:
        with lock(nameless):
            nameless.rename(path)
            yield
            path.unlink(missing_ok=True)
    finally:
        nameless.unlink(missing_ok=True)


def end_dead_runs(instance: DagsterInstance, home: Path) -> list[str]:
    """End the runs in progress whose lock file is free, and free the slots of pools that no run in progress holds.

    A run in progress without a lock file is left alone: its process has not begun, or belongs to another home. One that has
    ended may have been interrupted before it gave its slot back, which Dagster sees to only where its daemon runs.

    Returns:
        The ids of the runs that were ended, sorted.
    """
    ended = []
    storage = instance.event_log_storage
    for path in sorted(_runs(home).glob(f"*{LOCK}")):
        run = instance.get_run_by_id(path.name.removesuffix(LOCK))
        if run is None or is_locked(path) or not path.exists():
            continue
        if run.status in IN_PROGRESS:
            instance.report_run_failed(run, "its process died")
            ended.append(run.run_id)
        storage.free_concurrency_slots_for_run(run.run_id)
        path.unlink(missing_ok=True)
    pools = map(storage.get_concurrency_info, storage.get_concurrency_keys())
    for holder in {slot.run_id for pool in pools for slot in pool.claimed_slots}:
        run = instance.get_run_by_id(holder)
        if run is not None and run.is_finished and not is_locked(_runs(home) / f"{holder}{LOCK}"):  # nothing of it is at work
            storage.free_concurrency_slots_for_run(holder)
    return ended


def _runs(home: Path) -> Path:
    return home / "runs"
