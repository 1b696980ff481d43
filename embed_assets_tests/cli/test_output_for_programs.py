"""--json, and the page that tells coding agents about it."""

import json
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from embed_assets.artifacts.workspace import Workspace
from embed_assets.cli.main import main
from embed_assets.graph import STAGES
from embed_assets_tests.small_collections import BAKERY, write_collection

PAGE = (Path(__file__).parents[2] / "AGENTS.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if "| `embed-assets " in line]
SILENT = {"benchmark", "report", "playground"}  # a group, a command that only writes a file, and a server


def options_of(command: click.Command) -> set[str]:
    return {name for it in command.params if isinstance(it, click.Option) for name in (*it.opts, *it.secondary_opts)}


def keys_of(name: str) -> set[str]:
    """What the page says a line of JSON has."""
    (cell,) = (row[2] for row in ROWS if row[1].split()[1] == name)
    return set(re.findall(r"`([a-z_]+)`", cell))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A collection of which the chunks are there."""
    write_collection(tmp_path / "data" / "collections" / "bakery", BAKERY)
    workspace = Workspace(tmp_path / "data", tmp_path / "home")
    workspace.store.build("corpus_chunks", "bakery", {}, lambda folder, scratch: (folder / "chunks.txt").write_text("rye"))
    return workspace


def lines_of(workspace: Workspace, *arguments: str, home: bool = True) -> list[dict]:
    folders = ["--data", str(workspace.data), *(["--home", str(workspace.home)] if home else [])]
    result = CliRunner().invoke(main, [*arguments, "--json", *folders])
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_the_page_lists_every_command():
    assert {row[1].split()[1] for row in ROWS} == set(main.commands) - {"benchmark"}


def test_every_command_that_prints_results_has_json():
    commands = main.commands | main.commands["benchmark"].commands
    assert {name for name, command in commands.items() if "--json" not in options_of(command)} == SILENT


def test_the_page_lists_the_assets_in_order():
    listed = PAGE[PAGE.index("Assets, in order") :].split("\n- ")[0]
    assert re.findall(r"`([a-z_]+)`", listed) == list(STAGES)


def test_a_line_has_what_the_page_says(workspace: Workspace):
    for name, lines in {
        "collections": lines_of(workspace, "collections"),
        "plan": lines_of(workspace, "plan", "bakery", "--no-price"),
        "path": lines_of(workspace, "path", "bakery", "corpus_chunks"),
        "prune": lines_of(workspace, "prune", "--dry-run"),
        "verify": lines_of(workspace, "verify"),
    }.items():
        assert lines and all(keys_of(name) <= set(line) for line in lines), name
    (settings,) = lines_of(workspace, "settings", "bakery", home=False)
    assert settings["chunking"]["max_tokens"] > 0
    done = CliRunner().invoke(main, ["init", str(workspace.data.parent / "new"), "manuals", "--json"])
    line = json.loads(done.stdout)
    assert set(line) == keys_of("init") and Path(line["documents"]).is_dir()


def test_the_numbers_are_those_that_people_read(workspace: Workspace):
    (found,) = lines_of(workspace, "path", "bakery", "corpus_chunks")
    chunks = Path(found["path"]) / "chunks.txt"
    assert chunks.read_text() == "rye"
    assert lines_of(workspace, "collections") == [{"collection": "bakery", "built": ["corpus_chunks"]}]
    assert lines_of(workspace, "verify") == [{"looked_at": 1, "damaged": []}]
    assert lines_of(workspace, "verify", "bakery", "bakery") == [{"looked_at": 1, "damaged": []}]
    chunks.write_text("wheat")
    (verified,) = lines_of(workspace, "verify")
    assert [it["path"] for it in verified["damaged"]] == [found["path"]] and "chunks.txt" in verified["damaged"][0]["problem"]
    (pruned,) = lines_of(workspace, "prune", "--dry-run")
    assert pruned["dry_run"] and pruned["bytes"] > 0 and sum(it["count"] for it in pruned["kinds"]) == 1


@pytest.mark.parametrize(
    "command",
    [
        ["export-rag", "bakery", "questions.jsonl", "--contexts"],
        ["preview", "bakery", "--count"],
        ["benchmark", "encoding", "bakery", "--count"],
        ["benchmark", "training", "bakery", "--examples"],
    ],
    ids=" ".join,
)
def test_numbers_of_which_nothing_can_come_are_refused(command: list[str]):
    done = CliRunner().invoke(main, [*command, "-1"])
    assert done.exit_code == 2 and "x>=1" in done.output
