from pathlib import Path

from dagster import AssetExecutionContext, MaterializeResult

from embed_assets.artifacts.inputs import Inputs
from embed_assets.defs.resources import GpuResource, WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.models.settings import BaseModelSettings
from embed_assets.reports.training import write_training
from embed_assets.training.reranker import fine_tune_reranker
from embed_assets.training.settings import RerankerSettings
from embed_assets.training.stages import RERANKER


@stage_asset(RERANKER, kinds={"pytorch", "huggingface"}, gpu=True)
def reranker(context: AssetExecutionContext, workspace: WorkspaceResource, gpu: GpuResource) -> MaterializeResult:
    """The fine-tuned re-ranker: a cross-encoder in a sentence-transformers folder. Built only if asked for."""

    def write(folder: Path, scratch: Path, inputs: Inputs) -> None:
        base_model, settings = inputs.block(BaseModelSettings), inputs.block(RerankerSettings)
        examples = inputs.table("triplets", "triplets")
        write_training(folder, fine_tune_reranker(examples, folder / "model", scratch, base_model, settings, gpu.compute()))

    return materialize_stage(context, workspace.open(), RERANKER, write)
