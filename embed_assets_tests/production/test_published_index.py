"""The published index: whole and unmixed for its readers, whatever happens to those who write it."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from embed_assets.corpus.settings import INDEX_COLUMNS
from embed_assets.production.published_index import Pointer, PublishedIndex, PublishingError, metadata_of
from embed_assets.production.published_vectors import StoredVectors

ROWS = 5000
DIMENSIONS = 8


class OneDirection:
    """An encoder that gives every text the same unit vector: its vectors show who made them."""

    def __init__(self, direction: int):
        self.vector = np.eye(DIMENSIONS, dtype=np.float32)[direction % DIMENSIONS]
        self.encoded = 0

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        return np.tile(self.vector, (len(texts), 1))

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        self.encoded += len(texts)
        return self.encode_queries(texts)


def write_chunks(path: Path, rows: int) -> Path:
    frame = pl.DataFrame({"chunk_id": [f"c{i}" for i in range(rows)]}).with_columns(
        document_id=pl.col("chunk_id"),
        start=0,
        end=10,
        text=pl.format("text of {}", "chunk_id"),
        passage=pl.format("part {}", "chunk_id"),
    )
    frame.write_parquet(path)
    return path


@pytest.fixture
def index(tmp_path: Path) -> PublishedIndex:
    return PublishedIndex(str(tmp_path / "published"), "support")


@pytest.fixture
def chunks(tmp_path: Path) -> Path:
    return write_chunks(tmp_path / "chunks.parquet", ROWS)


def put(index: PublishedIndex, chunks: Path, direction: int, vector_index_rows: int = 10**6, **made_of) -> str:
    name = index.table_name(f"model{direction}")
    index.write(
        name, chunks, OneDirection(direction), {"model": direction} | made_of, StoredVectors(index_rows=vector_index_rows)
    )
    index.swap(index.pointer(), name, f"it's model {direction}")
    return name


@pytest.mark.parametrize("gone", ["data", "_indices", "_versions"])
def test_a_table_whose_removal_was_killed_is_written_anew(index: PublishedIndex, chunks: Path, gone: str):
    name = index.table_name("model0")
    index.write(name, chunks, OneDirection(0), {})
    shutil.rmtree(Path(index.uri) / f"{name}.lance" / gone)
    put(index, chunks, 0)
    table = index.open()
    assert table.count_rows() == ROWS
    assert len(table.search("part", query_type="fts").limit(7).to_list()) == 7
    assert len(table.search(OneDirection(0).vector, vector_column_name="vector").limit(7).to_list()) == 7


def test_a_table_that_somebody_may_need_is_not_removed_where_it_cannot_be_read(index: PublishedIndex, chunks: Path):
    name = put(index, chunks, 0)
    shutil.rmtree(Path(index.uri) / f"{name}.lance" / "data")
    with pytest.raises(RuntimeError, match=r"[Nn]ot found"):
        put(index, chunks, 0)
    assert (Path(index.uri) / f"{name}.lance").is_dir()


def test_nothing_is_published_yet(index: PublishedIndex):
    assert index.pointer() == Pointer()
    assert index.metadata("") == {}
    with pytest.raises(PublishingError, match="nothing is published yet"):
        index.open()
    with pytest.raises(PublishingError, match="no previous table"):
        index.rollback()


def test_table_has_all_rows_both_indexes_and_what_it_is_made_of(index: PublishedIndex, chunks: Path):
    put(index, chunks, 3, vector_index_rows=1000)
    table = index.open()
    assert table.count_rows() == ROWS
    assert metadata_of(table) == {"model": 3}
    assert {column: found.index_type for found in table.list_indices() for column in found.columns} == {
        "passage": "FTS",
        "vector": "IvfHnswSq",
    }
    assert table.search("c42", query_type="fts").limit(1).to_list()[0]["id"] == "c42"
    assert table.search(OneDirection(3).vector).limit(1).to_list()[0]["_distance"] == pytest.approx(0, abs=1e-3)


def test_every_index_has_these_columns_and_those_that_are_asked_for(index: PublishedIndex, tmp_path: Path):
    chunks = write_chunks(tmp_path / "few.parquet", 2000)

    def price(ids: Sequence[str]) -> pa.Table:
        return pa.table({"price": pa.array([int(name[1:]) for name in ids], pa.int16())})

    index.write("support__a", chunks, OneDirection(1), {}, columns=price)
    table = index._open("support__a")
    assert table.schema.names == [*INDEX_COLUMNS, "price"]
    assert table.schema.field("price").type == pa.int16()
    assert {row["id"]: row["price"] for row in table.search().where("price > 1997").to_list()} == {"c1998": 1998, "c1999": 1999}


def test_few_rows_are_searched_without_a_vector_index(index: PublishedIndex, chunks: Path):
    put(index, chunks, 1)
    assert [found.columns for found in index.open().list_indices()] == [["passage"]]


def test_current_and_previous_tables_are_kept_and_older_ones_deleted(index: PublishedIndex, tmp_path: Path):
    chunks = write_chunks(tmp_path / "few.parquet", 10)
    first, second, third = (put(index, chunks, direction) for direction in (1, 2, 3))
    assert (index.pointer().current, index.pointer().previous, index.pointer().generation) == (third, second, 3)
    assert index.pointer().reason == "it's model 3"
    assert first not in {folder.stem for folder in Path(index.uri).iterdir()}
    assert index.rollback().current == second
    assert metadata_of(index.open()) == {"model": 2}
    assert index.pointer().withdrawn == third
    assert index.rollback().current == third
    assert index.pointer().withdrawn == ""


def test_table_that_somebody_deleted_is_told_of_and_can_be_written_again(index: PublishedIndex, tmp_path: Path):
    chunks = write_chunks(tmp_path / "few.parquet", 10)
    first, second = put(index, chunks, 1), put(index, chunks, 2)
    index.drop(second)
    assert index.metadata(second) == {}
    with pytest.raises(PublishingError, match=f"'{second}' is gone"):
        index.open()
    put(index, chunks, 2)
    assert metadata_of(index.open()) == {"model": 2}
    assert index.pointer().previous == first


def test_of_two_swaps_from_the_same_state_one_wins(index: PublishedIndex, tmp_path: Path):
    put(index, write_chunks(tmp_path / "few.parquet", 10), 0)
    before = index.pointer()

    def swap(number: int) -> str | None:
        try:
            PublishedIndex(index.uri, index.name).swap(before, f"support__{number}", "")
        except PublishingError as error:
            assert "somebody else" in str(error)
            return None
        return f"support__{number}"

    with ThreadPoolExecutor(8) as pool:
        winners = [name for name in pool.map(swap, range(8)) if name]
    assert [index.pointer().current] == winners
    assert index.pointer().generation == before.generation + 1


def test_reader_sees_no_mixture_during_swaps(index: PublishedIndex, tmp_path: Path):
    chunks = write_chunks(tmp_path / "few.parquet", 200)
    put(index, chunks, 0)
    stopped, seen, faults = threading.Event(), set(), []

    def read() -> None:
        while not stopped.is_set():
            try:
                table = index.open()
                model = metadata_of(table)["model"]
                hits = table.search(query_type="fts", query="part").limit(300).to_list()
                vectors = {tuple(hit["vector"]) for hit in hits}
                if len(hits) != 200 or vectors != {tuple(OneDirection(model).vector.tolist())}:
                    faults.append(f"{len(hits)} hits with {len(vectors)} vectors of model {model}")
                seen.add(model)
            except Exception as error:
                faults.append(repr(error))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for direction in range(1, 16):
        put(index, chunks, direction)
        if direction % 3 == 0:
            index.rollback()
    stopped.set()
    for reader in readers:
        reader.join()
    assert faults == []
    assert len(seen) > 3


SLOW_WRITER = """
import sys, time
from pathlib import Path
from embed_assets.production.published_vectors import StoredVectors
from embed_assets.production.published_index import PublishedIndex
from embed_assets_tests.production.test_published_index import OneDirection

class Slow(OneDirection):
    def encode_passages(self, texts):
        time.sleep(0.5)
        return super().encode_passages(texts)

PublishedIndex(sys.argv[1], "support").write("support__model2", Path(sys.argv[2]), Slow(2), {"model": 2})
"""


def test_killed_writer_leaves_the_old_index_and_the_next_one_goes_on(index: PublishedIndex, chunks: Path):
    first = put(index, chunks, 1)
    command = [sys.executable, "-c", SLOW_WRITER, index.uri, str(chunks)]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])})
    deadline = time.monotonic() + 60
    while not (unfinished := index._open("support__model2")) or unfinished.count_rows() < 2000:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    written = index._open("support__model2").count_rows()
    assert 2000 <= written < ROWS
    assert index.pointer().current == first
    assert index.open().count_rows() == ROWS

    encoder = OneDirection(2)
    index.write("support__model2", chunks, encoder, {"model": 2})
    index.swap(index.pointer(), "support__model2", "")
    assert encoder.encoded == ROWS - written
    assert index.open().count_rows() == ROWS
    assert metadata_of(index.open()) == {"model": 2}


@pytest.mark.parametrize("rows", [[{"x": 1}], [asdict(Pointer())] * 2])
def test_a_table_of_somebody_else_in_the_place_of_the_pointer_is_named_and_stays(index: PublishedIndex, rows: list[dict]):
    import lancedb

    table = lancedb.connect(index.uri).create_table("support__published", rows)
    for look in (index.pointer, index.open, index.rollback):
        with pytest.raises(PublishingError, match="'support__published': it does not say what is published"):
            look()
    assert table.to_arrow().to_pylist() == rows


def test_a_column_that_somebody_added_to_the_pointer_does_not_matter(index: PublishedIndex):
    import lancedb

    index.swap(index.pointer(), "support__0", "first")
    lancedb.connect(index.uri).open_table("support__published").add_columns({"note": "'of mine'"})
    index.swap(index.pointer(), "support__1", "second")
    assert (index.pointer().current, index.pointer().previous) == ("support__1", "support__0")


def test_table_that_somebody_else_wrote_to_is_not_published(index: PublishedIndex, chunks: Path):
    index.write("support__model1", chunks, OneDirection(1), {})
    table = index._open("support__model1")
    table.add(table.search().limit(3).to_arrow())
    with pytest.raises(PublishingError, match="5003 rows where 5000 were expected"):
        index.write("support__model1", chunks, OneDirection(1), {})
    assert index.pointer() == Pointer()


def test_database_that_cannot_be_written_leaves_what_is_there(index: PublishedIndex, chunks: Path):
    first = put(index, chunks, 1)
    command = [
        sys.executable,
        "-c",
        f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n{SLOW_WRITER}",
    ]
    done = subprocess.run(
        [*command, index.uri, str(chunks)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert (index.pointer().current, index.open().count_rows()) == (first, ROWS)
    put(index, chunks, 2)
    assert (metadata_of(index.open()), index.open().count_rows()) == ({"model": 2}, ROWS)


def test_a_clone_shares_all_rows_and_indexes_and_is_made_of_something_else(index: PublishedIndex, chunks: Path):
    first = put(index, chunks, 3, vector_index_rows=1000)
    index.clone("support__aaaaaaaaaaaa", first, {"queries": "tuned"})
    index.clone("support__aaaaaaaaaaaa", first, {"queries": "tuned"})  # as after a publisher that was killed
    index.swap(index.pointer(), "support__aaaaaaaaaaaa", "better queries")
    table = index.open()
    assert metadata_of(table) == {"queries": "tuned", "shares_rows_with": first} and index.metadata(first) == {"model": 3}
    assert table.count_rows() == ROWS and len(table.list_indices()) == 2
    assert table.search("c42", query_type="fts").limit(1).to_list()[0]["id"] == "c42"
    index.clone(first, "support__aaaaaaaaaaaa", {"model": 4})
    assert index.metadata(first) == {"model": 3}, "what others share is not written again"
    files = [path for path in (Path(index.uri) / "support__aaaaaaaaaaaa.lance").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 20_000, "nothing is copied"


def test_what_a_clone_shares_is_kept_as_long_as_it_is_named(index: PublishedIndex, tmp_path: Path):
    chunks = write_chunks(tmp_path / "few.parquet", 10)
    root = put(index, chunks, 1)
    for name in ("support__aaaaaaaaaaaa", "support__bbbbbbbbbbbb", "support__cccccccccccc"):
        index.clone(name, index.pointer().current, {"queries": name})
        index.swap(index.pointer(), name, "better queries")
    # The tables before the last two are gone, but not the one whose rows are shared, through two clones.
    assert index.candidates() == ["support__bbbbbbbbbbbb", "support__cccccccccccc"] and index._open(root) is not None
    assert index.in_use(["support__cccccccccccc"]) == {root, "support__cccccccccccc"}
    index.rollback()
    assert index.open().count_rows() == 10
    for direction in (2, 3):
        put(index, chunks, direction)
    assert index._open(root) is None and index.candidates() == []
