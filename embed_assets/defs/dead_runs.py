"""Runs whose process was killed, which would hold their slot of the gpu pool for ever.

Dagster's code server ends such runs, but only its own ones, and only while it lives: nobody ends those of a
server that was killed, as by a power cut, nor those of the command line.
"""

import json
import platform
import socket

import psutil
from dagster import (
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    DefaultSensorStatus,
    RunsFilter,
    SensorEvaluationContext,
    SkipReason,
    sensor,
)
from dagster._core.storage.tags import GRPC_INFO_TAG

PROCESS_TAG = "embed_assets/process"
CLOCK_DRIFT = 5.0  # seconds by which the start of a process may seem to move when the clock is set
IN_PROGRESS = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]


@sensor(
    minimum_interval_seconds=30,
    default_status=DefaultSensorStatus.RUNNING,
    description="Ends runs whose process was killed, so that the next one gets their slot of the gpu pool.",
)
def watch_runs(context: SensorEvaluationContext) -> SkipReason:
    """Ends runs whose process was killed, so that the next one gets their slot of the gpu pool."""
    return SkipReason(f"ended: {', '.join(end_dead_runs(context.instance)) or 'none'}")


def end_dead_runs(instance: DagsterInstance) -> list[str]:
    """End the runs whose process was killed, and free their slots of the gpu pool; returns their ids."""
    dead = [run for run in instance.get_runs(RunsFilter(statuses=IN_PROGRESS)) if _is_dead(run)]
    for run in dead:
        instance.report_run_failed(run, "its process died")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return [run.run_id for run in dead]


def this_process() -> str:
    """Host, number and start (seconds since 1970): the number alone is used again."""
    process = psutil.Process()
    return f"{platform.node()} {process.pid} {int(process.create_time())}"


def _is_dead(run: DagsterRun) -> bool:
    """Whether the process that the run was started in, or the code server that started it, is gone."""
    if PROCESS_TAG in run.tags:
        return not _is_alive(run.tags[PROCESS_TAG])
    server = json.loads(run.tags.get(GRPC_INFO_TAG, "{}"))
    return "socket" in server and not _answers(server["socket"])


def _is_alive(name: str) -> bool:
    host, number, started = name.rsplit(" ", 2)
    if host != platform.node():
        return True
    try:
        return abs(psutil.Process(int(number)).create_time() - int(started)) < CLOCK_DRIFT
    except psutil.NoSuchProcess:
        return False


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(path) == 0
