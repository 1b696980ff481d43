from pathlib import Path

import polars as pl
from dagster import AssetExecutionContext, MaterializeResult

from embed_assets import reports
from embed_assets.defs.resources import GpuResource, WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.stages import CHECKPOINT
from embed_assets.training import fine_tune


@stage_asset(CHECKPOINT, group="model", kinds={"pytorch", "huggingface"}, gpu=True)
def checkpoint(context: AssetExecutionContext, workspace: WorkspaceResource, gpu: GpuResource) -> MaterializeResult:
    """The fine-tuned embedding model: a sentence-transformers folder."""
    place = workspace.open()
    settings = place.settings(context.partition_key)

    def write(folder: Path, scratch: Path) -> None:
        examples = pl.read_parquet(place.store.current("triplets", context.partition_key).folder / "triplets.parquet")
        # Beside the artifacts, so that TensorBoard shows all trainings, those under way too.
        logs = place.logs / "checkpoint" / context.partition_key / scratch.stem
        curve = fine_tune(examples, folder / "model", scratch, settings.base_model, settings.training, gpu.compute(), logs)
        reports.write_training(folder, curve, best_kept=settings.training.early_stopping > 0)

    return materialize_stage(context, place, CHECKPOINT, write)
