import dataclasses
import json
from pathlib import Path

from dagster import AssetExecutionContext, MaterializeResult

from embed_assets.artifacts.inputs import Inputs
from embed_assets.defs.resources import WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.evaluation.settings import ScoringSettings
from embed_assets.reports.sweep import write_saturation
from embed_assets.sweep.saturation import fit_saturation, gains_by_examples
from embed_assets.sweep.stages import SATURATION_CURVE
from embed_assets.sweep.trials import read_trials
from embed_assets.training.settings import TrainingSettings


@stage_asset(SATURATION_CURVE, kinds={"numpy"}, automatic=False)
def saturation_curve(context: AssetExecutionContext, workspace: WorkspaceResource) -> MaterializeResult:
    """How the gain over the base model grows with the number of training examples, and what more of them would add."""

    def write(folder: Path, scratch: Path, inputs: Inputs) -> None:
        scoring = inputs.block(ScoringSettings)
        points = gains_by_examples(read_trials(inputs.artifacts), inputs.block(TrainingSettings))
        curve = fit_saturation(points, scoring.seed)
        (folder / "saturation.json").write_text(json.dumps(dataclasses.asdict(curve), indent=2))
        write_saturation(folder, inputs.collection, curve, points, scoring)

    return materialize_stage(context, workspace.open(), SATURATION_CURVE, write)
