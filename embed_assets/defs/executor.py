"""How the steps of a run become processes, and how a run waits for a slot of a pool."""

import time

from dagster import multiprocess_executor
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.executor import multiprocess

# Each step is a process of its own, forked from one that has imported the code location and done nothing yet: where
# all is reused, importing would take most of the time. torch is not imported there, so CUDA works in the steps.
executor = multiprocess_executor.configured({"start_method": {"forkserver": {"preload_modules": ["embed_assets.definitions"]}}})
LONGEST_WAIT = 2.0
PAUSE = 0.2


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


multiprocess.InstanceConcurrencyContext = PatientClaims
