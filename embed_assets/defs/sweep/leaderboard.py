import json
from pathlib import Path

from dagster import AssetExecutionContext, MaterializeResult

from embed_assets.artifacts.inputs import Inputs
from embed_assets.defs.resources import WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.evaluation.settings import ScoringSettings
from embed_assets.reports.sweep import write_leaderboard
from embed_assets.sweep.leaderboard import rank_trials
from embed_assets.sweep.stages import LEADERBOARD
from embed_assets.sweep.trials import read_trials
from embed_assets.training.settings import TrainingSettings


@stage_asset(LEADERBOARD, kinds={"polars"}, automatic=False)
def leaderboard(context: AssetExecutionContext, workspace: WorkspaceResource) -> MaterializeResult:
    """The finished trials of a collection, best first, with intervals, and which differences are noise."""

    def write(folder: Path, scratch: Path, inputs: Inputs) -> None:
        trials = read_trials(inputs.artifacts)
        ranked = rank_trials(trials, inputs.block(TrainingSettings), inputs.block(ScoringSettings))
        ranked.table.write_parquet(folder / "leaderboard.parquet")
        (folder / "advice.json").write_text(json.dumps({"advice": ranked.advice, "settled": ranked.settled}))
        write_leaderboard(folder, inputs.collection, ranked, {trial.name: trial.seconds for trial in trials})

    return materialize_stage(context, workspace.open(), LEADERBOARD, write)
