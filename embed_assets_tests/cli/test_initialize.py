"""A new data folder."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from embed_assets.artifacts.workspace import Workspace
from embed_assets.cli.main import main
from embed_assets.production.settings import PublishingSettings
from embed_assets.settings import Settings, read_settings


def test_a_new_folder_has_a_collection_with_the_default_settings_and_publishes(tmp_path: Path):
    done = CliRunner().invoke(main, ["init", str(tmp_path / "data"), "manuals"])
    assert done.exit_code == 0, done.output
    workspace = Workspace(tmp_path / "data", tmp_path / "home")
    assert list(workspace.collections()) == ["manuals"]
    assert read_settings(workspace, "manuals") == Settings(publishing=PublishingSettings(uri="published"))
    documents = tmp_path / "data" / "collections" / "manuals" / "documents"
    assert documents.is_dir() and not list(documents.iterdir())  # a file of ours would be a document that people find


def without_marks(text: str, names: str) -> str:
    """A settings file after somebody took away the '#' in front of the settings with these names, and nothing else."""
    return re.sub(rf"^( *)#(?=({names}):)", r"\1", text, flags=re.MULTILINE)


def test_a_setting_holds_when_its_comment_mark_alone_is_taken_away(tmp_path: Path):
    CliRunner().invoke(main, ["init", str(tmp_path / "data")])
    path = tmp_path / "data" / "settings.yaml"
    text = (
        path.read_text()
        .replace("#temperature: 0.05", "#temperature: 0.02")
        .replace("#max_model_tokens: 2048", "#max_model_tokens: 512")
    )
    path.write_text(without_marks(text, "temperature|max_model_tokens"))
    settings = read_settings(Workspace(tmp_path / "data", tmp_path), "my-documents")
    assert settings.training.temperature == 0.02 and settings.questions.writer.max_model_tokens == 512


def test_all_settings_of_a_new_folder_are_the_defaults(tmp_path: Path):
    CliRunner().invoke(main, ["init", str(tmp_path / "data")])
    path = tmp_path / "data" / "settings.yaml"
    text = without_marks(path.read_text(), "[a-z]\\w*")
    assert set(re.findall(r"^ *#(.)", text, re.MULTILINE)) == {" "}  # comments are left
    path.write_text(text)
    expected = Settings(publishing=PublishingSettings(uri="published"))
    assert read_settings(Workspace(tmp_path / "data", tmp_path), "my-documents") == expected


def test_a_name_that_no_command_takes_is_refused(tmp_path: Path):
    for name in ("my docs", "büro", "../../elsewhere", ""):
        done = CliRunner().invoke(main, ["init", str(tmp_path / "data"), name])
        assert done.exit_code == 1 and "begins with a letter or a digit" in done.output
    assert not list(tmp_path.iterdir())


def test_the_folder_that_one_stands_in_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    before = tmp_path.stat().st_ino
    done = CliRunner().invoke(main, ["init", "."])
    assert done.exit_code == 0 and (tmp_path / "settings.yaml").is_file(), done.output
    assert tmp_path.stat().st_ino == before and {path.name for path in tmp_path.iterdir()} == {"collections", "settings.yaml"}


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path):
    (tmp_path / "ours.txt").write_text("keep")
    done = CliRunner().invoke(main, ["init", str(tmp_path)])
    assert done.exit_code == 1 and "is not empty: name a new folder" in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["ours.txt"]


def test_a_data_folder_that_is_there_tells_how_to_add_a_collection(tmp_path: Path):
    CliRunner().invoke(main, ["init", str(tmp_path / "data")])
    done = CliRunner().invoke(main, ["init", str(tmp_path / "data"), "manuals"])
    documents = tmp_path / "data" / "collections" / "manuals" / "documents"
    assert done.exit_code == 1 and f"put documents of another collection into {documents}" in done.output
