"""The pool of steps that need the GPU, and how a run waits for a slot of it."""

import logging
import time
from pathlib import Path

import dagster
from dagster import DagsterInstance
from dagster._core.errors import raise_execution_interrupts
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.executor import in_process, multiprocess
from packaging.version import Version

from embed_assets.defs.resources import WorkspaceResource
from embed_assets.defs.run_locks import end_dead_runs

logger = logging.getLogger(__name__)
# Its limit is in dagster.yaml.
GPU_POOL = "gpu"
SECONDS_BETWEEN_LOOKS = 2.0
LONGEST_WAIT = 2.0
PAUSE = 0.2
# Private classes change without notice: this one is replaced only in versions that were looked at, and a test tells when
# that is not needed any more.
LAST_IMPATIENT_DAGSTER = "1.13.29"


class PatientClaims(InstanceConcurrencyContext):
    """The claims of a run on slots of pools, with pauses.

    Dagster's executor asks again without a pause, which keeps a core busy for as long as another run holds the slot,
    and looks only every 15 seconds whether it is free. Neither can be configured.
    """

    def claim(self, concurrency_key: str, step_key: str, step_priority: int = 0) -> bool:
        claimed = super().claim(concurrency_key, step_key, step_priority)
        if not claimed:
            self._pending_timeouts[step_key] = min(self._pending_timeouts[step_key], time.time() + LONGEST_WAIT)
            if not self._claims:  # else the executor waits for the events of a step that is at work
                time.sleep(PAUSE)
        return claimed


class WaitingClaims(PatientClaims):
    """The claims of a run in this process, which waits in one call: it says for whom, and an interrupt ends it.

    Dagster's executor would keep the interrupt until the slot is free. That of a run that was killed nobody else would free.
    """

    def claim(self, concurrency_key: str, step_key: str, step_priority: int = 0) -> bool:
        claimed = super().claim(concurrency_key, step_key, step_priority)
        if not claimed and concurrency_key == GPU_POOL:
            with raise_execution_interrupts():
                wait_for_gpu(self._instance, WorkspaceResource().open().home)
        return claimed


if Version(dagster.__version__) <= Version(LAST_IMPATIENT_DAGSTER):
    multiprocess.InstanceConcurrencyContext = PatientClaims  # type: ignore[misc]
    in_process.InstanceConcurrencyContext = WaitingClaims  # type: ignore[misc]


def gpu_slots(instance: DagsterInstance) -> int:
    """How many steps may use the GPU at once; 1 where the pool has no limit."""
    return instance.event_log_storage.get_concurrency_info(GPU_POOL).limit or 1


def wait_for_gpu(instance: DagsterInstance, home: Path) -> None:
    """Wait until a slot of the gpu pool is free, and say for whom.

    Args:
        instance: knows the slots.
        home: holds the lock files of the runs that live.
    """
    told: set[str] = set()
    while True:
        end_dead_runs(instance, home)
        pool = instance.event_log_storage.get_concurrency_info(GPU_POOL)
        if pool.limit is None or pool.active_slot_count < pool.limit:
            return
        if pool.active_run_ids - told:
            logger.info("waiting for the %s pool, which run %s holds", GPU_POOL, ", ".join(sorted(pool.active_run_ids)))
            told |= pool.active_run_ids
        time.sleep(SECONDS_BETWEEN_LOOKS)
