from pathlib import Path

import polars as pl
from dagster import AssetExecutionContext, MaterializeResult

from embed_assets.defs.resources import WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.reports.training import write_reranker_export
from embed_assets.training.export import export_onnx_reranker
from embed_assets.training.parity import check_reranker_parity
from embed_assets.training.reranker import labelled_passages
from embed_assets.training.stages import ONNX_RERANKER


@stage_asset(ONNX_RERANKER, group="model", kinds={"onnx"}, gpu=True)
def onnx_reranker(context: AssetExecutionContext, workspace: WorkspaceResource) -> MaterializeResult:
    """The re-ranker as ONNX, float32 and int8, compared with torch on real pairs. Built only if asked for."""
    place = workspace.open()
    collection = context.partition_key
    settings = place.settings(collection)

    def write(folder: Path, scratch: Path) -> None:
        model = place.store.current("reranker", collection).folder / "model"
        triplets = pl.read_parquet(place.store.current("triplets", collection).folder / "triplets.parquet")
        export_onnx_reranker(model, folder, settings.reranker, settings.export)
        pairs = labelled_passages(triplets, settings.reranker).explode("passage", "label")
        sample = pairs.sample(min(settings.export.parity_chunks, len(pairs)), seed=settings.reranker.seed)
        sampled = sample.select("query", "passage").rows()
        write_reranker_export(folder, check_reranker_parity(model, folder, settings.reranker, sampled))

    return materialize_stage(context, place, ONNX_RERANKER, write)
