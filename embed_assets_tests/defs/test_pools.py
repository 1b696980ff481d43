"""A run that waits for a slot of the gpu pool."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import dagster
import pytest
from click.testing import CliRunner
from dagster import DagsterInstance
from packaging.version import Version

from embed_assets.cli import runs
from embed_assets.cli.main import main
from embed_assets.cli.runs import open_instance
from embed_assets.definitions import defs
from embed_assets.defs.pools import GPU_POOL, LAST_IMPATIENT_DAGSTER, LONGEST_WAIT, PAUSE, PatientClaims, WaitingClaims
from embed_assets.defs.run_locks import LOCK
from embed_assets_tests.small_collections import BAKERY, write_collection

OTHER_RUN = "00000000-0000-0000-0000-000000000000"
SECONDS = 3.0
# Dagster's own executor, with a run whose only step waits: how often does it ask for the slot in these seconds?
WAITING = f"""
import json, os, sys, threading, time
from dagster import DagsterInstance, execute_job, job, multiprocess_executor, op, reconstructable
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext

@op(pool={GPU_POOL!r})
def wait(): ...

@job(executor_def=multiprocess_executor)
def waiting(): wait()

if __name__ == "__main__":
    if "patched" in sys.argv:
        import embed_assets.defs.pools
    asked, claim = [], InstanceConcurrencyContext.claim
    def counted(self, *arguments):
        asked.append(time.monotonic())
        return claim(self, *arguments)
    InstanceConcurrencyContext.claim = counted
    def end():
        while not asked: time.sleep(0.01)
        time.sleep({SECONDS})
        print(json.dumps(len(asked)), flush=True)
        os._exit(0)
    threading.Thread(target=end).start()
    execute_job(reconstructable(waiting), DagsterInstance.get())
"""


@pytest.fixture
def instance(workspace_folder: Path) -> Iterator[DagsterInstance]:
    """An instance whose only slot is held by another run."""
    with open_instance(workspace_folder / "home") as instance:
        instance.event_log_storage.initialize_concurrency_limit_to_default(GPU_POOL)
        assert instance.event_log_storage.claim_concurrency_slot(GPU_POOL, OTHER_RUN, "qa_pairs").is_claimed
        yield instance


def times_asked(folder: Path, *arguments: str) -> int:
    script = folder / "waiting.py"
    script.write_text(WAITING)
    done = subprocess.run([sys.executable, script, *arguments], cwd=folder, env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.long
def test_the_patch_of_dagster_is_needed_and_works(instance: DagsterInstance, workspace_folder: Path):
    most = SECONDS / PAUSE + 5
    installed = Version(dagster.__version__)
    if times_asked(workspace_folder) <= most:
        pytest.fail(f"Dagster {installed} does not ask without a pause any more: delete PatientClaims from defs/pools.py")
    assert installed <= Version(LAST_IMPATIENT_DAGSTER), (
        f"Dagster {installed} still asks without a pause: see that PatientClaims fits it, then raise LAST_IMPATIENT_DAGSTER"
    )
    assert times_asked(workspace_folder, "patched") <= most


@pytest.mark.long
def test_a_run_takes_the_slot_soon_after_it_is_free(instance: DagsterInstance):
    run = instance.create_run_for_job(defs.resolve_implicit_global_asset_job_def())
    with PatientClaims(instance, run) as claims:
        started = time.monotonic()
        while time.monotonic() - started < 3 * LONGEST_WAIT:
            assert not claims.claim(GPU_POOL, "triplets")
        instance.event_log_storage.free_concurrency_slots_for_run(OTHER_RUN)
        freed = time.monotonic()
        while not claims.claim(GPU_POOL, "triplets"):
            assert time.monotonic() - freed < 2 * LONGEST_WAIT


def test_an_interrupt_ends_a_run_that_waits_between_two_steps(
    instance: DagsterInstance, workspace_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    write_collection(workspace_folder / "data" / "collections" / "bakery", BAKERY)
    (workspace_folder / "data" / "settings.yaml").write_text("questions: {max_questions: 0}")
    monkeypatch.setattr(runs, "wait_for_gpu", lambda *_: None)  # as if the slot was taken after the run began

    def interrupt() -> None:
        while not any(f"waiting for the gpu pool, which run {OTHER_RUN} holds" in line for line in caplog.messages):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)
        if not ended.wait(20):
            instance.event_log_storage.free_concurrency_slots_for_run(OTHER_RUN)

    ended = threading.Event()
    threading.Thread(target=interrupt, daemon=True).start()
    done = CliRunner().invoke(main, ["run", "--until", "qa_pairs"])
    ended.set()
    assert done.output.endswith("Aborted!\n")
    assert (workspace_folder / "home" / "artifacts" / "corpus_chunks").exists()
    assert instance.event_log_storage.get_concurrency_info(GPU_POOL).active_run_ids == {OTHER_RUN}


def test_a_run_in_this_process_takes_the_slot_of_one_that_was_killed(instance: DagsterInstance, workspace_folder: Path):
    job = defs.resolve_implicit_global_asset_job_def()
    killed, run = instance.create_run_for_job(job), instance.create_run_for_job(job)
    instance.event_log_storage.free_concurrency_slots_for_run(OTHER_RUN)
    assert instance.event_log_storage.claim_concurrency_slot(GPU_POOL, killed.run_id, "qa_pairs").is_claimed
    (workspace_folder / "home" / "runs").mkdir()
    (workspace_folder / "home" / "runs" / f"{killed.run_id}{LOCK}").touch()
    started = time.monotonic()
    with WaitingClaims(instance, run) as claims:
        while not claims.claim(GPU_POOL, "triplets"):
            assert time.monotonic() - started < 5 * LONGEST_WAIT
