"""Runs whose process was killed."""

import fcntl
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterInstance, DagsterRun, DagsterRunStatus, execute_job
from dagster._core.definitions.reconstruct import ReconstructableRepository

from embed_assets.artifacts.files import is_locked
from embed_assets.cli.runs import materialize_collection, open_instance
from embed_assets.definitions import defs
from embed_assets.defs.partitions import collections
from embed_assets.defs.pools import GPU_POOL
from embed_assets.defs.run_locks import end_dead_runs, hold_run
from embed_assets_tests.small_collections import BAKERY, write_collection

HOLD = """
import sys
from pathlib import Path
from embed_assets.defs.run_locks import hold_run
with hold_run(Path(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def home(workspace_folder: Path) -> Path:
    return workspace_folder / "home"


@pytest.fixture
def instance(home: Path) -> Iterator[DagsterInstance]:
    with open_instance(home) as instance:
        instance.event_log_storage.initialize_concurrency_limit_to_default(GPU_POOL)
        yield instance


def start_run(instance: DagsterInstance) -> DagsterRun:
    """A run that holds the slot of the gpu pool."""
    run = instance.create_run_for_job(defs.resolve_implicit_global_asset_job_def(), status=DagsterRunStatus.STARTED)
    assert instance.event_log_storage.claim_concurrency_slot(GPU_POOL, run.run_id, "qa_pairs").is_claimed
    return run


def slots(instance: DagsterInstance) -> int:
    return instance.event_log_storage.get_concurrency_info(GPU_POOL).active_slot_count


def lock_file(home: Path, run_id: str) -> Path:
    (home / "runs").mkdir(exist_ok=True)
    return home / "runs" / f"{run_id}.lock"


def test_a_run_ends_and_its_slot_is_free_as_soon_as_its_process_is_killed(instance: DagsterInstance, home: Path):
    run = start_run(instance)
    command = [sys.executable, "-c", HOLD, str(home), run.run_id]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        assert end_dead_runs(instance, home) == []
        assert (instance.get_run_by_id(run.run_id).status, slots(instance)) == (DagsterRunStatus.STARTED, 1)
        process.kill()
    assert end_dead_runs(instance, home) == [run.run_id]
    assert (instance.get_run_by_id(run.run_id).status, slots(instance)) == (DagsterRunStatus.FAILURE, 0)
    assert end_dead_runs(instance, home) == [] and not lock_file(home, run.run_id).exists()


def test_a_run_without_a_lock_file_is_not_judged(instance: DagsterInstance, home: Path):
    run = start_run(instance)
    assert end_dead_runs(instance, home) == []
    assert (instance.get_run_by_id(run.run_id).status, slots(instance)) == (DagsterRunStatus.STARTED, 1)


def test_what_a_finished_run_left_is_cleared_away_and_a_run_of_another_instance_is_not(instance: DagsterInstance, home: Path):
    run = start_run(instance)
    instance.report_run_failed(run, "ended by somebody else")
    finished, stranger = lock_file(home, run.run_id), lock_file(home, "00000000-0000-0000-0000-000000000000")
    finished.touch()
    stranger.touch()
    assert end_dead_runs(instance, home) == []
    assert (finished.exists(), stranger.exists(), slots(instance)) == (False, True, 0)


def test_the_slot_of_a_run_that_was_interrupted_before_it_gave_it_back_is_free(instance: DagsterInstance, home: Path):
    run = start_run(instance)
    with hold_run(home, run.run_id):
        instance.report_run_failed(run)
        end_dead_runs(instance, home)
        assert slots(instance) == 1  # its process still computes
    end_dead_runs(instance, home)
    assert slots(instance) == 0
    start_run(instance)
    end_dead_runs(instance, home)
    assert slots(instance) == 1


def test_a_run_that_could_not_record_its_end_on_a_full_disk_gives_its_slot_back(instance: DagsterInstance, home: Path):
    run = start_run(instance)
    with pytest.raises(sqlite3.OperationalError), hold_run(home, run.run_id):
        raise sqlite3.OperationalError("database or disk is full")
    assert (instance.get_run_by_id(run.run_id).status, slots(instance)) == (DagsterRunStatus.STARTED, 1)
    assert end_dead_runs(instance, home) == [run.run_id]
    assert (instance.get_run_by_id(run.run_id).status, slots(instance)) == (DagsterRunStatus.FAILURE, 0)
    assert not list((home / "runs").iterdir())


def test_nobody_sees_a_free_lock_file_of_a_run_that_lives(home: Path):
    path = lock_file(home.parent, "a")
    seen, done = [], threading.Event()

    def is_free() -> bool:
        """Whether one and the same file has the name and is free: the next run's has the name, but is another file."""
        try:
            with path.open("rb") as handle:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return os.path.samestat(os.fstat(handle.fileno()), path.stat())
        except (BlockingIOError, FileNotFoundError):
            return False

    def look() -> None:
        while not done.is_set():
            seen.append(is_free())

    watcher = threading.Thread(target=look)
    watcher.start()
    for _ in range(300):
        with hold_run(home.parent, "a"):
            assert is_locked(path)
    done.set()
    watcher.join()
    assert not any(seen) and len(seen) > 100
    assert list(path.parent.iterdir()) == []


def test_a_run_that_computes_nothing_starts_no_processes(workspace_folder: Path, home: Path):
    write_collection(workspace_folder / "data" / "collections" / "bakery", BAKERY)
    job = ReconstructableRepository.for_module("embed_assets.definitions", "defs").get_reconstructable_job("__ASSET_JOB")
    with open_instance(home) as instance:
        assert materialize_collection(instance, "bakery", "corpus_chunks")
        config = {"execution": {"config": {"multiprocess": {}}}}
        result = execute_job(job, instance, config, {"dagster/partition": "bakery"}, asset_selection=[AssetKey("corpus_chunks")])
        messages = [event.message for event in result.all_events]
        assert result.success and any("Executing steps in process" in message for message in messages), messages
        assert instance.get_latest_materialization_event(AssetKey("corpus_chunks")).run_id == result.run_id


@pytest.mark.parametrize("mode", ["in_process", "multiprocess"])
def test_a_run_holds_its_lock_file_however_its_steps_are_executed(workspace_folder: Path, home: Path, mode: str):
    write_collection(workspace_folder / "data" / "collections" / "bakery", BAKERY)
    job = ReconstructableRepository.for_module("embed_assets.definitions", "defs").get_reconstructable_job("__ASSET_JOB")
    held, done = set(), threading.Event()

    def look() -> None:
        while not done.wait(0.01):
            held.update(path.name for path in (home / "runs").glob("*.lock") if is_locked(path))

    watcher = threading.Thread(target=look)
    watcher.start()
    with open_instance(home) as instance:
        instance.add_dynamic_partitions(collections.name, ["bakery"])
        # A fork server that an earlier test started would have that test's environment.
        config = {"execution": {"config": {mode: {"start_method": {"spawn": {}}} if mode == "multiprocess" else {}}}}
        result = execute_job(job, instance, config, {"dagster/partition": "bakery"}, asset_selection=[AssetKey("corpus_chunks")])
    done.set()
    watcher.join()
    assert result.success
    assert held == {f"{result.run_id}.lock"}
    assert not list((home / "runs").iterdir())
