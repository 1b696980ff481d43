"""Runs whose process was killed."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.storage.tags import GRPC_INFO_TAG

from embed_assets.cli.runs import open_instance
from embed_assets.definitions import defs
from embed_assets.defs.dead_runs import PROCESS_TAG, end_dead_runs, this_process
from embed_assets.defs.stage_asset import GPU_POOL


@pytest.fixture
def instance(workspace_folder: Path) -> Iterator[DagsterInstance]:
    with open_instance(workspace_folder / "home") as instance:
        instance.event_log_storage.initialize_concurrency_limit_to_default(GPU_POOL)
        yield instance


def start_run(instance: DagsterInstance, tags: dict[str, str]) -> DagsterRun:
    """A run that holds the slot of the gpu pool."""
    job = defs.resolve_implicit_global_asset_job_def()
    run = instance.create_run_for_job(job, status=DagsterRunStatus.STARTED, tags=tags)
    assert instance.event_log_storage.claim_concurrency_slot(GPU_POOL, run.run_id, "qa_pairs").is_claimed
    return run


def process_that_ended() -> str:
    script = "from embed_assets.defs.dead_runs import this_process; print(this_process())"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()


def test_the_slot_of_a_command_that_was_killed_is_free_again(instance: DagsterInstance):
    run = start_run(instance, {PROCESS_TAG: process_that_ended()})
    assert end_dead_runs(instance) == [run.run_id]
    assert instance.get_run_by_id(run.run_id).status == DagsterRunStatus.FAILURE
    assert instance.event_log_storage.get_concurrency_info(GPU_POOL).active_slot_count == 0


def test_a_command_that_is_at_work_is_left_alone(instance: DagsterInstance):
    start_run(instance, {PROCESS_TAG: this_process()})
    assert end_dead_runs(instance) == []
    assert instance.event_log_storage.get_concurrency_info(GPU_POOL).active_slot_count == 1


def test_a_run_ends_with_its_code_server(instance: DagsterInstance, tmp_path: Path):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        run = start_run(instance, {GRPC_INFO_TAG: json.dumps({"host": "localhost", "socket": path})})
        assert end_dead_runs(instance) == []
    assert end_dead_runs(instance) == [run.run_id]
    assert instance.event_log_storage.get_concurrency_info(GPU_POOL).active_slot_count == 0
