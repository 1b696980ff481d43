"""Where the command line records its runs, and what it runs."""

import importlib.resources
import json
import logging
import os
import shutil
import signal
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy
from click.testing import CliRunner
from dagster import DagsterInstance, DagsterRunStatus

from embed_assets.artifacts.files import lock
from embed_assets.cli import building, settled
from embed_assets.cli.main import main
from embed_assets.cli.runs import DAGSTER_YAML, materialize_collection, open_instance
from embed_assets.corpus import source
from embed_assets_tests.small_collections import BAKERY, override, write_collection, write_small_collections
from embed_assets_tests.tiny_models import write_model

SHIPPED = importlib.resources.files("embed_assets").joinpath(DAGSTER_YAML).read_text()


def run(workspace_folder: Path, *options: str) -> str:
    """What ``embed-assets run`` printed for a collection with one good and one empty folder."""
    write_collection(workspace_folder / "data" / "collections" / "bakery", BAKERY)
    write_collection(workspace_folder / "data" / "collections" / "empty", {})
    logging.getLogger("embed_assets").handlers.clear()
    result = CliRunner().invoke(main, ["run", "--until", "corpus_chunks", *options])
    assert result.exit_code == 1, result.output
    return result.output


def sqlalchemy_connection(path: Path):
    """A connection as Dagster opens them."""
    connection = sqlalchemy.create_engine(f"sqlite:///{path}").connect()
    return SimpleNamespace(execute=connection.exec_driver_sql, close=connection.close)


@pytest.fixture
def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DAGSTER_HOME of somebody's own, with its databases elsewhere."""
    folder = tmp_path / "company"
    folder.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    storage = {"storage": {"sqlite": {"base_dir": str(tmp_path / "databases")}}, "telemetry": {"enabled": False}}
    (folder / DAGSTER_YAML).write_text("# ours\n" + json.dumps(storage))
    return folder


def test_a_company_s_instance_is_left_as_it_is_and_knows_the_runs(workspace_folder: Path, company: Path):
    before = {path.name: path.read_bytes() for path in company.iterdir()}
    output = run(workspace_folder)
    assert {path.name: path.read_bytes() for path in company.iterdir() if path.is_file()} == before
    assert not (workspace_folder / "home" / DAGSTER_YAML).exists()
    assert (workspace_folder / "home" / "artifacts" / "corpus_chunks" / "bakery").is_dir()
    with DagsterInstance.get() as instance:
        runs = {run.tags["dagster/partition"]: run for run in instance.get_runs()}
    assert {name: run.status for name, run in runs.items()} == {
        "bakery": DagsterRunStatus.SUCCESS,
        "empty": DagsterRunStatus.FAILURE,
    }
    assert runs["bakery"].job_name == "__ASSET_JOB" and runs["bakery"].job_code_origin is not None
    assert (workspace_folder / "databases").is_dir()
    assert len([line for line in output.splitlines() if "no usable document" in line]) == 1


def runs_of(folder: Path) -> int:
    with DagsterInstance.from_config(str(folder)) as instance:
        return len(instance.get_runs())


def test_where_all_is_in_place_nothing_runs(workspace_folder: Path, monkeypatch: pytest.MonkeyPatch):
    home, folder = workspace_folder / "home", workspace_folder / "data" / "collections" / "bakery"
    write_collection(folder, BAKERY)

    def run_again() -> str:
        logging.getLogger("embed_assets").handlers.clear()
        result = CliRunner().invoke(main, ["run", "--until", "corpus_chunks"])
        assert result.exit_code == 0, result.output
        return "in place" if "bakery: all results are in place" in result.output else "ran"

    assert [run_again(), run_again(), run_again()] == ["ran", "in place", "in place"]
    assert runs_of(home) == 1
    file = folder / "documents" / "rye.md"
    before = file.read_text()
    file.write_text("# Rye bread\n\nBake it twice.")
    assert [run_again(), run_again()] == ["ran", "in place"]
    file.write_text(before)
    assert [run_again(), run_again()] == ["ran", "in place"]
    file.write_text("# Rye bread\n\nBake it in the UI.")
    with open_instance(home) as instance:
        assert materialize_collection(instance, "bakery", "corpus_chunks")
    file.write_text(before)  # its result is there and remembered, but another one is current
    assert [run_again(), run_again()] == ["ran", "in place"]
    (record,) = (home / "settled").iterdir()
    os.utime(record, (0, 0))
    assert [run_again(), run_again()] == ["ran", "in place"]
    for chunks in (home / "artifacts" / "corpus_chunks" / "bakery").glob("*/chunks.parquet"):
        chunks.unlink()
    assert run_again() == "ran"
    monkeypatch.setenv("DAGSTER_HOME", str(workspace_folder / "other"))
    assert [run_again(), run_again()] == ["ran", "in place"]
    assert (runs_of(home), runs_of(workspace_folder / "other")) == (7, 1)
    monkeypatch.setattr(settled, "plan_with_results", None)  # whatever is wrong there, the run itself goes on
    assert run_again() == "ran"


def test_without_an_instance_of_one_s_own_runs_lie_beside_the_artifacts(workspace_folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DAGSTER_HOME")
    other = workspace_folder / "other"
    run(workspace_folder, "--home", str(other))
    assert (other / DAGSTER_YAML).read_text() == SHIPPED
    assert (other / "artifacts").is_dir() and not (workspace_folder / "home").exists()
    (other / DAGSTER_YAML).write_text("telemetry:\n  enabled: false\n")
    with open_instance(other) as instance:
        assert len(instance.get_runs()) == 2
    assert (other / DAGSTER_YAML).read_text() == "telemetry:\n  enabled: false\n"


def test_one_command_at_a_time_begins_an_instance(workspace_folder: Path):
    """$DAGSTER_HOME is there already, as after the first moment of another command, and has no databases yet."""
    home = workspace_folder / "home"
    home.mkdir()
    with ThreadPoolExecutor(1) as pool:
        with lock(home / "dagster.lock"):
            opened = pool.submit(open_instance, home)
            with pytest.raises(TimeoutError):
                opened.result(0.5)
            assert [path.name for path in home.iterdir()] == ["dagster.lock"]
        with opened.result(30) as instance:
            assert instance.get_runs() == []


def test_home_names_the_folder_of_artifacts_only(workspace_folder: Path, company: Path):
    run(workspace_folder, "--home", str(workspace_folder / "other"))
    assert (workspace_folder / "other" / "artifacts" / "corpus_chunks").is_dir()
    assert not (workspace_folder / "other" / DAGSTER_YAML).exists()
    with DagsterInstance.get() as instance:
        assert len(instance.get_runs()) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_run_and_the_command(
    workspace_folder: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
):
    """It does not try the step again, and the next collection is not begun."""
    for name in ("bakery", "breads"):
        write_collection(workspace_folder / "data" / "collections" / name, BAKERY)
    read, begun = source.read_documents, []

    def read_documents(*arguments):
        begun.append(arguments)
        os.kill(os.getpid(), number)
        return read(*arguments)

    monkeypatch.setattr(source, "read_documents", read_documents)
    monkeypatch.setattr(logging.getLogger("embed_assets"), "handlers", [])
    result = CliRunner().invoke(main, ["run", "--until", "corpus_chunks"])
    assert result.exit_code == 1 and result.output.endswith("Aborted!\n")
    assert "bakery: interrupted; what was built is kept, and a new run goes on from there\n" in result.output
    assert len(begun) == 1 and "breads" not in result.output
    with open_instance(workspace_folder / "home") as instance:
        (ended,) = instance.get_runs()
        assert ended.status == DagsterRunStatus.FAILURE
        assert not instance.event_log_storage.get_concurrency_info("gpu").active_run_ids
    monkeypatch.setattr(source, "read_documents", read)
    assert CliRunner().invoke(main, ["run", "--until", "corpus_chunks"]).exit_code == 0


def test_labels_that_cannot_be_read_are_told_before_anything_is_computed(workspace_folder: Path):
    data = workspace_folder / "data"
    write_small_collections(data)
    queries = data / "collections" / "routers" / "queries.jsonl"
    queries.write_text(queries.read_text() * 2)
    result = CliRunner().invoke(main, ["run", "routers", "--until", "evaluation_set"])
    assert result.exit_code == 1 and f"{queries}:" in result.output and "stands twice" in result.output
    assert not (workspace_folder / "home" / "artifacts").exists()
    assert CliRunner().invoke(main, ["run", "routers", "--until", "corpus_chunks"]).exit_code == 0


def test_labels_are_read_before_a_run_only_if_it_asks_for_them(workspace_folder: Path):
    data = workspace_folder / "data"
    write_small_collections(data)
    queries = data / "collections" / "routers" / "queries.jsonl"
    queries.write_text(queries.read_text() * 2)
    trained = {"name": str(write_model(workspace_folder / "trained", "bert"))}
    override(data, "routers", {"checkpoint": trained, "base_model": {"max_tokens": 40}})
    result = CliRunner().invoke(main, ["run", "routers", "--until", "checkpoint"])
    assert result.exit_code == 0, result.output


def test_a_run_names_each_step_that_computes_and_tells_what_its_checks_found(
    workspace_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    write_small_collections(workspace_folder / "data")
    monkeypatch.setattr(logging.getLogger("embed_assets"), "handlers", [])
    log = CliRunner().invoke(main, ["run", "routers", "--until", "evaluation_set"]).output
    steps = ("corpus_chunks", "qa_pairs", "evaluation_set")
    assert [line[9:] for line in log.splitlines() if "computing" in line] == [f"computing {name} of routers" for name in steps]
    assert " evaluation_set of routers: check enough_queries: 5 human test queries: " in log
    monkeypatch.setattr(logging.getLogger("embed_assets"), "handlers", [])
    assert "evaluation_set" not in CliRunner().invoke(main, ["run", "routers", "--until", "evaluation_set"]).output


def test_a_full_disk_is_told_in_one_line_also_where_only_the_last_bytes_found_no_room(monkeypatch: pytest.MonkeyPatch):
    def write(*_: object) -> None:
        with Path("/dev/full").open("w") as full:
            full.write("x")

    monkeypatch.setattr(building, "known_collections", write)
    result = CliRunner().invoke(main, ["run"])
    assert result.output == "Error: No space left on device: make room there, or name another folder\n"


def test_what_lancedb_cannot_read_or_write_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    import lancedb

    def read(*_: object) -> None:
        table = lancedb.connect(tmp_path).create_table("chunks", [{"id": "1"}])
        shutil.rmtree(tmp_path / "chunks.lance" / "data")
        table.to_arrow()

    monkeypatch.setattr(building, "known_collections", read)
    (line,) = CliRunner().invoke(main, ["run"]).output.splitlines()
    assert line.startswith("Error: a LanceDB database cannot be used (lance error: ") and ".rs:" not in line


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError("S3 answers: s3cr3t-of-session"), "Error: OSError: S3 answers: …\n"),
        (RuntimeError("no answer"), "Error: RuntimeError: no answer\n"),
    ],
)
def test_a_command_prints_nothing_secret_of_an_error_or_its_cause(monkeypatch: pytest.MonkeyPatch, error: Exception, told: str):
    def fail(*_: object) -> None:
        raise error from OSError("s3cr3t-of-session")

    monkeypatch.setenv("AWS_SESSION_TOKEN", "s3cr3t-of-session")
    monkeypatch.setattr(building, "known_collections", fail)
    result = CliRunner().invoke(main, ["run"])
    assert result.output == told and isinstance(result.exception, SystemExit)


@pytest.mark.parametrize("connect", [sqlite3.connect, sqlalchemy_connection], ids=["memo", "Dagster"])
def test_a_disk_that_is_full_under_a_database_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, connect):
    def write(*_: object) -> None:
        with closing(connect(tmp_path / "full.db")) as connection:
            connection.execute("PRAGMA max_page_count = 1")
            connection.execute("CREATE TABLE events (words)")

    monkeypatch.setattr(building, "known_collections", write)
    result = CliRunner().invoke(main, ["run"])
    assert result.output.startswith("Error: a database of the home cannot be used (database or disk is full): ")
    assert result.output.count("\n") == 1 and isinstance(result.exception, SystemExit)


def test_a_place_that_cannot_be_used_is_told_in_one_line(workspace_folder: Path, monkeypatch: pytest.MonkeyPatch):
    write_collection(workspace_folder / "data" / "collections" / "bakery", BAKERY)
    monkeypatch.delenv("DAGSTER_HOME")
    (workspace_folder / "file").touch()
    (workspace_folder / "broken" / "history" / "runs.db").mkdir(parents=True)
    for command, words in (
        (
            ["run", "--home", f"{workspace_folder}/file/home"],
            f"Error: {workspace_folder}/file/home: Not a directory: see that it can",
        ),
        (["run", "--home", f"{workspace_folder}/broken"], "broken: Dagster's databases there cannot be used (unable to open"),
    ):
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 1 and words in result.output and "Traceback" not in result.output
        assert isinstance(result.exception, SystemExit)
