"""Runs of the asset graph without a server: the same job, instance and events as in the UI."""

import importlib.resources
import logging
import os
import time
from pathlib import Path

from dagster import AssetSelection, DagsterInstance, MultiPartitionKey, execute_job
from dagster._core.definitions.reconstruct import ReconstructableRepository

from embed_assets.artifacts.files import lock, write_atomically
from embed_assets.definitions import defs
from embed_assets.defs.dead_runs import end_dead_runs
from embed_assets.defs.executor import IN_PROCESS
from embed_assets.defs.failures import failure_notice, reason_of, tell
from embed_assets.defs.partitions import COLLECTION, TRIALS
from embed_assets.defs.resources import WorkspaceResource
from embed_assets.defs.run_collection import EVERYTHING
from embed_assets.defs.stage_asset import GPU_POOL
from embed_assets.sweep.stages import TRIAL

logger = logging.getLogger(__name__)
DAGSTER_YAML = "dagster.yaml"
SECONDS_BETWEEN_LOOKS = 2.0


def open_instance(home: Path) -> DagsterInstance:
    """The Dagster instance that runs are recorded in: that of $DAGSTER_HOME, as it is configured there.

    Without $DAGSTER_HOME it lies in the home folder. Only there, or where $DAGSTER_HOME names no folder yet, is the
    shipped dagster.yaml written.
    """
    configured = os.environ.get("DAGSTER_HOME")
    folder = Path(configured).expanduser().resolve() if configured else home
    if configured and folder.exists():
        return DagsterInstance.from_config(str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    with lock(folder / "dagster.lock"):  # two commands must not create Dagster's databases at once
        if not (folder / DAGSTER_YAML).exists():
            write_atomically(folder / DAGSTER_YAML, importlib.resources.files("embed_assets").joinpath(DAGSTER_YAML).read_text())
        return DagsterInstance.from_config(str(folder))


def materialize_collection(instance: DagsterInstance, collection: str, *until: str) -> bool:
    """Materialize the assets of one collection, in this process.

    Args:
        instance: where the run, its events and the partition are recorded.
        collection: name of the collection; its partition is registered if it is new.
        until: the last assets, with all that they are made from; without any, all assets but the optional ones.

    Returns:
        Whether the run succeeded. Errors are logged.
    """
    _register(instance, COLLECTION, collection)
    selection = AssetSelection.assets(*until).upstream() if until else EVERYTHING
    return _materialize(instance, selection, collection)


def materialize_trial(instance: DagsterInstance, collection: str, name: str) -> bool:
    """Materialize one trial of a collection, as materialize_collection does."""
    _register(instance, COLLECTION, collection)
    _register(instance, TRIALS, name)
    return _materialize(instance, AssetSelection.assets(TRIAL.name), MultiPartitionKey({"collection": collection, "trial": name}))


def compare_trials(instance: DagsterInstance, collection: str, asset: str) -> bool:
    """Materialize the leaderboard or the saturation curve of a collection, as materialize_collection does."""
    return _materialize(instance, AssetSelection.assets(asset), collection)


def _materialize(instance: DagsterInstance, selection: AssetSelection, partition: str) -> bool:
    _wait_for_gpu(instance)
    keys = sorted(selection.resolve(defs.resolve_asset_graph()))
    job = defs.resolve_implicit_global_asset_job_def()  # the one that the UI runs where assets are materialized
    result = execute_job(
        ReconstructableRepository.for_module("embed_assets.definitions", "defs").get_reconstructable_job(job.name),
        instance,
        run_config={**IN_PROCESS, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        tags=job.get_tags_for_partition_key(partition, keys),
        asset_selection=keys,
    )
    failures = [event for event in result.all_events if event.is_step_failure]
    for event in failures:
        logger.error("%s: %s failed: %s", partition, event.step_key, reason_of(event))
    if not result.success:  # the sensor hears only of runs that a code location started
        tell(failure_notice(result.dagster_run, failures, "the run failed"))
    return result.success


def _register(instance: DagsterInstance, partitions: str, key: str) -> None:
    """Add a partition, unless it is there; another command may add it at the same moment."""
    try:
        instance.add_dynamic_partitions(partitions, [key])
    except Exception:  # which one depends on the database
        if not instance.has_dynamic_partition(partitions, key):
            raise


def _wait_for_gpu(instance: DagsterInstance) -> None:
    """Wait until no other run holds the gpu pool: Dagster's in-process executor would wait with a busy loop, and say nothing."""
    told: set[str] = set()
    home = WorkspaceResource().open().home
    while True:
        end_dead_runs(instance, home)
        pool = instance.event_log_storage.get_concurrency_info(GPU_POOL)
        if pool.limit is None or pool.active_slot_count < pool.limit:
            return
        if pool.active_run_ids - told:
            logger.info("waiting for the %s pool, which run %s holds", GPU_POOL, ", ".join(sorted(pool.active_run_ids)))
            told |= pool.active_run_ids
        time.sleep(SECONDS_BETWEEN_LOOKS)
