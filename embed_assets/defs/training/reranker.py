from pathlib import Path

import polars as pl
from dagster import AssetExecutionContext, MaterializeResult

from embed_assets.defs.resources import GpuResource, WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.reports.training import write_training
from embed_assets.training.reranker import fine_tune_reranker
from embed_assets.training.stages import RERANKER


@stage_asset(RERANKER, group="model", kinds={"pytorch", "huggingface"}, gpu=True)
def reranker(context: AssetExecutionContext, workspace: WorkspaceResource, gpu: GpuResource) -> MaterializeResult:
    """The fine-tuned re-ranker: a cross-encoder in a sentence-transformers folder. Built only if asked for."""
    place = workspace.open()
    settings = place.settings(context.partition_key)

    def write(folder: Path, scratch: Path) -> None:
        examples = pl.read_parquet(place.store.current("triplets", context.partition_key).folder / "triplets.parquet")
        model = folder / "model"
        curve = fine_tune_reranker(examples, model, scratch, settings.base_model, settings.reranker, gpu.compute())
        write_training(folder, curve)

    return materialize_stage(context, place, RERANKER, write)
