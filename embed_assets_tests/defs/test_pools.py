"""A run that waits for a slot of the gpu pool."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster
import pytest
from dagster import DagsterInstance
from packaging.version import Version

from embed_assets.cli.runs import open_instance
from embed_assets.definitions import defs
from embed_assets.defs.pools import GPU_POOL, LAST_IMPATIENT_DAGSTER, LONGEST_WAIT, PAUSE, PatientClaims

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
