from collections.abc import Callable
from pathlib import Path

import polars as pl
from dagster import AssetExecutionContext, MaterializeResult

from embed_assets.artifacts.workspace import Workspace
from embed_assets.defs.resources import GpuResource, WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.models.hardware import Compute
from embed_assets.reports.training import write_training
from embed_assets.settings import Settings
from embed_assets.training.fine_tuning import fine_tune
from embed_assets.training.stages import CHECKPOINT


@stage_asset(CHECKPOINT, group="model", kinds={"pytorch", "huggingface"}, gpu=True)
def checkpoint(context: AssetExecutionContext, workspace: WorkspaceResource, gpu: GpuResource) -> MaterializeResult:
    """The fine-tuned embedding model: a sentence-transformers folder."""
    place = workspace.open()
    collection = context.partition_key
    return materialize_stage(context, place, CHECKPOINT, trainer(place, collection, place.settings(collection), gpu.compute()))


def trainer(workspace: Workspace, collection: str, settings: Settings, compute: Compute) -> Callable[[Path, Path], None]:
    """Writes the artifact of a checkpoint that is trained with these settings."""

    def write(folder: Path, scratch: Path) -> None:
        examples = pl.read_parquet(workspace.store.current("triplets", collection).folder / "triplets.parquet")
        # Beside the artifacts, so that TensorBoard shows all trainings, those under way too.
        logs = workspace.logs / "checkpoint" / collection / scratch.stem
        curve = fine_tune(examples, folder / "model", scratch, settings.base_model, settings.training, compute, logs)
        write_training(folder, curve, best_kept=settings.training.early_stopping > 0)

    return write
