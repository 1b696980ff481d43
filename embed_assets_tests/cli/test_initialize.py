"""A new data folder."""

from pathlib import Path

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


def test_each_setting_works_when_its_comment_mark_is_taken_away(tmp_path: Path):
    CliRunner().invoke(main, ["init", str(tmp_path / "data")])
    path = tmp_path / "data" / "settings.yaml"
    text = path.read_text()
    block = text.index("# training:")
    epochs = text.index("#   epochs: 1.0", block)
    path.write_text(f"{text[:epochs]}  epochs: 3{text[epochs + 15 :]}".replace("# training:", "training:"))
    assert read_settings(Workspace(tmp_path / "data", tmp_path), "my-documents").training.epochs == 3


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path):
    (tmp_path / "ours.txt").write_text("keep")
    done = CliRunner().invoke(main, ["init", str(tmp_path)])
    assert done.exit_code == 1 and "is not empty: name a new folder" in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["ours.txt"]
