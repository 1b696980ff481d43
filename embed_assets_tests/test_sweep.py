"""Trials, leaderboard, saturation curve and promotion, as assets of the real graph."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import DagsterInstance, build_sensor_context

from embed_assets.defs.collections_sensor import register_collections
from embed_assets.defs.partitions import collections, trials
from embed_assets.defs.promote_trial import promote_trial
from embed_assets.defs.resources import WorkspaceResource
from embed_assets.defs.search_sensor import search_trials
from embed_assets.lineage import dev_scores, finished_trials
from embed_assets.run import compare_trials, materialize_collection, materialize_trial, open_instance
from embed_assets.workspace import Workspace
from embed_assets_tests.small_collections import override, write_small_collections

TRIALS = ["data_share=0.25", "data_share=0.5", "data_share=1", "learning_rate=0.0002"]
GRID = {"learning_rate_factors": [1.0], "epochs": [], "data_shares": [0.25, 0.5, 1.0]}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    folder = tmp_path_factory.mktemp("sweep")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("EMBED_ASSETS_DATA", str(folder / "data"))
        environment.setenv("EMBED_ASSETS_HOME", str(folder / "home"))
        write_small_collections(folder / "data")
        override(folder / "data", "routers", {"trials": GRID})
        yield Workspace(folder / "data", folder / "home")


@pytest.fixture(scope="module")
def instance(workspace: Workspace) -> Iterator[DagsterInstance]:
    with open_instance(workspace.home) as instance:
        assert materialize_collection(instance, "routers", "checkpoint")
        assert all(materialize_trial(instance, "routers", name) for name in TRIALS)
        yield instance


def checkpoints(workspace: Workspace) -> set[Path]:
    return set((workspace.store.root / "checkpoint" / "routers").glob("*/manifest.json"))


def test_trials_share_all_that_is_upstream_and_one_as_set_shares_the_checkpoint(workspace: Workspace, instance: DagsterInstance):
    assert sorted(finished_trials(workspace, "routers")) == TRIALS
    assert len(checkpoints(workspace)) == len(TRIALS)  # data_share=1 is the checkpoint itself
    assert len(list((workspace.store.root / "triplets" / "routers").glob("*/manifest.json"))) == 1
    current = workspace.store.current("checkpoint", "routers")
    assert current.manifest["settings"]["training"]["data_share"] == 1.0
    assert set(dev_scores(workspace, "routers")) == set(TRIALS)


def test_leaderboard_and_curve_have_a_table_a_chart_and_words(workspace: Workspace, instance: DagsterInstance):
    assert compare_trials(instance, "routers")
    for asset in ("leaderboard", "saturation_curve"):
        report = workspace.store.current(asset, "routers").report
        assert {path.suffix for path in report.iterdir()} == {".md", ".png", ".json"}
    leaderboard = workspace.store.current("leaderboard", "routers")
    assert leaderboard.summary["trials"] == 2 and leaderboard.summary["advice"]
    assert "twice as many examples" in workspace.store.current("saturation_curve", "routers").summary["verdict"]


def test_a_promoted_trial_is_the_checkpoint_without_any_training(workspace: Workspace, instance: DagsterInstance):
    before = checkpoints(workspace)
    settings = workspace.data / "collections" / "routers" / "settings.yaml"
    text = settings.read_text()
    config = {"ops": {"write_settings": {"config": {"trial": "learning_rate=0.0002"}}}}
    done = promote_trial.execute_in_process(
        config, instance=instance, partition_key="routers", resources={"workspace": WorkspaceResource()}
    )
    assert done.success and materialize_collection(instance, "routers", "checkpoint")
    current = workspace.store.current("checkpoint", "routers")
    assert current.manifest["settings"]["training"]["learning_rate"] == 2e-4
    assert checkpoints(workspace) == before
    settings.write_text(text)
    assert materialize_collection(instance, "routers", "checkpoint")


def test_trials_of_other_settings_do_not_count(workspace: Workspace, instance: DagsterInstance):
    settings = workspace.data / "collections" / "routers" / "settings.yaml"
    text = settings.read_text()
    override(workspace.data, "routers", {"trials": GRID, "training": {"seed": 99}})
    assert finished_trials(workspace, "routers") == {}
    assert not compare_trials(instance, "routers")
    settings.write_text(text)
    assert sorted(finished_trials(workspace, "routers")) == TRIALS


def test_planned_trials_become_partitions(workspace: Workspace):
    with DagsterInstance.ephemeral() as instance:
        asked = register_collections(build_sensor_context(instance, resources={"workspace": WorkspaceResource()}))
        names = {request.partitions_def_name: request.partition_keys for request in asked.dynamic_partitions_requests}
    assert set(names[collections.name]) == {"bakery", "routers"}
    assert {"data_share=0.25", "learning_rate=0.0001", "epochs=1_learning_rate=0.0001"} <= set(names[trials.name])


def test_the_search_asks_for_one_trial_at_a_time_until_there_are_enough(workspace: Workspace, instance: DagsterInstance):
    def ask() -> list[str]:
        tick = search_trials(build_sensor_context(instance, resources={"workspace": WorkspaceResource()}))
        return [str(request.partition_key) for request in tick.run_requests]

    assert ask() == []
    override(workspace.data, "routers", {"trials": GRID | {"suggested": 2}})
    first = ask()
    assert len(first) == 1 and first[0].startswith("routers|epochs=")
    override(workspace.data, "routers", {"trials": GRID | {"suggested": 1}})
    assert ask() == []  # learning_rate=0.0002 is beside the grid, as a suggested one would be
