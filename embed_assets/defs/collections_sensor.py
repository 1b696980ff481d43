from dagster import DefaultSensorStatus, SensorEvaluationContext, SensorResult, SkipReason, sensor

from embed_assets.defs.partitions import collections
from embed_assets.defs.resources import WorkspaceResource
from embed_assets.documents import CollectionError


@sensor(
    minimum_interval_seconds=30,
    default_status=DefaultSensorStatus.RUNNING,
    description="Registers new collection folders as partitions, and tells of those that are gone.",
)
def register_collections(context: SensorEvaluationContext, workspace: WorkspaceResource) -> SensorResult | SkipReason:
    """Registers new collection folders as partitions, and tells of those that are gone.

    The partition of a folder that is gone stays, with its history and its artifacts: delete it in the UI.
    """
    try:
        there = workspace.open().collections()
    except CollectionError as error:
        return SkipReason(str(error))
    registered = set(context.instance.get_dynamic_partitions(collections.name))
    new, gone = sorted(set(there) - registered), sorted(registered - set(there))
    if gone:
        context.log.warning("the folders of these collections are gone: %s", ", ".join(gone))
    if not new:
        return SkipReason(f"no new collection; the folders of these are gone: {', '.join(gone)}" if gone else "no new collection")
    return SensorResult(dynamic_partitions_requests=[collections.build_add_request(new)])
