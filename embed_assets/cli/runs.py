"""Runs of the asset graph without a server: the same job, instance and events as in the UI."""

import importlib.resources
import logging
import os
import time
from pathlib import Path

from dagster import AssetSelection, DagsterInstance, MultiPartitionKey

from embed_assets.definitions import defs
from embed_assets.defs.dead_runs import PROCESS_TAG, end_dead_runs, this_process
from embed_assets.defs.partitions import collections, trials
from embed_assets.defs.run_collection import EVERYTHING
from embed_assets.defs.stage_asset import GPU_POOL
from embed_assets.sweep.stages import TRIAL

logger = logging.getLogger(__name__)
DAGSTER_YAML = "dagster.yaml"
SECONDS_BETWEEN_LOOKS = 2.0


def open_instance(home: Path) -> DagsterInstance:
    """The Dagster instance in the home folder; the shipped dagster.yaml is written there the first time."""
    home.mkdir(parents=True, exist_ok=True)
    if not (home / DAGSTER_YAML).exists():
        (home / DAGSTER_YAML).write_text(importlib.resources.files("embed_assets").joinpath(DAGSTER_YAML).read_text())
    os.environ["DAGSTER_HOME"] = str(home)
    return DagsterInstance.get()


def materialize_collection(instance: DagsterInstance, collection: str, *until: str) -> bool:
    """Materialize the assets of one collection, in this process.

    Args:
        instance: where the run, its events and the partition are recorded.
        collection: name of the collection; its partition is registered if it is new.
        until: the last assets, with all that they are made from; without any, all assets but the optional ones.

    Returns:
        Whether the run succeeded. Errors are logged.
    """
    instance.add_dynamic_partitions(collections.name, [collection])
    selection = AssetSelection.assets(*until).upstream() if until else EVERYTHING
    return _materialize(instance, selection, collection)


def materialize_trial(instance: DagsterInstance, collection: str, name: str) -> bool:
    """Materialize one trial of a collection, as materialize_collection does."""
    instance.add_dynamic_partitions(collections.name, [collection])
    instance.add_dynamic_partitions(trials.name, [name])
    return _materialize(instance, AssetSelection.assets(TRIAL.name), MultiPartitionKey({"collection": collection, "trial": name}))


def compare_trials(instance: DagsterInstance, collection: str, asset: str) -> bool:
    """Materialize the leaderboard or the saturation curve of a collection, as materialize_collection does."""
    return _materialize(instance, AssetSelection.assets(asset), collection)


def _materialize(instance: DagsterInstance, selection: AssetSelection, partition: str) -> bool:
    _wait_for_gpu(instance)
    keys = selection.resolve(defs.resolve_asset_graph())
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance,
        partition_key=partition,
        asset_selection=sorted(keys),
        raise_on_error=False,
        tags={PROCESS_TAG: this_process()},
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            cause = error.cause or error
            logger.error("%s: %s failed: %s", partition, event.step_key, cause.message.strip())
    return result.success


def _wait_for_gpu(instance: DagsterInstance) -> None:
    """Wait until no other run holds the gpu pool: Dagster's in-process executor would wait with a busy loop, and say nothing."""
    told: set[str] = set()
    while True:
        end_dead_runs(instance)
        pool = instance.event_log_storage.get_concurrency_info(GPU_POOL)
        if pool.limit is None or pool.active_slot_count < pool.limit:
            return
        if pool.active_run_ids - told:
            logger.info("waiting for the %s pool, which run %s holds", GPU_POOL, ", ".join(sorted(pool.active_run_ids)))
            told |= pool.active_run_ids
        time.sleep(SECONDS_BETWEEN_LOOKS)
