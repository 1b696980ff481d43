import json
from pathlib import Path

from dagster import AssetExecutionContext, MaterializeResult

from embed_assets.defs.resources import WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.lineage import read_trials
from embed_assets.reports.sweep import write_leaderboard
from embed_assets.sweep.leaderboard import rank_trials
from embed_assets.sweep.stages import LEADERBOARD


@stage_asset(LEADERBOARD, group="sweep", kinds={"polars"}, automatic=False)
def leaderboard(context: AssetExecutionContext, workspace: WorkspaceResource) -> MaterializeResult:
    """The finished trials of a collection, best first, with intervals, and which differences are noise."""
    place = workspace.open()
    collection = context.partition_key
    settings = place.settings(collection)

    def write(folder: Path, scratch: Path) -> None:
        trials = read_trials(place, collection)
        ranked = rank_trials(trials, settings.training, settings.scoring)
        ranked.table.write_parquet(folder / "leaderboard.parquet")
        (folder / "advice.json").write_text(json.dumps({"advice": ranked.advice, "settled": ranked.settled}))
        write_leaderboard(folder, collection, ranked, {trial.name: trial.seconds for trial in trials})

    return materialize_stage(context, place, LEADERBOARD, write)
