"""How the steps of a run become processes, and how others know that it lives."""

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

from embed_assets.defs.resources import WORKSPACE, configured_workspace
from embed_assets.defs.run_locks import hold_run

# Each step is a process of its own, forked from one that has imported the code location and done nothing yet: where
# all is reused, importing would take most of the time. torch is not imported there, so CUDA works in the steps.
FORKED = {"start_method": {"forkserver": {"preload_modules": ["embed_assets.definitions"]}}}
IN_PROCESS: dict[str, Any] = {"execution": {"config": {"in_process": {}}}}


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
    return list(multiple_process_executor_requirements()) if "multiprocess" in config else []


# Its types do not have what it takes: a schema of another executor, and a function.
@executor(config_schema=multi_or_in_process_executor.config_schema, requirements=_requirements)  # type: ignore[call-overload]
def held_runs(context: InitExecutorContext) -> Executor:
    """Steps in processes of their own, or all in this one: as Dagster's own executor, with the same configuration."""
    config: dict[str, Any] = dict(context.executor_config)
    if "multiprocess" in config:
        config["multiprocess"] = FORKED | config["multiprocess"]
    create = multi_or_in_process_executor.executor_creation_fn
    assert create is not None
    inner = create(context._replace(executor_config=config))
    resources = context.job.get_definition().resource_defs
    # A job of others that runs under this executor has no home of ours.
    return HeldRuns(inner, configured_workspace(resources, context.instance).home) if WORKSPACE in resources else inner
