from pathlib import Path

from dagster import AssetExecutionContext, MaterializeResult

from embed_assets.artifacts.inputs import Inputs
from embed_assets.artifacts.workspace import Workspace
from embed_assets.defs.resources import GpuResource, WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.evaluation.dev_set import read_dev_set
from embed_assets.models.hardware import Compute
from embed_assets.models.settings import BaseModelSettings, CheckpointSettings
from embed_assets.reports.training import write_taken_over, write_training
from embed_assets.training.fine_tuning import fine_tune
from embed_assets.training.own_checkpoint import take_over
from embed_assets.training.settings import TrainingSettings
from embed_assets.training.stages import CHECKPOINT
from embed_assets.training.task import TrainingTask


@stage_asset(CHECKPOINT, kinds={"pytorch", "huggingface"}, gpu=True)
def checkpoint(context: AssetExecutionContext, workspace: WorkspaceResource, gpu: GpuResource) -> MaterializeResult:
    """The fine-tuned embedding model, or one that was trained elsewhere: a sentence-transformers folder."""
    place, compute = workspace.open(), gpu.compute()

    def write(folder: Path, scratch: Path, inputs: Inputs) -> None:
        write_checkpoint(folder, scratch, inputs, place, compute)

    return materialize_stage(context, place, CHECKPOINT, write)


def write_checkpoint(folder: Path, scratch: Path, inputs: Inputs, workspace: Workspace, compute: Compute) -> None:
    """Fine-tune on the triplets, or take a trained model over, and write the artifact of a checkpoint."""
    base_model, training, own = inputs.block(BaseModelSettings), inputs.block(TrainingSettings), inputs.block(CheckpointSettings)
    model = folder / "model"
    if own.name:
        return write_taken_over(folder, own.name, take_over(own, base_model, model))
    # Beside the artifacts, so that TensorBoard shows all trainings, those under way too.
    logs = workspace.logs / inputs.stage / inputs.collection / inputs.fingerprint
    examples, dev = inputs.table("triplets", "triplets"), read_dev_set(inputs.folder("triplets"))
    done = fine_tune(TrainingTask(examples, model, scratch, base_model, training, compute, logs, dev))
    write_training(folder, done.curve, best_kept=training.early_stopping > 0, merges=done.merges)
