"""The graph in a code location of others, under a prefix and beside an asset of the same name: the example of the docs."""

import importlib
import re
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import ModuleType

import pytest
from dagster import (
    AssetCheckKey,
    AssetKey,
    AssetSelection,
    DagsterInstance,
    DagsterRunStatus,
    Definitions,
    SensorResult,
    build_run_status_sensor_context,
    build_schedule_context,
    build_sensor_context,
    evaluate_automation_conditions,
    execute_job,
)
from dagster._core.definitions.reconstruct import ReconstructableRepository

from embed_assets.artifacts.workspace import open_workspace
from embed_assets.cli.runs import open_instance
from embed_assets.definitions import load_graph
from embed_assets.defs.executor import IN_PROCESS
from embed_assets.defs.failures import tell_of_failures
from embed_assets.defs.names import NAME_TAG
from embed_assets.defs.partitions import collections
from embed_assets.defs.production.production_drift import look_at_production
from embed_assets.defs.production.production_sensor import retrain_on_production_change
from embed_assets.defs.resources import WorkspaceResource
from embed_assets.graph import DEFAULT_STAGES, STAGES
from embed_assets.lineage import open_published
from embed_assets_tests.production.test_published_index import put, write_chunks
from embed_assets_tests.production_tables import rows_of, write_production_table, write_table_collection
from embed_assets_tests.small_collections import BAKERY, ROUTERS, override, write_collection

PAGE = Path(__file__).parents[2] / "docs" / "code-location.md"
OURS = AssetKey(["search", "corpus_chunks"])
THEIRS = AssetKey("corpus_chunks")
MORNING = datetime(2026, 3, 1, 5)


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The example as a module that Dagster can load again in another process."""
    (tmp_path / "their_location.py").write_text(re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1])
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("their_location")
    del sys.modules["their_location"]


@pytest.fixture
def instance(workspace_folder: Path) -> Iterator[DagsterInstance]:
    """``bakery`` with files, and ``support`` with a production table; nothing is built yet."""
    data = workspace_folder / "data"
    write_collection(data / "collections" / "bakery", BAKERY)
    write_table_collection(data, "support", publishing={"uri": "published"})
    write_production_table(data, rows_of(ROUTERS))
    with open_instance(workspace_folder / "home") as instance:
        instance.add_dynamic_partitions(collections.name, ["bakery"])
        yield instance


def run_job(theirs: ModuleType, instance: DagsterInstance, name: str, partition: str, *keys: AssetKey):
    job = ReconstructableRepository.for_module(theirs.__name__, "defs").get_reconstructable_job(name)
    return execute_job(job, instance, IN_PROCESS, {"dagster/partition": partition}, asset_selection=keys or None)


def test_every_asset_job_sensor_and_schedule_loads_with_prefixed_keys(theirs: ModuleType):
    Definitions.validate_loadable(theirs.defs)
    repository = theirs.defs.get_repository_def()
    plain = load_graph()
    assert {job.name for job in repository.get_all_jobs()} >= {job.name for job in plain.jobs}
    assert {sensor.name for sensor in repository.sensor_defs} == {sensor.name for sensor in plain.sensors}
    assert {schedule.name for schedule in repository.schedule_defs} == {schedule.name for schedule in plain.schedules}
    graph = repository.asset_graph
    moved = graph.get_all_asset_keys() - {THEIRS}
    assert {key.path[0] for key in moved} == {"search"} and len(moved) == len(plain.assets)
    assert {key.asset_key.path[0] for node in graph.asset_nodes for key in node.check_keys} == {"search"}
    assert {key.path[0] for key in moved for key in graph.get(key).parent_keys} == {"search"}
    everything = AssetSelection.assets(*(["search", name] for name in DEFAULT_STAGES)).resolve(graph)
    assert repository.get_job("run_collection").asset_layer.selected_asset_keys == everything
    assert {graph.get(key).tags[NAME_TAG] for key in moved} == {key.path[1] for key in moved}
    others = [job for job in repository.get_all_jobs() if job.name != "__ASSET_JOB"]
    assert len(others) > 5 and not any(THEIRS in job.asset_layer.selected_asset_keys for job in others)
    (propagate,) = (it for it in repository.sensor_defs if it.name == "propagate_changes")
    automatic = {node.key for node in graph.asset_nodes if node.automation_condition is not None}
    assert automatic >= {AssetKey(["search", name]) for name in STAGES}
    assert automatic <= propagate.asset_selection.resolve(graph) <= moved


@pytest.mark.long
def test_a_job_builds_ours_and_automation_asks_for_it_after_an_edit(
    theirs: ModuleType, instance: DagsterInstance, workspace_folder: Path
):
    assert run_job(theirs, instance, "run_collection", "bakery", OURS).success
    event = instance.get_latest_materialization_event(OURS)
    assert event.asset_materialization.partition == "bakery" and instance.get_latest_materialization_event(THEIRS) is None
    check = AssetCheckKey(OURS, "documents_read")
    assert instance.event_log_storage.get_asset_check_execution_history(check, limit=1)
    first = evaluate_automation_conditions(theirs.defs, instance)
    instance.add_dynamic_partitions(collections.name, ["support"])
    second = evaluate_automation_conditions(theirs.defs, instance, cursor=first.cursor)
    asked = {key: second.get_requested_partitions(key) for key in theirs.defs.resolve_asset_graph().get_all_asset_keys()}
    assert {key for key, partitions in asked.items() if partitions == {"support"}} == {
        AssetKey(["search", name]) for name in DEFAULT_STAGES
    }
    override(workspace_folder / "data", "bakery", {"chunking": {"max_tokens": 64}})
    third = evaluate_automation_conditions(theirs.defs, instance, cursor=second.cursor)
    assert third.get_requested_partitions(OURS) == {"bakery"}


def test_sensor_and_schedule_name_the_assets_as_they_are_called_there(theirs: ModuleType, instance: DagsterInstance):
    instance.add_dynamic_partitions(collections.name, ["support"])
    assert run_job(theirs, instance, "run_collection", "support", OURS).success
    resources = {"workspace": WorkspaceResource()}
    seen = retrain_on_production_change(build_sensor_context(instance, resources=resources, definitions=theirs.defs))
    assert isinstance(seen, SensorResult)
    assert [it.asset_key for it in seen.asset_events] == [AssetKey(["search", "production_table"])]
    repository = theirs.defs.get_repository_def()
    (request,) = look_at_production(build_schedule_context(instance, MORNING, resources, repository))
    job = repository.get_job(look_at_production.job_name)
    looked = job.get_subset(
        asset_selection=set(request.asset_selection), asset_check_selection=set(request.asset_check_keys)
    ).asset_layer
    assert looked.selected_asset_keys == {AssetKey(["search", "production_drift"])}
    assert AssetCheckKey(AssetKey(["search", "published_index"]), "endpoint_agrees") in looked.asset_graph.asset_check_keys


def test_rollback_is_recorded_of_the_asset_as_it_is_called_there(theirs: ModuleType, instance: DagsterInstance, tmp_path: Path):
    instance.add_dynamic_partitions(collections.name, ["support"])
    index = open_published(open_workspace(), "support").index
    chunks = write_chunks(tmp_path / "chunks.parquet", 4)
    first, second = (put(index, chunks, direction, checkpoint=f"{direction}", base_model={}) for direction in (1, 2))
    assert index.pointer().current == second
    assert run_job(theirs, instance, "roll_back", "support").success
    assert index.pointer().current == first
    (record,) = instance.fetch_observations(AssetKey(["search", "published_index"]), limit=2).records
    assert record.asset_observation.metadata["decision"].value == index.pointer().reason


def test_failures_of_their_runs_are_left_to_them(theirs: ModuleType, instance: DagsterInstance, workspace_folder: Path):
    override(workspace_folder / "data", "bakery", {"chunking": {"max_tokens": "many"}})
    assert not run_job(theirs, instance, "run_collection", "bakery", OURS).success
    repository = theirs.defs.get_repository_def()
    (run,) = instance.get_runs()
    other = run._replace(job_name="__ASSET_JOB", asset_selection=frozenset({THEIRS}))
    (event,) = [it.dagster_event for it in instance.all_logs(run.run_id) if it.dagster_event and it.dagster_event.is_failure][-1:]

    def heard(of) -> str:
        context = build_run_status_sensor_context("tell_of_failures", event, instance, of, repository_def=repository)
        return tell_of_failures(context.for_run_failure()).skip_message

    assert run.status == DagsterRunStatus.FAILURE
    assert "EMBED_ASSETS_WEBHOOK" in heard(run)
    assert heard(other) == "the run is of another graph in this code location"
    rolled_back = run._replace(job_name="roll_back", asset_selection=None, tags={"embed_assets/name": "roll_back"})
    assert "EMBED_ASSETS_WEBHOOK" in heard(rolled_back)
