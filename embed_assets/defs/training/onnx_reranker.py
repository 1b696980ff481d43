from pathlib import Path

from dagster import AssetExecutionContext, MaterializeResult

from embed_assets.artifacts.inputs import Inputs
from embed_assets.defs.resources import WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.reports.training import write_reranker_export
from embed_assets.training.export import export_onnx_reranker
from embed_assets.training.parity import check_reranker_parity
from embed_assets.training.reranker import labelled_passages
from embed_assets.training.settings import ExportSettings, RerankerSettings
from embed_assets.training.stages import ONNX_RERANKER


@stage_asset(ONNX_RERANKER, kinds={"onnx"}, gpu=True)
def onnx_reranker(context: AssetExecutionContext, workspace: WorkspaceResource) -> MaterializeResult:
    """The re-ranker as ONNX, float32 and int8, compared with torch on real pairs. Built only if asked for."""

    def write(folder: Path, scratch: Path, inputs: Inputs) -> None:
        settings, export = inputs.block(RerankerSettings), inputs.block(ExportSettings)
        model, triplets = inputs.folder("reranker") / "model", inputs.table("triplets", "triplets")
        export_onnx_reranker(model, folder, settings, export)
        pairs = labelled_passages(triplets, settings).explode("passage", "label")
        sample = pairs.sample(min(export.parity_chunks, len(pairs)), seed=settings.seed)
        sampled = sample.select("query", "passage").rows()
        write_reranker_export(folder, check_reranker_parity(model, folder, settings, sampled))

    return materialize_stage(context, workspace.open(), ONNX_RERANKER, write)
