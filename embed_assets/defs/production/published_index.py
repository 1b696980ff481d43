from datetime import timedelta
from pathlib import Path

from dagster import AssetCheckResult, AssetCheckSeverity, AssetExecutionContext, Config, FreshnessPolicy, MaterializeResult
from pydantic import Field

from embed_assets.artifacts.inputs import Inputs
from embed_assets.defs.resources import GpuResource, WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.lineage import resolve
from embed_assets.production.gate import Verdict
from embed_assets.production.published import NOTHING, Published
from embed_assets.production.publishing import Judged, judge_candidate, publish
from embed_assets.production.settings import PublishingSettings
from embed_assets.production.stages import IN_PRODUCTION, PUBLISHED_INDEX
from embed_assets.reports.writing import inert


class PublishingConfig(Config):
    """What an operator may say in the launchpad."""

    publish_anyway: bool = Field(False, description="publish whatever the gate says, and although it was rolled back before")


# A run counts also where it publishes nothing new; without one for a month, somebody should ask why.
FRESHNESS = FreshnessPolicy.time_window(fail_window=timedelta(days=31), warn_window=timedelta(days=15))


@stage_asset(PUBLISHED_INDEX, kinds={"lancedb"}, gpu=True, freshness=FRESHNESS)
def published_index(
    context: AssetExecutionContext, config: PublishingConfig, workspace: WorkspaceResource, gpu: GpuResource
) -> MaterializeResult:
    """The collection in LanceDB as search reads it, with the vectors of the best model so far: a checkpoint, or the base model.

    Its artifact is the verdict of the gate; the index itself lies in the database that the settings name.
    """
    place, compute = workspace.open(), gpu.compute()
    inputs = resolve(place, PUBLISHED_INDEX, context.partition_key)
    published = Published(place, inputs.collection, inputs.block(PublishingSettings))
    source = inputs.sources.get(IN_PRODUCTION)

    def write(folder: Path, scratch: Path, inputs: Inputs) -> None:
        if source is None:
            Judged(Verdict(False, NOTHING), ()).write(folder)
        else:
            judge_candidate(published, inputs, source.digest, compute, folder).write(folder)

    result = materialize_stage(context, place, PUBLISHED_INDEX, write, inputs)
    artifact = place.store.find(inputs.stage, inputs.place, inputs.fingerprint)
    assert artifact is not None, "it was built or found just now"
    judged = Judged.read(artifact)
    promoted, reason = True, judged.verdict.reason
    if source is not None:
        promoted, reason = publish(published, inputs, judged, source.digest, compute, config.publish_anyway)
    return MaterializeResult(
        data_version=result.data_version,
        metadata={"decision": reason, **published.describe(), **(result.metadata or {})},
        check_results=[
            AssetCheckResult(check_name="promoted", passed=promoted, description=inert(reason), severity=AssetCheckSeverity.WARN)
        ],
    )
