from collections.abc import Iterable

from dagster import DefaultSensorStatus, SensorEvaluationContext, SensorResult, SkipReason, sensor

from embed_assets.artifacts.secrets import hide_secrets
from embed_assets.artifacts.workspace import CollectionError, Workspace
from embed_assets.defs.partitions import COLLECTION, TRIALS, collections, trials
from embed_assets.defs.resources import WorkspaceResource
from embed_assets.settings import read_settings
from embed_assets.sweep.trials import planned_trials


@sensor(
    minimum_interval_seconds=30,
    default_status=DefaultSensorStatus.RUNNING,
    description="Registers new collection folders and planned trials as partitions, and tells of folders that are gone.",
)
def register_collections(context: SensorEvaluationContext, workspace: WorkspaceResource) -> SensorResult | SkipReason:
    """Registers new collection folders and planned trials as partitions, and tells of folders that are gone.

    The partition of a folder that is gone stays, with its history and its artifacts: delete it in the UI.
    """
    place = workspace.open()
    try:
        there = place.collections()
    except CollectionError as error:
        return SkipReason(str(error))
    registered = set(context.instance.get_dynamic_partitions(COLLECTION))
    new, gone = sorted(set(there) - registered), sorted(registered - set(there))
    planned = sorted(_planned(context, place, there) - set(context.instance.get_dynamic_partitions(TRIALS)))
    if gone:
        context.log.warning("the folders of these collections are gone: %s", ", ".join(gone))
    requests = [definition.build_add_request(names) for definition, names in ((collections, new), (trials, planned)) if names]
    if not requests:
        return SkipReason(f"no new collection; the folders of these are gone: {', '.join(gone)}" if gone else "no new collection")
    return SensorResult(dynamic_partitions_requests=requests)


def _planned(context: SensorEvaluationContext, place: Workspace, there: Iterable[str]) -> set[str]:
    planned = set()
    for collection in there:
        try:
            settings = read_settings(place, collection)
            planned |= set(planned_trials(settings.training, settings.trials))
        except Exception as error:  # unreadable settings of one collection must not stop the others
            context.log.warning("%s: %s", collection, hide_secrets(error))
    return planned
