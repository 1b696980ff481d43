"""The production loop as it runs by itself: Dagster's daemon, the sensor, and a table that grows in small commits."""

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.scheduler.instigation import TickStatus

from embed_assets.artifacts.workspace import Workspace
from embed_assets.cli.runs import materialize_collection, open_instance
from embed_assets.definitions import defs
from embed_assets.defs.production.production_sensor import REASON_TAG
from embed_assets.lineage import open_published
from embed_assets.production.publishing import NEWER_CHUNKS
from embed_assets_tests.production_tables import (
    IndexReader,
    production_database,
    rows_of,
    write_production_table,
    write_table_collection,
)
from embed_assets_tests.small_collections import QUERIES, ROUTERS, SETTINGS, write_labels

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
COLLECTION = "support"
WORKSPACE = ("-w", str(ROOT / "workspace.yaml"))


@pytest.fixture
def daemon(workspace_folder: Path) -> Iterator[DagsterInstance]:
    """A running daemon with the sensor turned on, and a collection that was built from its table and published."""
    data = workspace_folder / "data"
    retraining = {"changed_rows": 2, "quiet_minutes": 0.1}
    write_table_collection(data, COLLECTION, retraining=retraining, publishing={"uri": "published", "significance": 1e-9})
    write_labels(data / "collections" / COLLECTION, QUERIES)
    (data / "settings.yaml").write_text(json.dumps(SETTINGS))
    write_production_table(data, rows_of(ROUTERS))
    with open_instance(workspace_folder / "home") as instance:
        assert materialize_collection(instance, COLLECTION)
        config = {"ops": {"published_index": {"config": {"publish_anyway": True}}}}
        job = defs.resolve_implicit_global_asset_job_def()
        assert job.execute_in_process(config, instance, COLLECTION, asset_selection=[AssetKey("published_index")]).success
        start = [sys.executable, "-m", "dagster", "sensor", "start", "retrain_on_production_change", *WORKSPACE]
        subprocess.run(start, env=os.environ, cwd=workspace_folder, check=True, capture_output=True)
        with (workspace_folder / "daemon.log").open("w") as log:
            command = [sys.executable, "-m", "dagster._daemon", "run", *WORKSPACE]
            process = subprocess.Popen(command, env=os.environ, cwd=workspace_folder, stdout=log, stderr=log)
        yield instance
        process.terminate()
        process.wait(60)


def spare_part(number: int) -> dict[str, str]:
    """A row about a part like no other, so that it is no copy of one that is tested with."""
    kind = ("fan", "hinge", "fuse", "bracket", "filter", "antenna", "gasket")[number % 7]
    use = ("cools the line cards", "holds the front door", "guards the power input", "carries a cable tray")[number % 4]
    text = (
        f"The {kind} SP-{number} {use} of cabinet {number * 3}. Order {number + 40} pieces by form {kind.upper()}-{number * 7}."
    )
    return {"id": f"part-{number}", "document": f"part-{number}.md", "title": f"Spare part SP-{number}", "text": text}


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(2)


def test_small_commits_lead_to_one_run_and_one_swap_under_the_eyes_of_a_reader(daemon: DagsterInstance, workspace_folder: Path):
    workspace = Workspace(workspace_folder / "data", workspace_folder / "home")
    index = open_published(workspace, COLLECTION).index
    before = index.pointer()
    reader = IndexReader(workspace, COLLECTION)
    reader.start()
    table = production_database(workspace.data).open_table("chunks")
    for number in range(50):
        table.add([spare_part(number)])

    def runs() -> list[DagsterRun]:
        return [run for run in daemon.get_runs() if REASON_TAG in run.tags]

    wait_for(runs, 240)
    wait_for(lambda: runs()[0].is_finished, 1200)
    finished = time.time()
    (state,) = [state for state in daemon.all_instigator_state() if state.name == "retrain_on_production_change"]
    wait_for(lambda: daemon.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)[0].timestamp > finished, 240)

    (run,) = runs()
    assert run.status == DagsterRunStatus.SUCCESS
    assert run.tags[REASON_TAG] == "production table: 50 added, 0 changed, 0 removed of 58 rows"
    assert workspace.store.current("corpus_chunks", COLLECTION).summary["chunks"] == 58
    after = index.pointer()
    index.rollback()
    time.sleep(1)
    reader.stopped.set()
    reader.join()
    assert reader.faults == []
    assert [name for name, _ in itertools.groupby(reader.answers)] == [
        index.metadata(table)["fingerprint"] for table in (before.current, after.current, before.current)
    ]
    assert (after.generation, after.reason) == (before.generation + 1, NEWER_CHUNKS)
    checkpoint = index.metadata(before.current)["checkpoint"]
    assert workspace.store.current("published_index", COLLECTION).manifest["sources"]["in production"] == checkpoint
    ended = [status for status in TickStatus if status != TickStatus.STARTED]
    tick = daemon.get_ticks(state.instigator_origin_id, state.selector_id, limit=1, statuses=ended)[0]
    assert tick.skip_reason == f"{COLLECTION}: nothing changed"
