"""What the commands print, and what they say when something is missing."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from embed_assets.artifacts.store import HTML_REPORT, REPORT
from embed_assets.artifacts.workspace import Workspace
from embed_assets.cli.arguments import log_to_stderr
from embed_assets.cli.main import main
from embed_assets_tests.small_collections import BAKERY, write_collection

NO_LABELS = "there is nothing to score"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    write_collection(tmp_path / "data" / "collections" / "bakery", BAKERY)
    return Workspace(tmp_path / "data", tmp_path / "home")


def cli(workspace: Workspace, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--data", str(workspace.data), "--home", str(workspace.home)])


def write_scores(folder: Path, scratch: Path) -> None:
    (folder / "scores.json").write_text("[]")
    (folder / REPORT / "findings.json").write_text(json.dumps([{"message": NO_LABELS}]))
    (folder / REPORT / HTML_REPORT).write_text("<p>all</p>")


@pytest.mark.parametrize(
    ("until", "printed"),
    [
        ([], True),
        (["beir_scores"], True),
        (["published_index"], True),
        (["corpus_chunks", "beir_scores"], True),
        (["checkpoint"], False),
        (["onnx_model"], False),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_scores_are_printed_if_they_were_asked_for(workspace, monkeypatch, until, printed):
    for name in ("DAGSTER_HOME", "EMBED_ASSETS_HOME", "EMBED_ASSETS_DATA"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr("embed_assets.cli.runs.materialize_collection", lambda *arguments: True)
    workspace.store.build("beir_scores", "bakery", {}, write_scores)
    result = cli(workspace, "run", *(word for name in until for word in ("--until", name)))
    assert result.exit_code == 0, result.output
    assert (NO_LABELS in result.output) == printed


def test_the_report_is_copied_or_the_path_named(workspace, tmp_path):
    workspace.store.build("beir_scores", "bakery", {}, write_scores)
    assert cli(workspace, "report", "bakery", str(tmp_path / "x.html")).exit_code == 0
    assert (tmp_path / "x.html").read_text() == "<p>all</p>"
    missing = str(tmp_path / "no" / "such" / "folder" / "x.html")
    result = cli(workspace, "report", "bakery", missing)
    assert isinstance(result.exception, SystemExit) and result.exit_code == 1
    assert result.output.count("\n") == 1 and missing in result.output


def write_model(folder: Path, scratch: Path) -> None:
    (folder / "model").mkdir()


def test_the_folder_of_what_is_current_is_printed(workspace):
    checkpoint = workspace.store.build("checkpoint", "bakery", {"seed": 1}, write_model)
    chunks = workspace.store.build("corpus_chunks", "bakery", {}, lambda folder, scratch: None)
    assert cli(workspace, "path", "bakery", "checkpoint").output == f"{checkpoint.folder}/model\n"
    assert cli(workspace, "path", "bakery", "corpus_chunks").output == f"{chunks.folder}\n"
    missing = cli(workspace, "path", "bakery", "onnx_model")
    assert missing.exit_code == 1 and "embed-assets run bakery --until onnx_model" in missing.output
    assert cli(workspace, "path", "bakery", "no_asset").exit_code == 2


@pytest.mark.parametrize("name", ["our notes", "notes.2026", "_notes", "nötes", "n" * 101])
@pytest.mark.parametrize("command", ["run", "plan", "doctor"])
def test_the_error_about_a_misnamed_folder_gives_the_rule_for_names(tmp_path, name, command):
    write_collection(tmp_path / "data" / "collections" / name, {"bread.md": "# Bread\n\nBake it until the crust is brown."})
    home = str(tmp_path / "home")
    for data, names in ((tmp_path / "data" / "collections" / name, []), (tmp_path / "data", []), (tmp_path / "data", [name])):
        if command == "doctor" and names:
            continue
        done = CliRunner().invoke(main, [command, *names, "--data", str(data), "--home", home])
        told = done.output if command == "doctor" else done.output.splitlines()[-1]
        assert done.exit_code != 0 and f"{name}: a collection's name has at most 100 letters" in told


@pytest.mark.parametrize("part", ["collections", "collections/bakery"])
def test_a_part_of_a_data_folder_is_not_taken_for_one_without_its_settings(workspace, part):
    settings = workspace.data / "settings.yaml"
    settings.write_text("training: {seed: 1}")
    command = ["plan", "--data", str(workspace.data / part), "--home", str(workspace.home)]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 1 and f"name {workspace.data} as the data folder" in done.output
    settings.unlink()
    assert CliRunner().invoke(main, command).exit_code == 0


def test_search_says_what_to_do_where_nothing_is_published(workspace):
    (workspace.data / "collections" / "bakery" / "settings.yaml").write_text("publishing: {uri: published}")
    done = cli(workspace, "search", "bakery", "rye")
    assert done.exit_code == 1 and "nothing is published yet: materialize published_index" in done.output


@pytest.mark.parametrize("arguments", [[""], ["  "], ["rye", "--limit", "0"]])
def test_a_search_for_nothing_is_refused(workspace, arguments):
    assert cli(workspace, "search", "bakery", *arguments).exit_code == 2


def test_commands_that_build_nothing_do_not_wait_for_dagster(workspace):
    script = (
        "import sys; from embed_assets.cli.main import main; main(sys.argv[1:], standalone_mode=False); "
        "assert not {'dagster', 'torch', 'lancedb', 'transformers'} & set(sys.modules)"
    )
    for arguments in (["plan", "--no-price"], ["settings", "bakery"]):
        command = [sys.executable, "-c", script, *arguments, "--data", str(workspace.data)]
        command += ["--home", str(workspace.home)] if arguments[0] == "plan" else []
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_refused_settings_of_one_collection_do_not_hide_the_others(workspace):
    workspace.store.build("beir_scores", "bakery", {}, write_scores)
    folder = workspace.data / "collections" / "ales"
    write_collection(folder, BAKERY)
    (folder / "settings.yaml").write_text("chunking: {max_tokens: many}")
    ales, bakery = cli(workspace, "collections").output.splitlines()
    assert ales.startswith("ales\tnothing built yet; ") and f"{folder / 'settings.yaml'}: chunking.max_tokens" in ales
    assert bakery == "bakery\tbeir_scores"
    line = json.loads(cli(workspace, "collections", "--json").output.splitlines()[0])
    assert line["collection"] == "ales" and "max_tokens" in line["refused"]


def test_ids_do_nothing_to_a_terminal(capsys: pytest.CaptureFixture[str]):
    logger = logging.getLogger("embed_assets")
    before = list(logger.handlers)
    log_to_stderr()
    try:
        logger.warning("skipped %s: %s", "\x1b]0;title\x07\x9b2J", "größer 中\nline")
    finally:
        logger.handlers[:] = before
    assert capsys.readouterr().err.split(" ", 1)[1] == "skipped \\x1b]0;title\\x07\\x9b2J: größer 中\nline\n"
