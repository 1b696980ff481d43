"""How the steps of a run become processes, how others know that it lives, and how it waits for a slot of a pool."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dagster import (
    DagsterEvent,
    Executor,
    InitExecutorContext,
    executor,
    multi_or_in_process_executor,
    multiple_process_executor_requirements,
)
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.executor import multiprocess

from embed_assets.defs.dead_runs import hold_run
from embed_assets.defs.resources import WORKSPACE, configured_workspace

# Each step is a process of its own, forked from one that has imported the code location and done nothing yet: where
# all is reused, importing would take most of the time. torch is not imported there, so CUDA works in the steps.
FORKED = {"start_method": {"forkserver": {"preload_modules": ["embed_assets.definitions"]}}}
IN_PROCESS: dict[str, Any] = {"execution": {"config": {"in_process": {}}}}
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


class HeldRuns(Executor):
    """Another executor, which holds the lock file of a run while it executes it.

    Args:
        executor: executes the steps.
        home: holds the lock files.
    """

    def __init__(self, executor: Executor, home: Path):
        self.executor = executor
        self.home = home

    @property
    def retries(self) -> Any:
        return self.executor.retries

    @property
    def step_dependency_config(self) -> Any:
        return self.executor.step_dependency_config

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[DagsterEvent]:
        with hold_run(self.home, plan_context.run_id):
            yield from self.executor.execute(plan_context, execution_plan)


def _requirements(config: Mapping[str, Any]) -> list[Any]:
    return multiple_process_executor_requirements() if "multiprocess" in config else []


@executor(config_schema=multi_or_in_process_executor.config_schema, requirements=_requirements)
def held_runs(context: InitExecutorContext) -> Executor:
    """Steps in processes of their own, or all in this one: as Dagster's own executor, with the same configuration."""
    config = dict(context.executor_config)
    if "multiprocess" in config:
        config["multiprocess"] = FORKED | config["multiprocess"]
    inner = multi_or_in_process_executor.executor_creation_fn(context._replace(executor_config=config))
    resources = context.job.get_definition().resource_defs
    # A job of others that runs under this executor has no home of ours.
    return HeldRuns(inner, configured_workspace(resources, context.instance).home) if WORKSPACE in resources else inner
