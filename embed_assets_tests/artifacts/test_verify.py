"""What is damaged is set aside with one line, and computed again."""

import json
import logging
import os
from pathlib import Path

import pytest

from embed_assets.artifacts.files import lock
from embed_assets.artifacts.memo import Memo, stored_keys
from embed_assets.artifacts.store import Artifact, ArtifactStore, MissingArtifactError
from embed_assets.artifacts.verify import verify_artifacts, verify_memos

TEXT = "The ferry leaves pier 4 at 06:15.\n"


def write(folder: Path, scratch: Path) -> None:
    (folder / "text.txt").write_text(TEXT)
    (folder / "report" / "preview.md").write_text("one ferry")


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


@pytest.fixture
def artifact(store: ArtifactStore) -> Artifact:
    return store.build("corpus_chunks", "ferry", {"settings": {"seed": 1}}, write)


def change_bytes(folder: Path) -> None:
    """Other bytes, the size and the time that they had."""
    path, status = folder / "text.txt", (folder / "text.txt").stat()
    path.write_text(TEXT.replace("06:15", "16:15"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def add_file(folder: Path) -> None:
    (folder / "more.txt").write_text("more")


def edit_manifest(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"settings": {"seed": 2}}))


def manifest_of(text: str):
    def damage(folder: Path) -> None:
        (folder / "manifest.json").write_text(text)

    return damage


DAMAGE = {
    "bytes": change_bytes,
    "added": add_file,
    "edited": edit_manifest,
    **{text: manifest_of(text) for text in ("null", "[]", "7", "{}", '{"files": ["text.txt"]}', "\x00\x00", '"text"')},
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_set_aside_and_computed_again(store, artifact, damage, caplog):
    assert [problem for _, problem in verify_artifacts(store, "ferry")] == [None]
    damage(artifact.folder)
    with caplog.at_level(logging.WARNING):
        assert all(problem for _, problem in verify_artifacts(store, "ferry"))
    assert len(caplog.records) == 1 and "corpus_chunks of ferry" in caplog.text
    with pytest.raises(MissingArtifactError):
        store.current("corpus_chunks", "ferry")
    again = store.build("corpus_chunks", "ferry", {"settings": {"seed": 1}}, write)
    assert (again.reused, again.digest) == (False, artifact.digest)
    assert [problem for _, problem in verify_artifacts(store, "ferry")] == [None]


@pytest.mark.parametrize("text", ["null", "[]", "7", '{"files": ["text.txt"]}'])
def test_a_manifest_that_is_none_counts_as_absent(store, artifact, text):
    (artifact.folder / "manifest.json").write_text(text)
    assert store.find("corpus_chunks", "ferry", artifact.fingerprint) is None
    assert list(store.artifacts("corpus_chunks", "ferry")) == []
    assert not store.build("corpus_chunks", "ferry", {"settings": {"seed": 1}}, write).reused


def test_what_is_being_built_is_left_alone(store, artifact):
    change_bytes(artifact.folder)
    with lock(artifact.folder.parent / "locks" / artifact.fingerprint):
        list(verify_artifacts(store, "ferry"))
        assert artifact.folder.is_dir()


def no_database(path: Path) -> None:
    path.write_bytes(b"this is no database, " * 400)


def torn_database(path: Path) -> None:
    """A whole page of the table is lost, as after a disk error."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096)


def filled(path: Path) -> Memo:
    memo = Memo(path)
    memo.put_many([(f"ferry {number}", b"06:15" * 50) for number in range(500)])
    return memo


@pytest.mark.parametrize("damage", [no_database, torn_database], ids=lambda function: function.__name__)
def test_a_damaged_memo_heals_with_one_line(tmp_path, damage, caplog):
    filled(tmp_path / "answers.sqlite")
    damage(tmp_path / "answers.sqlite")
    with caplog.at_level(logging.WARNING):
        memo = Memo(tmp_path / "answers.sqlite")
        memo.get_many([f"ferry {number}" for number in range(500)])
        memo.put_many([("bus", b"07:00")])
    assert len(caplog.records) == 1 and "answers.sqlite.damaged" in caplog.text
    assert Memo(tmp_path / "answers.sqlite").get_many(["bus", "ferry 7"]) == {"bus": b"07:00"}
    assert (tmp_path / "answers.sqlite.damaged").stat().st_size > 0


def test_a_memo_that_is_damaged_while_it_is_open_heals(tmp_path):
    memo = filled(tmp_path / "answers.sqlite")
    no_database(tmp_path / "answers.sqlite")
    memo.put_many([("bus", b"07:00")])
    assert memo.get_many(["bus", "ferry 1"]) == {"bus": b"07:00"}


def test_other_errors_of_a_memo_are_no_damage(tmp_path, monkeypatch):
    memo = filled(tmp_path / "answers.sqlite")
    (tmp_path / "answers.sqlite").unlink()
    (tmp_path / "answers.sqlite").mkdir()
    with pytest.raises(Exception, match="unable to open"):
        memo.get_many(["ferry 1"])
    assert not list(tmp_path.glob("*.damaged"))


def test_verify_looks_at_all_memos(tmp_path):
    for name in ("answers", "embeddings/model"):
        filled(tmp_path / f"{name}.sqlite")
    torn_database(tmp_path / "embeddings" / "model.sqlite")
    assert [(path.stem, problem is None) for path, problem in verify_memos(tmp_path)] == [("answers", True), ("model", False)]
    assert [problem for _, problem in verify_memos(tmp_path)] == [None]


def test_keys_are_looked_up_without_writing(tmp_path):
    filled(tmp_path / "answers.sqlite")
    no_database(tmp_path / "broken.sqlite")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert stored_keys(tmp_path / "answers.sqlite", ["ferry 1", "bus"]) == {"ferry 1"}
    assert stored_keys(tmp_path / "broken.sqlite", ["ferry 1"]) == set()
    assert stored_keys(tmp_path / "none.sqlite", ["ferry 1"]) == set()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
