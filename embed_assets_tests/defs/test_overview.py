"""The asset that shows all collections side by side."""

from pathlib import Path

from dagster import AssetKey

from embed_assets.artifacts.workspace import Workspace
from embed_assets.cli.runs import open_instance
from embed_assets.definitions import defs
from embed_assets_tests.test_overview import summary, write_scored_collection


def test_gains_are_drawn_and_contradictions_counted(workspace_folder: Path):
    place = Workspace(workspace_folder / "data", workspace_folder / "home")
    for name, human in (("good", 0.1), ("contrary", -0.1)):
        write_scored_collection(place, name, [summary("human", human, 0.001), summary("synthetic", 0.15, 0.001)])
    write_scored_collection(place, "new", None)
    job = defs.resolve_implicit_global_asset_job_def()
    with open_instance(place.home) as instance:
        done = job.execute_in_process(None, instance, asset_selection=[AssetKey("overview")])
    metadata = done.asset_materializations_for_node("overview")[0].metadata
    figures = {name: metadata[name].value for name in ("collections_with_scores", "mean_gain_human", "mean_gain_synthetic")}
    assert figures == {"collections_with_scores": 2, "mean_gain_human": 0.0, "mean_gain_synthetic": 0.15}
    assert metadata["contradictions"].value == 1
    assert (
        metadata["gains"].value.startswith("![gains](data:image/png;base64,")
        and "| contrary | human |" in metadata["gains"].value
    )
    assert "| new | not published |" in metadata["production"].value
