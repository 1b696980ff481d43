from dagster import (
    AssetSelection,
    DefaultSensorStatus,
    MultiPartitionKey,
    RunRequest,
    RunsFilter,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)

from embed_assets.defs.partitions import trials
from embed_assets.defs.production_sensor import UNFINISHED
from embed_assets.defs.resources import WorkspaceResource
from embed_assets.lineage import dev_scores
from embed_assets.stages import TRIAL
from embed_assets.trials import planned_trials, suggest_trial
from embed_assets.workspace import Workspace

SEARCH_TAG = "embed_assets/search"


@sensor(
    target=AssetSelection.assets(TRIAL.name),
    minimum_interval_seconds=30,
    default_status=DefaultSensorStatus.STOPPED,
    description="Lets Optuna suggest trials, one after the other, until a collection has trials.suggested of them.",
)
def search_trials(context: SensorEvaluationContext, workspace: WorkspaceResource) -> SensorResult:
    """Asks for the next trial of each collection that wants more suggested ones and has none under way."""
    place = workspace.open()
    requests = []
    for collection in place.collections():
        try:
            if (name := _next_trial(context, place, collection)) is not None:
                partition = MultiPartitionKey({"collection": collection, "trial": name})
                requests.append(RunRequest(run_key=str(partition), partition_key=partition, tags={SEARCH_TAG: collection}))
        except Exception as error:  # a collection without settings or triplets must not stop the others
            context.log.warning("%s: %s", collection, error)
    names = [request.partition_key.keys_by_dimension["trial"] for request in requests]
    return SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[trials.build_add_request(names)] if names else [],
        skip_reason=None if requests else "no collection wants another trial now",
    )


def _next_trial(context: SensorEvaluationContext, place: Workspace, collection: str) -> str | None:
    settings = place.settings(collection)
    under_way = RunsFilter(tags={SEARCH_TAG: collection}, statuses=UNFINISHED)
    if not settings.trials.suggested or context.instance.get_runs(under_way, limit=1):
        return None
    finished = dev_scores(place, collection)
    if len(finished.keys() - set(planned_trials(settings))) >= settings.trials.suggested:
        return None
    return suggest_trial(settings, finished)
