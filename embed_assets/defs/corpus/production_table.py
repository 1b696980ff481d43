import warnings

from dagster import BetaWarning, DataVersion, DataVersionsByPartition, OpExecutionContext, observable_source_asset

from embed_assets.artifacts.secrets import hide_secrets
from embed_assets.corpus import production_table as source
from embed_assets.defs.names import named
from embed_assets.defs.partitions import collections
from embed_assets.defs.resources import WorkspaceResource
from embed_assets.settings import read_settings

PRODUCTION_TABLE = "production_table"
warnings.filterwarnings("ignore", message=".*(observable_source_asset|DataVersionsByPartition).*", category=BetaWarning)


@observable_source_asset(
    name=PRODUCTION_TABLE,
    partitions_def=collections,
    group_name="corpus",
    tags={"dagster/kind/lancedb": "", **named(PRODUCTION_TABLE)},
)
def production_table(context: OpExecutionContext, workspace: WorkspaceResource) -> DataVersionsByPartition:
    """The chunks as production has them, in LanceDB; collections with files have none.

    Its data version is a digest over ids and texts: index builds and vectors do not count.
    """
    place = workspace.open()
    seen = {}
    for collection in place.collections():
        try:
            settings = read_settings(place, collection).production
            if settings.uri:
                seen[collection] = DataVersion(source.look(place, collection, settings).digest)
        except Exception as error:  # a broken table must not hide the others
            context.log.error("%s: %s", collection, hide_secrets(error))
    return DataVersionsByPartition(seen)
