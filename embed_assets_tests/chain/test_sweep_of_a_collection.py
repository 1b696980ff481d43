"""Trials, leaderboard, saturation curve and promotion, as assets of the real graph."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner, Result
from dagster import AssetKey, DagsterInstance, SensorResult, build_sensor_context

from embed_assets.artifacts.workspace import Workspace
from embed_assets.cli.main import main
from embed_assets.cli.runs import compare_trials, materialize_collection, materialize_trial, open_instance
from embed_assets.definitions import defs
from embed_assets.defs.collections_sensor import register_collections
from embed_assets.defs.partitions import collections, trials
from embed_assets.defs.resources import WorkspaceResource
from embed_assets.defs.sweep.promote_trial import promote_trial
from embed_assets.defs.sweep.search_sensor import RUN_KEY_TAG, search_trials
from embed_assets.evaluation.comparison import compare_models
from embed_assets.lineage import dev_scores, finished_trials
from embed_assets.models.locations import ModelNotFoundError
from embed_assets.settings import read_settings
from embed_assets.training.log import TrainingDivergedError
from embed_assets.training.task import TrainingTask
from embed_assets_tests.cluster.conftest import wait_until
from embed_assets_tests.small_collections import override, write_small_collections

pytestmark = pytest.mark.slow

TRIALS = ["data_share=0.25", "data_share=0.5", "data_share=1", "learning_rate=0.0002"]
SLEEPING_TRIALS = """
import time
from embed_assets.cli.runs import processes_of_trials
with processes_of_trials(2) as processes:
    asked = [processes.submit(time.sleep, 600) for _ in range(2)]
    print(*processes._processes, flush=True)
"""
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


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Training fails from now on; the learning rates that were tried."""
    tried = []

    def fail(task: TrainingTask) -> None:
        tried.append(task.settings.learning_rate)
        raise TrainingDivergedError("the loss is nan")  # no failure that another try could mend

    monkeypatch.setattr("embed_assets.defs.training.checkpoint.fine_tune", fail)
    return tried


def sweep(workspace: Workspace, *arguments: str) -> Result:
    folders = ["--data", str(workspace.data), "--home", str(workspace.home)]
    return CliRunner().invoke(main, ["sweep", "routers", *arguments, *folders])


def tick(instance: DagsterInstance) -> SensorResult:
    return search_trials(build_sensor_context(instance, resources={"workspace": WorkspaceResource()}))


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
    for asset in ("leaderboard", "saturation_curve"):
        assert compare_trials(instance, "routers", asset)
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
    assert not compare_trials(instance, "routers", "leaderboard")
    settings.write_text(text)
    assert sorted(finished_trials(workspace, "routers")) == TRIALS


def test_a_trial_that_fails_stops_no_other_and_is_not_suggested_twice(
    workspace: Workspace, instance: DagsterInstance, no_training: list[float]
):
    done = sweep(workspace, "learning_rate=0.0003", "data_share=0.25", "--suggested", "3")
    assert done.exit_code == 1
    assert len(no_training) == 2 and no_training[0] == 3e-4  # the named one and the first suggested one
    assert "routers: trial 2 of 5, data_share=0.25" in done.output and "is suggested again" in done.output
    assert "| learning_rate=0.0002 |" in done.output and "| examples | gain |" in done.output
    assert "Error: routers: the trial learning_rate=0.0003 failed; the trial epochs=" in done.output


def test_as_many_trials_run_at_once_as_the_pool_has_slots(workspace: Workspace, instance: DagsterInstance):
    instance.event_log_storage.set_concurrency_slots("gpu", 2)
    try:
        done = sweep(workspace, "seed=101", "seed=102", "seed=103")
    finally:
        instance.event_log_storage.set_concurrency_slots("gpu", 1)
    assert done.exit_code == 0 and "routers: trial 3 of 3, seed=103" in done.output
    runs = sorted(
        (record.start_time, record.end_time)
        for record in instance.get_run_records()
        if record.dagster_run.tags.get("dagster/partition/trial", "").startswith("seed=10")
    )
    assert len(runs) == 3 and {"seed=101", "seed=102", "seed=103"} <= set(finished_trials(workspace, "routers"))
    assert runs[1][0] < runs[0][1], "the second trial began when the first had ended"
    assert runs[2][0] > min(runs[0][1], runs[1][1]), "three trials ran at once"


def test_the_processes_of_trials_end_with_a_sweep_that_is_killed():
    process = subprocess.Popen([sys.executable, "-c", SLEEPING_TRIALS], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        trials = [psutil.Process(int(it)) for it in process.stdout.readline().split()]
        assert len(trials) == 2 and all(it.is_running() for it in trials)
        wait_until(lambda: all(it.num_threads() > 1 for it in trials))  # they wait for the end of the sweep
        process.kill()
        wait_until(lambda: not any(it.is_running() for it in trials))
    finally:
        process.kill()
        process.wait()


def test_a_sweep_of_too_few_sizes_has_a_leaderboard_and_no_older_curve(workspace: Workspace, instance: DagsterInstance):
    assert compare_trials(instance, "routers", "saturation_curve")
    settings = workspace.data / "collections" / "routers" / "settings.yaml"
    text = settings.read_text()
    override(workspace.data, "routers", {"trials": GRID, "training": {"learning_rate": 2e-4}})
    done = sweep(workspace, "learning_rate=0.0002")
    settings.write_text(text)
    assert done.exit_code == 0
    assert "| learning_rate=0.0002 |" in done.output and "| examples | gain |" not in done.output
    assert "without a saturation curve: a saturation curve needs trials of at least three sizes, and 1 are" in done.output


def test_any_two_models_can_be_compared(workspace: Workspace, instance: DagsterInstance):
    checkpoint = workspace.store.current("checkpoint", "routers")
    settings = read_settings(workspace, "routers")
    models = ["base", checkpoint.fingerprint[:8]]
    human, _ = compare_models(workspace, "routers", models, settings.base_model, settings.scoring)
    assert set(human["systems"]) == {"base", checkpoint.fingerprint[:8], "bm25"} and human["queries"] == 5
    assert [(test["system"], test["baseline"]) for test in human["tests"]] == [(checkpoint.fingerprint[:8], "base")]
    folder = str(checkpoint.folder / "model")
    alone, *_ = compare_models(workspace, "routers", [folder], settings.base_model, settings.scoring)
    assert alone["systems"][folder] == human["systems"][checkpoint.fingerprint[:8]]
    with pytest.raises(ModelNotFoundError, match="nothing at"):
        compare_models(workspace, "routers", ["./no-such-model"], settings.base_model, settings.scoring)


def test_forgetting_is_looked_for_on_another_collection(workspace: Workspace, instance: DagsterInstance):
    assert materialize_collection(instance, "routers", "forgetting")
    (finding,) = workspace.store.current("forgetting", "routers").findings
    assert finding["passed"] and "name a collection in forgetting.collection" in finding["message"]
    settings = workspace.data / "collections" / "routers" / "settings.yaml"
    text = settings.read_text()
    override(workspace.data, "routers", {"trials": GRID, "forgetting": {"collection": "bakery"}})
    assert not materialize_collection(instance, "routers", "forgetting")  # the bakery has no evaluation set yet
    assert materialize_collection(instance, "bakery", "evaluation_set")
    assert materialize_collection(instance, "routers", "forgetting")
    (finding,) = workspace.store.current("forgetting", "routers").findings
    assert finding["message"].startswith("bakery: ")
    settings.write_text(text)


def test_planned_trials_become_partitions(workspace: Workspace):
    with DagsterInstance.ephemeral() as instance:
        asked = register_collections(build_sensor_context(instance, resources={"workspace": WorkspaceResource()}))
        names = {request.partitions_def_name: request.partition_keys for request in asked.dynamic_partitions_requests}
    assert set(names[collections.name]) == {"bakery", "routers"}
    assert {"data_share=0.25", "learning_rate=0.0001", "epochs=1_learning_rate=0.0001"} <= set(names[trials.name])


def test_the_search_asks_for_one_trial_at_a_time_until_there_are_enough(workspace: Workspace, instance: DagsterInstance):
    def ask() -> list[str]:
        return [str(request.partition_key) for request in tick(instance).run_requests]

    assert ask() == []
    override(workspace.data, "routers", {"trials": GRID | {"suggested": 2}})
    first = ask()
    assert len(first) == 1 and first[0].startswith("routers|epochs=")
    override(workspace.data, "routers", {"trials": GRID | {"suggested": 1}})
    assert ask() == []  # learning_rate=0.0002 is beside the grid, as a suggested one would be


def test_the_search_tells_of_a_trial_that_failed_and_asks_again_when_something_changed(
    workspace: Workspace, instance: DagsterInstance, no_training: list[float]
):
    override(workspace.data, "routers", {"trials": GRID | {"suggested": 2}})
    (request,) = tick(instance).run_requests
    assert tick(instance).run_requests[0].run_key == request.run_key
    instance.add_dynamic_partitions(trials.name, [request.partition_key.keys_by_dimension["trial"]])
    failed = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance,
        partition_key=request.partition_key,
        asset_selection=[AssetKey("trial")],
        raise_on_error=False,
        tags={**request.tags, RUN_KEY_TAG: request.run_key},
    )
    assert not failed.success and len(no_training) == 1
    skipped = tick(instance)
    assert not skipped.run_requests
    name = request.partition_key.keys_by_dimension["trial"]
    told = f"routers: the trial {name} is suggested again, whose run {failed.run_id} ended with FAILURE"
    assert told in skipped.skip_reason.skip_message
    override(workspace.data, "routers", {"trials": GRID | {"suggested": 2}, "scoring": {"resamples": 300}})
    assert tick(instance).run_requests[0].run_key != request.run_key
