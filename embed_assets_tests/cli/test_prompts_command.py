"""The prompts of a collection, and a copy to change."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from embed_assets.cli.main import main
from embed_assets_tests.small_collections import BAKERY, override, write_collection


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_collection(tmp_path / "data" / "collections" / "bakery", BAKERY)
    return tmp_path / "data"


def prompts(data: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["prompts", "bakery", *options, "--data", str(data)])


def test_styles_with_a_share_come_first(data: Path):
    override(data, "bakery", {"questions": {"styles": {"search": 1, "question": 3}}})
    rows = [json.loads(line) for line in prompts(data, "--json").stdout.splitlines()]
    assert [(row["prompt"], row["share"]) for row in rows[:3]] == [("question", 3), ("search", 1), ("answerable", 0)]
    assert rows[0]["description"] == "a plain question in one sentence" and Path(rows[0]["path"]).is_file()
    assert "share 3" in prompts(data).stdout.splitlines()[0]


def test_a_copy_is_taken_from_then_on_and_never_overwritten(data: Path):
    assert prompts(data, "--copy", "search").exit_code == 0
    copy = data / "collections" / "bakery" / "prompts" / "search.jinja"
    (row,) = (row for row in map(json.loads, prompts(data, "--json").stdout.splitlines()) if row["prompt"] == "search")
    assert row["path"] == str(copy)
    copy.write_text("{{ passage }} ours")
    again = prompts(data, "--copy", "search")
    assert again.exit_code == 1 and "is there already" in again.output and copy.read_text() == "{{ passage }} ours"


def test_a_misspelt_prompt_is_named_with_those_that_there_are(data: Path):
    done = prompts(data, "--copy", "serach")
    assert done.exit_code == 1 and "no prompt 'serach': there are answerable, artifacts, batch" in done.output


def test_a_prompt_that_cannot_be_used_is_named(data: Path):
    (data / "prompts").mkdir()
    (data / "prompts" / "own.jinja").write_text("{{ nothing }}")
    done = prompts(data)
    assert done.exit_code == 1 and "own.jinja" in done.output
