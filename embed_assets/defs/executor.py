"""How the steps of a run become processes, and how others know that it lives."""

import importlib.util
import os
from collections.abc import Iterator, Mapping
from typing import Any

from dagster import (
    DagsterEvent,
    DagsterInvariantViolationError,
    Executor,
    Field,
    InitExecutorContext,
    Permissive,
    Selector,
    executor,
    multi_or_in_process_executor,
    multiple_process_executor_requirements,
)
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.executor.in_process import InProcessExecutor

from embed_assets.artifacts.secrets import hide_secrets
from embed_assets.artifacts.workspace import Workspace
from embed_assets.defs.partitions import PARTITION_TAG
from embed_assets.defs.resources import GPU_OPTIONS, WORKSPACE, configured_workspace
from embed_assets.defs.run_locks import hold_run
from embed_assets.graph import STAGES
from embed_assets.plan import Outcome, in_words, plan, would_publish
from embed_assets.production.stages import PUBLISHED_INDEX

# Each step is a process of its own, forked from one that has imported the code location and done nothing yet: where
# all is reused, importing would take most of the time. torch is not imported there, so CUDA works in the steps.
FORKED = {"start_method": {"forkserver": {"preload_modules": ["embed_assets.definitions"]}}}
IN_PROCESS: dict[str, Any] = {"execution": {"config": {"in_process": {}}}}
# Names the environment variable that chooses among these.
EXECUTOR, LOCAL = "EMBED_ASSETS_EXECUTOR", "local"
EXECUTIONS: dict[str, dict[str, Any]] = {LOCAL: {"multiprocess": {}}, "ray": {"ray": {}}}
PASSED_ON = ("DAGSTER_HOME", "EMBED_ASSETS_DATA", "EMBED_ASSETS_HOME", GPU_OPTIONS)
INTERRUPTS = {DagsterExecutionInterruptedError.__name__, KeyboardInterrupt.__name__}


class HeldRuns(Executor):
    """Another executor, which holds the lock file of a run while it executes it, and first says in its log what it computes.

    Args:
        executor: executes the steps.
        at_once: executes the steps of a run that computes nothing, in this process: to start others would take all of its time.
        workspace: its home holds the lock files.
    """

    def __init__(self, executor: Executor, at_once: Executor, workspace: Workspace):
        self.executor = executor
        self.at_once = at_once
        self.workspace = workspace

    @property
    def retries(self) -> Any:
        return self.executor.retries

    @property
    def step_dependency_config(self) -> Any:
        return self.executor.step_dependency_config

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[DagsterEvent]:
        with hold_run(self.workspace.home, plan_context.run_id):
            executor = self.executor if self._computes(plan_context, execution_plan) else self.at_once
            for event in executor.execute(plan_context, execution_plan):
                yield event
                # Dagster would try the step again: right for a step whose process was ended, not for the whole run.
                if isinstance(executor, InProcessExecutor) and _is_interrupted(event):
                    raise DagsterExecutionInterruptedError

    def _computes(self, plan_context: Any, execution_plan: Any) -> bool:
        """Whether the run may compute something, which its log says in detail."""
        # The key of an asset's step is that of the asset, with a prefix where others have given it one.
        names = [key.rpartition("__")[2] for key in execution_plan.step_keys_to_execute]
        stages = [name for name in names if name in STAGES]
        if not stages:
            return True
        collection = plan_context.dagster_run.tags.get(PARTITION_TAG, "")
        try:
            planned = [row for row in plan(self.workspace, collection, stages, priced=False) if row.stage in stages]
            reused = all(row.outcome is Outcome.REUSED for row in planned)
            anyway = _publishes_anyway(plan_context.dagster_run.run_config)
            publishes = reused and PUBLISHED_INDEX.name in stages and would_publish(self.workspace, collection, anyway)
        except Exception as error:  # whatever it is, the step that meets it tells it better
            plan_context.log.debug("no plan of this run: %s", hide_secrets(error))
            return True
        plan_context.log.info("what this run does with %s", in_words(planned))
        checks = tuple(f"{stage}_" for stage in stages)  # a check of its own is a step, named after its asset
        known = all(name in stages or name.startswith(checks) for name in names)
        return publishes or not known or not reused


def _publishes_anyway(run_config: Mapping[str, Any]) -> bool:
    """Whether an operator asks for it; the name of the step may have a prefix."""
    return any((op.get("config") or {}).get("publish_anyway") for op in run_config.get("ops", {}).values())


def _is_interrupted(event: DagsterEvent) -> bool:
    error = event.step_retry_data.error if event.is_step_up_for_retry else None
    return error is not None and error.cause is not None and error.cause.cls_name in INTERRUPTS


def execution() -> dict[str, Any]:
    """Where the steps of a run are executed, as $EMBED_ASSETS_EXECUTOR says.

    Raises:
        ValueError: it names no executor.
    """
    name = os.environ.get(EXECUTOR, "") or LOCAL
    if name not in EXECUTIONS:
        raise ValueError(f"${EXECUTOR} is {name!r}: it is one of {', '.join(EXECUTIONS)}")
    return EXECUTIONS[name]


def _requirements(config: Mapping[str, Any]) -> list[Any]:
    return [] if "in_process" in config else list(multiple_process_executor_requirements())


def _schema() -> Field:
    """That of Dagster's own executor, with ``ray`` as a third choice: the options of dagster-ray's executor."""
    own = multi_or_in_process_executor.config_schema.config_type
    assert isinstance(own, Selector)
    ray = Field(Permissive(), description="each step is a job on a Ray cluster: options of dagster-ray's executor")
    return Field(Selector({**own.fields, "ray": ray}), default_value=execution())


def options_with_environment(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of dagster-ray's executor, with what every step needs to find the same folders, and to compute in the same way."""
    passed = [name for name in PASSED_ON if name in os.environ]
    # Last, so that "NAME=value" has its say.
    return dict(options) | {"env_vars": [*passed, *(options.get("env_vars") or [])]}


def _ray_executor(context: InitExecutorContext, options: Mapping[str, Any]) -> Executor:
    if importlib.util.find_spec("dagster_ray") is None:
        raise DagsterInvariantViolationError(
            "the executor is ray, but dagster-ray is not installed: pip install 'embed-assets[ray]'"
        )
    from dagster_ray import ray_executor

    more = {"retries": {"enabled": {}}, "ray": options_with_environment(options)}
    create = ray_executor.executor_creation_fn
    assert create is not None
    return create(context._replace(executor_config=more))


@executor(config_schema=_schema(), requirements=_requirements)
def held_runs(context: InitExecutorContext) -> Executor:
    """Steps in processes of their own, all in this one, or as jobs on a Ray cluster."""
    config: dict[str, Any] = dict(context.executor_config)
    create = multi_or_in_process_executor.executor_creation_fn
    assert create is not None
    if "ray" in config:
        inner = _ray_executor(context, config["ray"])
    else:
        if "multiprocess" in config:
            config["multiprocess"] = FORKED | config["multiprocess"]
        inner = create(context._replace(executor_config=config))
    at_once = create(context._replace(executor_config={"in_process": {"retries": {"enabled": {}}}}))
    resources = context.job.get_definition().resource_defs
    # A job of others that runs under this executor has no home of ours.
    return HeldRuns(inner, at_once, configured_workspace(resources, context.instance)) if WORKSPACE in resources else inner
