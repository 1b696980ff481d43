from pathlib import Path

from dagster import AssetExecutionContext, MaterializeResult

from embed_assets.artifacts.inputs import Inputs
from embed_assets.defs.resources import GpuResource, WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.evaluation.scoring import Contest, LabelledCollection, score_systems, write_summaries
from embed_assets.evaluation.settings import ForgettingSettings, ScoringSettings
from embed_assets.evaluation.stages import FORGETTING, OF_OTHER
from embed_assets.evaluation.systems import base_and_tuned
from embed_assets.models.settings import BaseModelSettings
from embed_assets.reports.evaluation import write_forgetting


@stage_asset(FORGETTING, kinds={"ranx"}, gpu=True)
def forgetting(context: AssetExecutionContext, workspace: WorkspaceResource, gpu: GpuResource) -> MaterializeResult:
    """The base and the fine-tuned model on a collection that was not trained on. Built only if asked for."""
    place = workspace.open()

    def write(folder: Path, scratch: Path, inputs: Inputs) -> None:
        summaries = []
        if other := inputs.block(ForgettingSettings).collection:
            corpus, yardstick = (inputs.sources[f"{name} of {other}"].value.folder for name in OF_OTHER)
            base_model, scoring, compute = inputs.block(BaseModelSettings), inputs.block(ScoringSettings), gpu.compute()
            encoders = base_and_tuned(base_model, inputs.artifacts["checkpoint"], place.memos, compute)
            contest = Contest(encoders, comparisons=[("tuned", "base")])
            labelled = LabelledCollection.read(other, corpus, yardstick)
            scores = score_systems(labelled, contest, scoring, cluster=compute.cluster)
            summaries = [score.summary for score in scores]
        write_summaries(folder, summaries)
        write_forgetting(folder, summaries)

    return materialize_stage(context, place, FORGETTING, write)
