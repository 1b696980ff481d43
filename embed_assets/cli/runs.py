"""Runs of the asset graph without a server: the same job, instance and events as in the UI."""

import errno
import importlib.resources
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from dagster import AssetSelection, DagsterEvent, DagsterEventType, DagsterInstance, MultiPartitionKey, execute_job
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.events import RunFailureReason
from sqlalchemy.exc import OperationalError

from embed_assets.artifacts.files import lock, write_atomically
from embed_assets.cli.arguments import log_to_stderr
from embed_assets.cli.settled import DAGSTER_YAML, dagster_home
from embed_assets.definitions import defs
from embed_assets.defs.executor import EXECUTIONS, IN_PROCESS, LOCAL, execution
from embed_assets.defs.failures import failure_notice, reason_of, tell
from embed_assets.defs.names import select
from embed_assets.defs.partitions import COLLECTION, TRIALS
from embed_assets.defs.pools import GPU_POOL, gpu_slots, wait_for_gpu
from embed_assets.defs.resources import GPU, WorkspaceResource, options_of_environment
from embed_assets.plan import stages_of_run
from embed_assets.sweep.stages import TRIAL

logger = logging.getLogger(__name__)
# For a run that is interrupted to tell so.
SECONDS_TO_END = 30.0


def open_instance(home: Path) -> DagsterInstance:
    """The Dagster instance that runs are recorded in: that of $DAGSTER_HOME, as it is configured there.

    Without $DAGSTER_HOME it lies in the home folder. Only there, or where $DAGSTER_HOME names no folder yet, is the
    shipped dagster.yaml written.

    Raises:
        OSError: the folder, or a database in it, cannot be used.
    """
    folder = dagster_home(home)
    home.mkdir(parents=True, exist_ok=True)
    # Two commands must not create Dagster's databases at once, wherever these lie.
    with lock(home / "dagster.lock"):
        own = not os.environ.get("DAGSTER_HOME") or not folder.exists() or folder == home.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        if own and not (folder / DAGSTER_YAML).exists():
            write_atomically(folder / DAGSTER_YAML, importlib.resources.files("embed_assets").joinpath(DAGSTER_YAML).read_text())
        try:
            return DagsterInstance.from_config(str(folder))
        except OperationalError as error:
            raise OSError(errno.EIO, f"Dagster's databases there cannot be used ({error.orig})", str(folder)) from None


def materialize_collection(instance: DagsterInstance, collection: str, *until: str) -> bool:
    """As failures_of_collection; returns whether the run succeeded."""
    return not failures_of_collection(instance, collection, *until)


def failures_of_collection(instance: DagsterInstance, collection: str, *until: str) -> list[str]:
    """Materialize the assets of one collection, in this process.

    Args:
        instance: where the run, its events and the partition are recorded.
        collection: name of the collection; its partition is registered if it is new.
        until: the last assets, with all that they are made from; without any, all assets but the optional ones.

    Returns:
        What failed, and why; nothing, if the run succeeded. It is logged as well.
    """
    _register(instance, COLLECTION, collection)
    stages = stages_of_run(WorkspaceResource().open(), collection, until)
    return _materialize(instance, select(*(stage.name for stage in stages)), collection)


def materialize_trial(instance: DagsterInstance, collection: str, name: str) -> bool:
    """Materialize one trial of a collection, as materialize_collection does."""
    _register(instance, COLLECTION, collection)
    _register(instance, TRIALS, name)
    partition = MultiPartitionKey({"collection": collection, "trial": name})
    return not _materialize(instance, select(TRIAL.name), partition)


def materialize_trials(
    instance: DagsterInstance, home: Path, collection: str, names: Sequence[str], tell: Callable[[int, str], None]
) -> dict[str, bool]:
    """Materialize trials, as many at once as the pool gpu has slots, each then in a process of its own.

    Args:
        instance: as in materialize_collection.
        home: of the instance, as in open_instance.
        collection: name of the collection.
        names: of the trials.
        tell: is told the place of each trial and its name, when it is begun or handed to a process.

    Returns:
        Whether each succeeded.
    """
    at_once = min(gpu_slots(instance), len(names))
    if at_once < 2:
        done = {}
        for number, name in enumerate(names):
            tell(number, name)
            done[name] = materialize_trial(instance, collection, name)
        return done
    logger.info("%d trials, %d at once, which the pool %s has slots for", len(names), at_once, GPU_POOL)
    with processes_of_trials(at_once) as processes:
        try:
            asked = {name: processes.submit(_trial_in_a_process, home, collection, name) for name in names}
            for number, name in enumerate(names):
                tell(number, name)
            return {name: _succeeded(name, result) for name, result in asked.items()}
        except BaseException:
            processes.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def _succeeded(name: str, result: "Future[bool]") -> bool:
    try:
        return result.result()
    except BrokenProcessPool:  # it was killed, such as for the memory that it took, and the others end with it
        logger.error("the trial %s did not finish: a process of trials was killed", name)
        return False


def processes_of_trials(count: int) -> ProcessPoolExecutor:
    """Processes that log as the command does, and end with it."""
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), initializer=_begin_trials)


def _begin_trials() -> None:
    log_to_stderr()
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)  # which a run takes as an interrupt
        time.sleep(SECONDS_TO_END)
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()


def _trial_in_a_process(home: Path, collection: str, name: str) -> bool:
    with open_instance(home) as instance:
        return materialize_trial(instance, collection, name)


def compare_trials(instance: DagsterInstance, collection: str, asset: str) -> bool:
    """Materialize the leaderboard or the saturation curve of a collection, as materialize_collection does."""
    return not _materialize(instance, select(asset), collection)


def _materialize(instance: DagsterInstance, selection: AssetSelection, partition: str) -> list[str]:
    wait_for_gpu(instance, WorkspaceResource().open().home)
    keys = sorted(selection.resolve(defs.resolve_asset_graph()))
    job = defs.resolve_implicit_global_asset_job_def()  # the one that the UI runs where assets are materialized
    result = execute_job(
        ReconstructableRepository.for_module("embed_assets.definitions", "defs").get_reconstructable_job(job.name),
        instance,
        run_config={
            **(IN_PROCESS if execution() == EXECUTIONS[LOCAL] else {"execution": {"config": execution()}}),
            "resources": {GPU: {"config": options_of_environment()}},
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        },
        tags=job.get_tags_for_partition_key(partition, keys),
        asset_selection=keys,
    )
    if result.success:
        return []
    if _was_interrupted(result.all_events[-1]):
        logger.warning("%s: interrupted; what was built is kept, and a new run goes on from there", partition)
        raise KeyboardInterrupt
    events = [event for event in result.all_events if event.is_step_failure]
    tell(failure_notice(result.dagster_run, events, "the run failed"))  # the sensor hears only of runs of a code location
    reasons = [f"{event.step_key} failed: {reason_of(event)}" for event in events]
    for reason in reasons:
        logger.error("%s: %s", partition, reason)
    return reasons or ["the run failed"]


def _was_interrupted(last: DagsterEvent) -> bool:
    """Whether a run ended with this event because somebody, or the machine, ended it."""
    if last.event_type == DagsterEventType.RUN_CANCELED:
        return True
    reason = last.job_failure_data.failure_reason if last.event_type == DagsterEventType.RUN_FAILURE else None
    return reason == RunFailureReason.UNEXPECTED_TERMINATION


def _register(instance: DagsterInstance, partitions: str, key: str) -> None:
    """Add a partition, unless it is there; another command may add it at the same moment."""
    try:
        instance.add_dynamic_partitions(partitions, [key])
    except Exception:  # which one depends on the database
        if not instance.has_dynamic_partition(partitions, key):
            raise
