"""Which checkpoint is meant."""

from pathlib import Path

import pytest

from embed_assets.artifacts.store import Artifact
from embed_assets.artifacts.workspace import Workspace
from embed_assets.evaluation.comparison import AmbiguousModelError, find_checkpoint


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "data", tmp_path / "home")


def build(workspace: Workspace, collection: str, number: int) -> Artifact:
    return workspace.store.build(
        "checkpoint", collection, {"number": number}, lambda folder, scratch: (folder / "x").write_text(collection)
    )


def test_a_fingerprint_that_begins_several_checkpoints_names_them(workspace):
    # Of seventeen fingerprints at least two begin with the same digit.
    built = [("sea" if number % 2 else "lake", build(workspace, "sea" if number % 2 else "lake", number)) for number in range(17)]
    digits = [checkpoint.fingerprint[0] for _, checkpoint in built]
    digit = max(digits, key=digits.count)
    with pytest.raises(AmbiguousModelError) as raised:
        find_checkpoint(workspace, "sea", digit)
    for name, checkpoint in built:
        assert (f"{name} {checkpoint.fingerprint[:12]}" in str(raised.value)) == checkpoint.fingerprint.startswith(digit)
    for _, checkpoint in built:
        assert find_checkpoint(workspace, "sea", checkpoint.fingerprint[:12]).folder == checkpoint.folder
    assert find_checkpoint(workspace, "sea", "sentence-transformers/x") is None


def test_a_folder_comes_before_a_fingerprint(workspace, tmp_path, monkeypatch):
    name = build(workspace, "sea", 1).fingerprint[:3]
    assert find_checkpoint(workspace, "sea", name) is not None
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_checkpoint(workspace, "sea", name) is None


def test_of_two_checkpoints_of_the_same_fingerprint_the_own_one_is_taken(workspace):
    built = {name: build(workspace, name, 1) for name in ("lake", "sea")}
    for name, checkpoint in built.items():
        assert find_checkpoint(workspace, name, checkpoint.fingerprint[:4]).folder == checkpoint.folder
