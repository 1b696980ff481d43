import warnings

from dagster import BetaWarning, DataVersion, DataVersionsByPartition, OpExecutionContext, observable_source_asset

from embed_assets.corpus import production_table as production
from embed_assets.defs.partitions import collections
from embed_assets.defs.resources import WorkspaceResource

warnings.filterwarnings("ignore", message=".*(observable_source_asset|DataVersionsByPartition).*", category=BetaWarning)


@observable_source_asset(partitions_def=collections, group_name="data", tags={"dagster/kind/lancedb": ""})
def production_table(context: OpExecutionContext, workspace: WorkspaceResource) -> DataVersionsByPartition:
    """The chunks as production has them, in LanceDB; collections with files have none.

    Its data version is a digest over ids and texts: index builds and vectors do not count.
    """
    place = workspace.open()
    seen = {}
    for collection in place.collections():
        try:
            if place.settings(collection).production.uri:
                seen[collection] = DataVersion(production.look(place, collection).digest)
        except Exception as error:  # a broken table must not hide the others
            context.log.error("%s: %s", collection, error)
    return DataVersionsByPartition(seen)
