import dataclasses
import json
from pathlib import Path

from dagster import AssetExecutionContext, MaterializeResult

from embed_assets.defs.resources import WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.lineage import read_trials
from embed_assets.reports.sweep import write_saturation
from embed_assets.sweep.saturation import fit_saturation, gains_by_examples
from embed_assets.sweep.stages import SATURATION_CURVE


@stage_asset(SATURATION_CURVE, group="sweep", kinds={"numpy"}, automatic=False)
def saturation_curve(context: AssetExecutionContext, workspace: WorkspaceResource) -> MaterializeResult:
    """How the gain over the base model grows with the number of training examples, and what more of them would add."""
    place = workspace.open()
    collection = context.partition_key
    settings = place.settings(collection)

    def write(folder: Path, scratch: Path) -> None:
        examples, gains = gains_by_examples(read_trials(place, collection), settings.training)
        curve = fit_saturation(examples, gains, settings.scoring.seed)
        (folder / "saturation.json").write_text(json.dumps(dataclasses.asdict(curve), indent=2))
        write_saturation(folder, collection, curve, examples, gains, settings.scoring)

    return materialize_stage(context, place, SATURATION_CURVE, write)
