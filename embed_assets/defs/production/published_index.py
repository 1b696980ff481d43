from pathlib import Path

from dagster import AssetCheckResult, AssetCheckSeverity, AssetExecutionContext, Config, MaterializeResult
from pydantic import Field

from embed_assets.defs.resources import GpuResource, WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.lineage import ingredients
from embed_assets.production import publishing
from embed_assets.production.gate import Verdict
from embed_assets.production.stages import PUBLISHED_INDEX


class PublishingConfig(Config):
    """What an operator may say in the launchpad."""

    publish_anyway: bool = Field(False, description="publish whatever the gate says, and although it was rolled back before")


@stage_asset(PUBLISHED_INDEX, group="production", kinds={"lancedb"}, gpu=True)
def published_index(
    context: AssetExecutionContext, config: PublishingConfig, workspace: WorkspaceResource, gpu: GpuResource
) -> MaterializeResult:
    """The collection in LanceDB as search reads it, with the vectors of the best checkpoint so far.

    Its artifact is the verdict of the gate; the index itself lies in the database that the settings name.
    """
    place = workspace.open()
    collection = context.partition_key
    made_of = ingredients(place, PUBLISHED_INDEX, collection)
    compared_with = made_of["sources"].get(publishing.SOURCE)

    def write(folder: Path, scratch: Path) -> None:
        if compared_with is None:
            publishing.write_verdict(folder, Verdict(False, publishing.NOTHING))
        else:
            publishing.judge_candidate(place, collection, compared_with, gpu.compute(), folder)

    result = materialize_stage(context, place, PUBLISHED_INDEX, write, made_of)
    verdict = publishing.read_verdict(place, collection)
    promoted, reason = True, verdict.reason
    if compared_with is not None:
        promoted, reason = publishing.publish(place, collection, verdict, compared_with, gpu.compute(), config.publish_anyway)
    return MaterializeResult(
        data_version=result.data_version,
        metadata={"decision": reason, **publishing.describe(place, collection), **result.metadata},
        check_results=[
            AssetCheckResult(check_name="promoted", passed=promoted, description=reason, severity=AssetCheckSeverity.WARN)
        ],
    )
