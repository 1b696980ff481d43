"""Failures at night: what is tried again, and who hears of it."""

import functools
import logging
from collections.abc import Callable, Iterable
from typing import Any

from dagster import (
    AssetExecutionContext,
    Backoff,
    DagsterEvent,
    DagsterRun,
    DefaultSensorStatus,
    Failure,
    Jitter,
    RetryPolicy,
    RunFailureSensorContext,
    SkipReason,
    run_failure_sensor,
)

from embed_assets.artifacts.errors import UserError
from embed_assets.artifacts.inputs import ChangedWhileReadError
from embed_assets.artifacts.secrets import hide_secrets, tells_a_secret
from embed_assets.cluster.ray_cluster import ClusterUnreachableError
from embed_assets.corpus.production_rows import DatabaseUnreachableError
from embed_assets.defs.names import is_ours
from embed_assets.defs.partitions import PARTITION_TAG
from embed_assets.models.locations import HubUnreachableError
from embed_assets.production.notices import NOWHERE, Notice, NoticeError, send
from embed_assets.production.published_index import OvertakenError

logger = logging.getLogger(__name__)
# After 15 and 45 seconds, give or take: an endpoint that restarts and a full GPU are mended by then. What was computed
# before the failure is kept, so another try costs little. A run that fails for good is for the retraining sensor.
RETRIES = RetryPolicy(max_retries=2, delay=15, backoff=Backoff.EXPONENTIAL, jitter=Jitter.PLUS_MINUS)
# Of the errors that people have to mend, those that may be gone a moment later.
PASSING = (ChangedWhileReadError, ClusterUnreachableError, DatabaseUnreachableError, HubUnreachableError, OvertakenError)


def lasting_errors_end_at_once(body: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the body of an asset: an error that another try cannot mend is not tried again, whatever the retry policy.

    What is secret in an error is hidden.
    """

    @functools.wraps(body)
    def wrapped(context: AssetExecutionContext, *arguments: Any, **resources: Any) -> Any:
        try:
            return body(context, *arguments, **resources)
        except Exception as error:
            # Dagster keeps the messages of an error and of its causes, and shows them to all.
            shown, is_clean = hide_secrets(error), not tells_a_secret(error)
            if isinstance(error, UserError) and not isinstance(error, PASSING):
                raise Failure(shown, allow_retries=False) from (error if is_clean else None)
            if is_clean:
                raise
            raise RuntimeError(f"{type(error).__name__}: {shown}") from None

    return wrapped


def reason_of(event: DagsterEvent) -> str:
    """Why a step failed, in the words of the error that it failed with."""
    failure = event.step_failure_data
    if failure.user_failure_data is not None and failure.user_failure_data.description:
        return failure.user_failure_data.description
    error = failure.error
    return (error.cause or error).message.strip() if error is not None else event.message or "unknown"


def failure_notice(run: DagsterRun, events: Iterable[DagsterEvent], message: str = "") -> Notice:
    """What people are told of a failed run.

    Args:
        run: the run.
        events: the failures of its steps.
        message: why the run failed, where no step did.
    """
    steps = [f"{event.step_key}: {reason_of(event)}" for event in events]
    partition = run.tags.get(PARTITION_TAG, "all collections")
    name = ", ".join(sorted({step.split(":", 1)[0] for step in steps})) or run.job_name
    ending = f"Run {run.run_id}. What was built is kept: another run goes on from there."
    return Notice(f"embed_assets: {name} of {partition} failed", "\n".join([*(steps or [message]), ending]))


def tell(notice: Notice) -> None:
    """Send a notice, if the environment says where to; that it did not arrive is logged, and stops nothing."""
    try:
        send(notice)
    except NoticeError as error:
        logger.warning("a notice of the failure did not arrive: %s", error)


@run_failure_sensor(
    minimum_interval_seconds=30,
    default_status=DefaultSensorStatus.RUNNING,
    description="Tells of failed runs by EMBED_ASSETS_WEBHOOK, or by mail through EMBED_ASSETS_SMTP_HOST.",
)
def tell_of_failures(context: RunFailureSensorContext) -> SkipReason | None:
    """Tells of failed runs by the webhook or the mail server that the environment names."""
    if context.repository_def is not None and not is_ours(context.dagster_run, context.repository_def):
        return SkipReason("the run is of another graph in this code location")
    events = context.get_step_failure_events()
    if not send(failure_notice(context.dagster_run, events, context.failure_event.message or "")):
        return SkipReason(NOWHERE)
    context.log.info("told of the failure of run %s", context.dagster_run.run_id)
    return None
