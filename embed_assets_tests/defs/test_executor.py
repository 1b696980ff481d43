"""A run that waits for a slot of the gpu pool."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import DagsterInstance

from embed_assets.cli.runs import open_instance
from embed_assets.definitions import defs
from embed_assets.defs.executor import LONGEST_WAIT, PatientClaims
from embed_assets.defs.stage_asset import GPU_POOL

OTHER_RUN = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def instance(workspace_folder: Path) -> Iterator[DagsterInstance]:
    """An instance whose only slot is held by another run."""
    with open_instance(workspace_folder / "home") as instance:
        instance.event_log_storage.initialize_concurrency_limit_to_default(GPU_POOL)
        assert instance.event_log_storage.claim_concurrency_slot(GPU_POOL, OTHER_RUN, "qa_pairs").is_claimed
        yield instance


def test_it_leaves_the_cores_to_the_others_and_takes_the_slot_soon_after_it_is_free(instance: DagsterInstance):
    run = instance.create_run_for_job(defs.resolve_implicit_global_asset_job_def())
    with PatientClaims(instance, run) as claims:
        started, busy = time.monotonic(), time.process_time()
        while time.monotonic() - started < 3 * LONGEST_WAIT:
            assert not claims.claim(GPU_POOL, "triplets")
        assert time.process_time() - busy < 0.2 * 3 * LONGEST_WAIT
        instance.event_log_storage.free_concurrency_slots_for_run(OTHER_RUN)
        freed = time.monotonic()
        while not claims.claim(GPU_POOL, "triplets"):
            assert time.monotonic() - freed < 2 * LONGEST_WAIT
