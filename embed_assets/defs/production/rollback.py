from dagster import AssetObservation, OpExecutionContext, job, op

from embed_assets.defs.names import key_of, named
from embed_assets.defs.partitions import collections
from embed_assets.defs.resources import WorkspaceResource
from embed_assets.lineage import open_published
from embed_assets.production.stages import PUBLISHED_INDEX


@op(description="Swaps the published index of a collection with the one before it.")
def swap_back(context: OpExecutionContext, workspace: WorkspaceResource) -> None:
    """Swaps the published index with the one before it, and records what is in production now."""
    key, place = key_of(context.repository_def, PUBLISHED_INDEX.name), workspace.open()
    published = open_published(place, context.partition_key)
    pointer = published.rollback()
    context.log.info("%s: %s is in production: %s", context.partition_key, pointer.current, pointer.reason)
    metadata = {"decision": pointer.reason, **published.describe()}
    context.log_event(AssetObservation(key, partition=context.partition_key, metadata=metadata))


@job(
    tags=named("roll_back"),
    partitions_def=collections,
    description="Brings the previous index of a collection, and its model, back into production. A second time undoes the first.",
)
def roll_back() -> None:
    """Brings the previous index of a collection, and its model, back into production."""
    swap_back()
