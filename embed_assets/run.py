"""Runs of the asset graph without a server: the same job, instance and events as in the UI."""

import importlib.resources
import logging
import os
import platform
import time
from pathlib import Path

import psutil
from dagster import AssetSelection, DagsterInstance, DagsterRunStatus, RunsFilter

from embed_assets.definitions import defs
from embed_assets.defs.partitions import collections
from embed_assets.defs.stage_asset import GPU_POOL

logger = logging.getLogger(__name__)

DAGSTER_YAML = "dagster.yaml"
PROCESS_TAG = "embed_assets/process"
SECONDS_BETWEEN_LOOKS = 2.0
CLOCK_DRIFT = 5.0  # seconds by which the start of a process may seem to move when the clock is set


def open_instance(home: Path) -> DagsterInstance:
    """The Dagster instance in the home folder; the shipped dagster.yaml is written there the first time."""
    home.mkdir(parents=True, exist_ok=True)
    if not (home / DAGSTER_YAML).exists():
        (home / DAGSTER_YAML).write_text(importlib.resources.files("embed_assets").joinpath(DAGSTER_YAML).read_text())
    os.environ["DAGSTER_HOME"] = str(home)
    return DagsterInstance.get()


def materialize_collection(instance: DagsterInstance, collection: str, until: str | None = None) -> bool:
    """Materialize the assets of one collection, in this process.

    Args:
        instance: where the run, its events and the partition are recorded.
        collection: name of the collection; its partition is registered if it is new.
        until: the last asset, with all that it is made from; everything if None.

    Returns:
        Whether the run succeeded. Errors are logged.
    """
    _wait_for_gpu(instance)
    instance.add_dynamic_partitions(collections.name, [collection])
    selection = AssetSelection.assets(until).upstream() if until else AssetSelection.all()
    keys = selection.resolve(defs.resolve_asset_graph())
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance,
        partition_key=collection,
        asset_selection=sorted(keys),
        raise_on_error=False,
        tags={PROCESS_TAG: _this_process()},
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            cause = error.cause or error
            logger.error("%s: %s failed: %s", collection, event.step_key, cause.message.strip())
    return result.success


def _wait_for_gpu(instance: DagsterInstance) -> None:
    """Wait until no other run holds the gpu pool: Dagster's in-process executor would wait with a busy loop, and say nothing."""
    told: set[str] = set()
    while True:
        _end_dead_runs(instance)
        pool = instance.event_log_storage.get_concurrency_info(GPU_POOL)
        if pool.limit is None or pool.active_slot_count < pool.limit:
            return
        if pool.active_run_ids - told:
            logger.info("waiting for the %s pool, which run %s holds", GPU_POOL, ", ".join(sorted(pool.active_run_ids)))
            told |= pool.active_run_ids
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _end_dead_runs(instance: DagsterInstance) -> None:
    """End the runs of this module whose process was killed, and free their slots of the gpu pool.

    Dagster's run monitoring does that for runs that its daemon launched. Without it, a run would wait for
    ever for a slot that a dead one holds.
    """
    for run in instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED])):
        if PROCESS_TAG in run.tags and not _is_alive(run.tags[PROCESS_TAG]):
            instance.report_run_failed(run, "its process died")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _this_process() -> str:
    """Host, number and start (seconds since 1970): the number alone is used again."""
    process = psutil.Process()
    return f"{platform.node()} {process.pid} {int(process.create_time())}"


def _is_alive(name: str) -> bool:
    host, number, started = name.rsplit(" ", 2)
    if host != platform.node():
        return True
    try:
        return abs(psutil.Process(int(number)).create_time() - int(started)) < CLOCK_DRIFT
    except psutil.NoSuchProcess:
        return False
