from dagster import (
    DefaultSensorStatus,
    MultiPartitionKey,
    RunRequest,
    RunsFilter,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from embed_assets.artifacts.files import fingerprint_of
from embed_assets.artifacts.secrets import hide_secrets
from embed_assets.artifacts.workspace import Workspace
from embed_assets.defs.names import select
from embed_assets.defs.partitions import trials
from embed_assets.defs.production.production_sensor import RUN_KEY_TAG, UNFINISHED
from embed_assets.defs.resources import WorkspaceResource
from embed_assets.lineage import dev_scores, finished_trials, resolve_trial
from embed_assets.settings import read_settings
from embed_assets.sweep.stages import TRIAL
from embed_assets.sweep.trials import suggest_trial, suggested_trials

SEARCH_TAG = "embed_assets/search"


@sensor(
    target=select(TRIAL.name),
    minimum_interval_seconds=30,
    default_status=DefaultSensorStatus.STOPPED,
    description="Lets Optuna suggest trials, one after the other, until a collection has trials.suggested of them.",
)
def search_trials(context: SensorEvaluationContext, workspace: WorkspaceResource) -> SensorResult:
    """Asks for the next trial of each collection that wants more suggested ones and has none under way."""
    place = workspace.open()
    requests, reasons = [], []
    for collection in place.collections():
        try:
            asked = _next_trial(context, place, collection)
        except Exception as error:  # a collection without settings or triplets must not stop the others
            context.log.warning("%s: %s", collection, hide_secrets(error))
            continue
        if isinstance(asked, RunRequest):
            requests.append(asked)
        elif asked is not None:
            reasons.append(f"{collection}: {asked.skip_message}")
    partitions = [request.partition_key for request in requests]
    names = [partition.keys_by_dimension["trial"] for partition in partitions if isinstance(partition, MultiPartitionKey)]
    return SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[trials.build_add_request(names)] if names else [],
        skip_reason=None if requests else "; ".join(reasons) or "no collection wants another trial now",
    )


def _next_trial(context: SensorEvaluationContext, place: Workspace, collection: str) -> RunRequest | SkipReason | None:
    settings = read_settings(place, collection)
    under_way = RunsFilter(tags={SEARCH_TAG: collection}, statuses=UNFINISHED)
    if not settings.trials.suggested or context.instance.get_runs(under_way, limit=1):
        return None
    finished = dev_scores(place, collection)
    if len(suggested_trials(settings.training, settings.trials, finished)) >= settings.trials.suggested:
        return None
    name = suggest_trial(settings.training, settings.negatives.per_query, finished)
    partition = MultiPartitionKey({"collection": collection, "trial": name})
    run_key = f"{partition} {_attempt(place, collection, name)}"
    # Dagster would drop a second run of the same key, and say nothing.
    if before := context.instance.get_runs(RunsFilter(tags={RUN_KEY_TAG: run_key}), limit=1):
        return SkipReason(
            f"the trial {name} is suggested again, whose run {before[0].run_id} ended with {before[0].status.value}: "
            "materialize it by hand once it can succeed, or set trials.suggested lower"
        )
    return RunRequest(run_key=run_key, partition_key=partition, tags={SEARCH_TAG: collection})


def _attempt(place: Workspace, collection: str, name: str) -> str:
    """Hash of what the trial would be made of and of what it was suggested from: a change of either is worth a new run."""
    made_of = resolve_trial(place, collection, name).ingredients
    finished = {trial: artifact.fingerprint for trial, artifact in finished_trials(place, collection).items()}
    return fingerprint_of({"made_of": made_of, "finished": finished})
