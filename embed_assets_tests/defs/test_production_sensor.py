"""What Dagster is told of production tables: their content, and the runs that a change is worth."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterInstance, DagsterRunStatus, SensorResult, build_sensor_context

from embed_assets.cli.runs import materialize_collection, open_instance
from embed_assets.definitions import defs
from embed_assets.defs.corpus.production_table import production_table
from embed_assets.defs.partitions import collections
from embed_assets.defs.production.production_sensor import REASON_TAG, retrain_on_production_change
from embed_assets.defs.resources import WorkspaceResource
from embed_assets_tests.production_tables import production_database, rows_of, write_production_table, write_table_collection
from embed_assets_tests.small_collections import BAKERY, ROUTERS, write_collection

ROWS = rows_of(ROUTERS)
JOB = defs.resolve_implicit_global_asset_job_def()


@pytest.fixture
def instance(workspace_folder: Path) -> Iterator[DagsterInstance]:
    """``support`` and ``bread`` with a table each, ``broken`` without its table, and ``bakery`` with files; not yet built."""
    data = workspace_folder / "data"
    retraining = {"changed_rows": 3, "changed_share": 1.0, "quiet_minutes": 0.0, "retry_minutes": 0.0}
    for name in ("support", "bread", "broken"):
        write_table_collection(data, name, production={"table": name}, retraining=retraining)
    write_collection(data / "collections" / "bakery", BAKERY)
    write_production_table(data, ROWS, "support")
    write_production_table(data, rows_of(BAKERY), "bread")
    with open_instance(workspace_folder / "home") as instance:
        instance.add_dynamic_partitions(collections.name, ["support", "bread", "broken", "bakery"])
        yield instance


def tick(instance: DagsterInstance, cursor: str | None = None) -> SensorResult:
    resources = {"workspace": WorkspaceResource()}
    return retrain_on_production_change(build_sensor_context(instance, cursor, resources=resources, definitions=defs))


def build(instance: DagsterInstance) -> None:
    for name in ("support", "bread"):
        assert materialize_collection(instance, name, "corpus_chunks")


def test_observation_records_the_content_of_every_table_that_can_be_read(instance: DagsterInstance):
    job = defs.resolve_implicit_global_asset_job_def()
    assert job.execute_in_process(instance=instance, asset_selection=[production_table.key]).success
    events = instance.fetch_observations(AssetKey("production_table"), limit=10).records
    versions = {event.partition_key: event.asset_observation.data_version for event in events}
    assert set(versions) == {"support", "bread"}
    assert len(set(versions.values())) == 2


def test_tables_without_chunks_wait_for_the_first_run(instance: DagsterInstance):
    result = tick(instance)
    assert not result.run_requests
    assert "support: corpus_chunks of collection 'support' is not in" in result.skip_reason.skip_message
    assert "bakery" not in result.skip_reason.skip_message


def test_each_changed_table_gets_one_run_and_a_broken_one_stops_none(instance: DagsterInstance, workspace_folder: Path):
    build(instance)
    first = tick(instance)
    assert not first.run_requests
    assert {event.partition for event in first.asset_events} == {"support", "bread"}

    database = production_database(workspace_folder / "data")
    for name in ("support", "bread"):
        table = database.open_table(name)
        table.add([ROWS[0] | {"id": f"new-{number}"} for number in range(2)])
        table.update(where="id = 'new-0'", values={"text": "another text"})
    database.open_table("bread").delete("id = 'rye.md#0'")
    second = tick(instance, first.cursor)
    assert [request.partition_key for request in second.run_requests] == ["bread"]
    assert second.run_requests[0].tags[REASON_TAG] == "production table: 2 added, 0 changed, 1 removed of 9 rows"
    assert not tick(instance, second.cursor).run_requests

    database.open_table("support").delete("id = 'fan.md#0'")
    third = tick(instance, second.cursor)
    assert [request.partition_key for request in third.run_requests] == ["support"]
    assert third.run_requests[0].run_key != second.run_requests[0].run_key
    build(instance)
    fourth = tick(instance, third.cursor)
    assert "support: nothing changed" in fourth.skip_reason.skip_message
    assert "no_such" not in fourth.cursor and set(json.loads(fourth.cursor)) == {"support", "bread", "broken"}


def test_collection_that_is_no_partition_yet_waits(instance: DagsterInstance):
    build(instance)
    instance.delete_dynamic_partition(collections.name, "support")
    assert "support: it is not a partition yet" in tick(instance).skip_reason.skip_message


def test_lost_cursor_asks_for_no_run_where_nothing_changed(instance: DagsterInstance):
    build(instance)
    assert not tick(instance, None).run_requests


def test_files_that_give_way_to_a_table_are_told_of(instance: DagsterInstance, workspace_folder: Path):
    assert materialize_collection(instance, "bakery", "corpus_chunks")
    write_table_collection(workspace_folder / "data", "bakery", production={"table": "bread"})
    assert "bakery: bakery: its chunks were made of files" in tick(instance).skip_reason.skip_message


def test_a_run_that_failed_is_asked_for_again_until_somebody_mends_it(instance: DagsterInstance, workspace_folder: Path):
    build(instance)
    first = tick(instance)
    production_database(workspace_folder / "data").open_table("support").delete("id IN ('fan.md#0', 'led.md#0', 'vlan.md#0')")
    second = tick(instance, first.cursor)
    (asked,) = second.run_requests
    tags = {"dagster/run_key": asked.run_key, "dagster/partition": "support"}
    run = instance.create_run_for_job(JOB, status=DagsterRunStatus.STARTED, tags=tags)
    build(instance)  # the chunks are new already when the run fails
    third = tick(instance, second.cursor)
    assert not third.run_requests
    instance.report_run_failed(run)
    fourth = tick(instance, third.cursor)
    (again,) = fourth.run_requests
    assert again.partition_key == "support" and again.run_key != asked.run_key
    assert "try 2 of 3, the run before failed" in again.tags[REASON_TAG]

    tags = {"dagster/run_key": again.run_key, "dagster/partition": "support"}
    run = instance.create_run_for_job(JOB, status=DagsterRunStatus.STARTED, tags=tags)
    instance.report_run_failed(run)
    mended = {"dagster/root_run_id": run.run_id, "dagster/partition": "support"}
    instance.create_run_for_job(JOB, status=DagsterRunStatus.SUCCESS, tags=mended)
    fifth = tick(instance, fourth.cursor)
    assert "support: nothing changed" in fifth.skip_reason.skip_message


@pytest.mark.parametrize(
    "cursor",
    ['{"support": {"observed": "x", "of_a_newer_version": 1}}', '{"support": {"moved": null}}', "[]", "null", "no JSON"],
)
def test_a_cursor_of_another_version_or_of_a_person_stops_nothing(instance: DagsterInstance, cursor: str):
    result = tick(instance, cursor)
    assert "support: corpus_chunks of collection 'support' is not in" in result.skip_reason.skip_message
    assert tick(instance, result.cursor).cursor == result.cursor
