"""A LanceDB table as a source: what its rows become, what counts as a change, and what is wrong with it."""

import json
import os
import re
import shutil
import uuid
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from ruamel.yaml import YAML

from embed_assets.artifacts.inputs import ChangedWhileReadError
from embed_assets.artifacts.workspace import CollectionError, Workspace
from embed_assets.corpus import production_rows
from embed_assets.corpus import production_table as production
from embed_assets.corpus.production_rows import DatabaseUnreachableError, open_table, read_rows
from embed_assets.corpus.settings import ProductionSettings
from embed_assets.corpus.spans import CHUNK_SCHEMA
from embed_assets.corpus.stages import CORPUS_CHUNKS
from embed_assets.lineage import resolve
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.tokenizers import load_tokenizer
from embed_assets.production.published_index import PublishedIndex
from embed_assets.settings import read_settings
from embed_assets_tests.ports import free_port
from embed_assets_tests.production_tables import production_database, rows_of, write_production_table, write_table_collection
from embed_assets_tests.small_collections import ROUTERS

yaml = YAML(typ="safe", pure=True)
ROWS = rows_of(ROUTERS | {"long.md": "# Long\n\nFirst paragraph, with an ä.\n\nSecond one.\n\nThird 😀 one."})


@pytest.fixture
def table(tmp_path: Path):
    """The collection ``support``, with ROWS in its table."""
    write_table_collection(tmp_path, "support")
    return write_production_table(tmp_path, ROWS)


@pytest.fixture
def workspace(tmp_path: Path, table) -> Workspace:
    return Workspace(tmp_path, tmp_path / "home")


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(BaseModelSettings().name)


def table_of(workspace: Workspace, collection: str) -> ProductionSettings:
    return read_settings(workspace, collection).production


def look(workspace: Workspace, collection: str) -> production.Snapshot:
    return production.look(workspace, collection, table_of(workspace, collection))


def read(workspace: Workspace, tokenizer, collection: str = "support"):
    rows_file = workspace.home / "rows.parquet"
    digest = look(workspace, collection).digest
    return production.read_chunks(workspace, collection, table_of(workspace, collection), digest, tokenizer, rows_file)


def test_folder_with_nothing_but_settings_is_a_collection(workspace: Workspace):
    (workspace.data / "collections" / "empty").mkdir()
    (workspace.data / "collections" / "empty" / "settings.yaml").write_text("chunking: {max_tokens: 64}")
    assert list(workspace.collections()) == ["support"]


def test_table_without_a_uri_is_an_error(tmp_path: Path, workspace: Workspace):
    write_table_collection(tmp_path, "support", production={"uri": ""})
    with pytest.raises(CollectionError, match=r"neither documents/ nor corpus.jsonl, and its settings name no production.uri"):
        resolve(workspace, CORPUS_CHUNKS, "support")


def test_rows_are_the_chunks(workspace: Workspace, tokenizer):
    documents, skipped, chunks = read(workspace, tokenizer)
    assert chunks.schema == CHUNK_SCHEMA
    assert skipped == []
    assert sorted(chunks["chunk_id"]) == sorted(row["id"] for row in ROWS)
    text_of = dict(documents.select("document_id", "text").iter_rows())
    for chunk in chunks.iter_rows(named=True):
        row = next(row for row in ROWS if row["id"] == chunk["chunk_id"])
        assert chunk["text"] == row["text"] == text_of[row["document"]][chunk["start"] : chunk["end"]]
        assert chunk["passage"] == f"{row['title']}\n{row['text']}"
        assert chunk["tokens"] == len(tokenizer.encode(chunk["passage"], add_special_tokens=False))
    assert text_of["long.md"] == "First paragraph, with an ä.\n\nSecond one.\n\nThird 😀 one."
    assert documents.columns == ["document_id", "title", "text"]


def test_row_without_document_column_is_its_own_document(tmp_path: Path, workspace: Workspace, tokenizer):
    write_table_collection(tmp_path, "support", production={"document_column": "", "title_column": ""})
    documents, _, chunks = read(workspace, tokenizer)
    assert documents["document_id"].to_list() == chunks["chunk_id"].to_list()
    assert chunks["passage"].to_list() == chunks["text"].to_list()


def test_numbers_can_be_ids(tmp_path: Path, workspace: Workspace, tokenizer):
    write_production_table(tmp_path, [{"id": i, "text": f"Part {i} is made of steel."} for i in range(3)], "numbered")
    write_table_collection(tmp_path, "numbered", production={"table": "numbered", "document_column": "", "title_column": ""})
    assert read(workspace, tokenizer, "numbered")[2]["chunk_id"].to_list() == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("ids", "settings"),
    [
        pytest.param([7, 8, 9, 10, 11, 100, 101], {}, id="whole numbers"),
        pytest.param([-200, -20, -3, 1, 3, 20, 100], {}, id="negative numbers"),
        pytest.param([f"a.md::{number}" for number in (7, 8, 9, 10, 11, 100, 101)], {}, id="numbers in texts"),
        pytest.param([-20, -3, 1, 3, 20, 2**53 + 1, 2**53 + 2], {"order_column": "id"}, id="large and negative numbers"),
        pytest.param([0.5, 1.25, 1.5, 20.0, 100.0, 1000.0, None], {"id_column": "key", "order_column": "id"}, id="floats"),
        pytest.param(["a", "b", "c", "d", "e", "f", None], {"id_column": "key", "order_column": "id"}, id="letters"),
        pytest.param(list("gfedcba"), {"order_column": "about.page"}, id="a field of a column"),
        pytest.param(list("gfedcba"), {"order_column": "json.at.start"}, id="a key of JSON in a text"),
    ],
)
def test_rows_of_a_document_are_in_the_order_of_their_numbers(tmp_path: Path, workspace: Workspace, tokenizer, ids, settings):
    rows = [
        {
            "id": key,
            "key": f"{6 - number}",
            "document": "manual",
            "text": f"Step {'abcdefg'[number]}.",
            "about": {"page": number + 8},
            "json": json.dumps({"at": {"start": 40 * number}}),
        }
        for number, key in enumerate(ids)
    ]
    write_production_table(tmp_path, rows[::-1], "steps")
    write_table_collection(tmp_path, "steps", production={"table": "steps", "title_column": ""} | settings)
    documents, skipped, chunks = read(workspace, tokenizer, "steps")
    assert documents["text"].to_list() == ["\n\n".join(f"Step {letter}." for letter in "abcdefg")]
    assert chunks["text"].to_list() == [row["text"] for row in rows] and skipped == []


def test_a_changed_order_is_a_changed_content(tmp_path: Path, workspace: Workspace, table):
    table.add_columns({"page": "cast(1 as int)"})
    write_table_collection(tmp_path, "support", production={"order_column": "page"})
    before = look(workspace, "support").digest
    table.update(where=f"id = '{ROWS[1]['id']}'", values={"page": 2})
    assert look(workspace, "support").digest != before


def test_columns_as_they_are_found(tmp_path: Path, workspace: Workspace, tokenizer):
    """Categories and whole numbers as pandas writes them, paragraphs and headings in lists."""
    import pyarrow as pa

    table = pa.table(
        {
            "id": pa.array([1.0, 2.0, None, 4.0]),
            "file": pa.array(["a", "b", "a", "a"]).dictionary_encode(),
            "parts": pa.array([["One.", "Two."], ["Three."], ["Lost."], []], pa.list_(pa.string())),
            "headings": pa.array([["Guide", "Start"], None, ["Guide"], ["Guide"]], pa.list_(pa.large_string())),
        }
    )
    production_database(tmp_path).create_table("found", table)
    settings = {"document_column": "file", "text_column": "parts", "title_column": "headings", "max_left_out": 0.5}
    write_table_collection(tmp_path, "found", production={"table": "found"} | settings)
    documents, skipped, chunks = read(workspace, tokenizer, "found")
    assert chunks.select("chunk_id", "document_id", "passage").rows() == [
        ("1", "a", "Guide > Start\nOne.\n\nTwo."),
        ("2", "b", "Three."),
    ]
    assert documents["document_id"].to_list() == ["a", "b"]
    assert [item.reason for item in skipped] == ["no text", "no value in the column 'id'"]


def test_texts_are_read_without_what_nobody_sees_and_blank_ids_are_none(tmp_path: Path, workspace: Workspace, tokenizer):
    texts = {
        "1": "The firm\u00adware of the Lu\u0308fter.",
        "2": f"An ordinary sentence with one zero\0 byte{' and more words' * 10}.",
        "3": "\u200b\ufeff \u00ad",
        "4": "\x01\x02\x03 data",
        " ": "A blank id.",
    }
    rows = [{"id": key, "text": text, "head": "Gro\u0308ße"} for key, text in texts.items()]
    write_production_table(tmp_path, rows, "unseen")
    settings = {"table": "unseen", "document_column": "", "title_column": "head", "max_left_out": 0.6}
    write_table_collection(tmp_path, "unseen", production=settings)
    _, skipped, chunks = read(workspace, tokenizer, "unseen")
    assert chunks["passage"].to_list() == ["Größe\nThe firmware of the Lüfter.", f"Größe\n{texts['2'].replace(chr(0), '')}"]
    reasons = {"3": "no text", "4": "binary data", " ": "no value in the column 'id'"}
    assert {item.document_id: item.reason for item in skipped} == reasons


def test_numbers_that_are_not_whole_name_documents_and_empty_parts_of_a_text_are_none(
    tmp_path: Path, workspace: Workspace, tokenizer
):
    rows = [
        {"id": 1e20, "text": ["One.", None, ""], "section": 2.5},
        {"id": 7.0, "text": ["", "Two."], "section": 2.0},
        {"id": 8.0, "text": ["Lost."], "section": float("nan")},
    ]
    write_production_table(tmp_path, rows, "sections")
    settings = {"table": "sections", "document_column": "section", "title_column": "", "max_left_out": 0.4}
    write_table_collection(tmp_path, "sections", production=settings)
    _, skipped, chunks = read(workspace, tokenizer, "sections")
    assert chunks.select("chunk_id", "document_id", "text").rows() == [("7", "2", "Two."), ("1e+20", "2.5", "One.")]
    assert [item.reason for item in skipped] == ["no value in the column 'section'"]


UUIDS = [uuid.UUID(int=number) for number in (1, 3, 2)]


@pytest.mark.parametrize(
    ("values", "kind", "ids"),
    [
        ([key.bytes for key in UUIDS], "uuid", [str(UUIDS[0]), str(UUIDS[2]), str(UUIDS[1])]),
        ([key.bytes for key in UUIDS], "binary(16)", [str(UUIDS[0]), str(UUIDS[2]), str(UUIDS[1])]),
        ([Decimal(1), Decimal(10), Decimal(2)], "decimal128(20, 0)", ["1", "2", "10"]),
        ([b"\x01", b"\xff", b"\x02"], "binary()", ["01", "02", "ff"]),
    ],
)
def test_uuids_bytes_and_decimals_can_be_ids_and_decimals_order_rows(
    tmp_path: Path, workspace: Workspace, tokenizer, values, kind, ids
):
    import pyarrow as pa

    name, _, arguments = kind.removesuffix(")").partition("(")
    made = getattr(pa, name)(*map(int, filter(None, arguments.split(","))))
    pages = pa.array([Decimal("1.5"), Decimal("10.0"), Decimal("2.0")], pa.decimal128(5, 1))
    table = pa.table({"id": pa.array(values, made), "text": ["One.", "Ten.", "Two."], "document": ["a"] * 3, "page": pages})
    production_database(tmp_path).create_table("odd", table)
    for order in ("", "page"):
        write_table_collection(tmp_path, "odd", production={"table": "odd", "title_column": "", "order_column": order})
        documents, skipped, chunks = read(workspace, tokenizer, "odd")
        assert chunks["chunk_id"].to_list() == ids and documents["text"].to_list() == ["One.\n\nTwo.\n\nTen."] and not skipped
    shown = ProductionSettings(**table_of(workspace, "odd").model_dump() | {"metadata_columns": ("page",)})
    assert production.metadata_columns(workspace, shown)(ids)["page"].to_pylist() == sorted(pages.to_pylist())


def test_a_text_that_is_its_title_stands_once(tmp_path: Path, workspace: Workspace, tokenizer):
    write_production_table(tmp_path, [{"id": key, "text": f"Oil {key}.", "head": "Oil 1. "} for key in "12"], "titles")
    write_table_collection(tmp_path, "titles", production={"table": "titles", "document_column": "", "title_column": "head"})
    assert read(workspace, tokenizer, "titles")[2]["passage"].to_list() == ["Oil 1.", "Oil 1. \nOil 2."]


def test_a_table_without_ids_has_hashes_as_ids(tmp_path: Path, workspace: Workspace, tokenizer):
    rows = [
        {"text": text, "about": {"file": file, "pages": [number]}}
        for number, (file, text) in enumerate([("a", "Oil it."), ("a", "Dry it."), ("b", "Oil it."), ("a", "Oil it.")])
    ]
    write_production_table(tmp_path, rows, "plain")
    settings = {"table": "plain", "id_column": "", "document_column": "about.file", "title_column": "", "max_left_out": 0.25}
    write_table_collection(tmp_path, "plain", production=settings | {"metadata_columns": ["about.pages"]})
    _, skipped, chunks = read(workspace, tokenizer, "plain")
    assert [item.reason for item in skipped] == ["the same as another row"]
    assert sorted(chunks.select("document_id", "text").rows()) == [("a", "Dry it."), ("a", "Oil it."), ("b", "Oil it.")]
    ids = chunks.sort("document_id", "text")["chunk_id"].to_list()
    write_production_table(tmp_path, rows[::-1], "plain")
    assert read(workspace, tokenizer, "plain")[2].sort("document_id", "text")["chunk_id"].to_list() == ids
    found = production.metadata_columns(workspace, table_of(workspace, "plain"))(ids)
    assert found["about"].to_pylist()[0] == {"pages": [1]} and found["about"].to_pylist()[2] == {"pages": [2]}


def test_tables_of_langchain_and_llamaindex_are_read_as_the_manual_says(tmp_path: Path, workspace: Workspace, tokenizer):
    texts = ["Open the lid.", "Fill in the salt.", "Close it."]
    langchain = [
        {"vector": [0.5] * 8, "id": key, "text": text, "metadata": {"source": "care.pdf", "page": page}}
        for key, text, page in zip(("9b", "3c", "7a"), texts, (2, 10, 11), strict=True)
    ]
    llamaindex = [
        {
            "id": key,
            "doc_id": "d-1",
            "vector": [0.5] * 8,
            "text": text,
            "metadata": {
                "file_name": "care.pdf",
                "_node_content": json.dumps({"id_": key, "start_char_idx": place, "text": text}),
            },
        }
        for key, text, place in zip(("9b", "3c", "7a"), texts, (0, 90, 1000), strict=True)
    ]
    found = []
    for number, rows in enumerate([langchain, llamaindex]):
        manual = (Path(__file__).parents[2] / "docs" / "lancedb.md").read_text(encoding="utf-8")
        block = [part for part in re.findall(r"```yaml\n(.*?)```", manual, re.DOTALL) if "metadata." in part][number]
        settings = yaml.load(block)["production"]
        write_production_table(tmp_path, rows[::-1], settings["table"])
        write_table_collection(tmp_path, f"tool-{number}", production={"title_column": ""} | settings | {"uri": "production"})
        documents, skipped, _ = read(workspace, tokenizer, f"tool-{number}")
        assert skipped == []
        found += documents.rows()
    whole = "\n\n".join(texts)
    assert found == [("care.pdf", "", whole), ("d-1", "care.pdf", whole)]


def test_order_of_the_rows_and_other_columns_do_not_count(tmp_path: Path, workspace: Workspace):
    before = look(workspace, "support").digest
    write_production_table(tmp_path, [row | {"vector": [1.0] * 8, "price": 3} for row in reversed(ROWS)])
    assert look(workspace, "support").digest == before


def test_commits_that_change_no_text_change_no_digest(workspace: Workspace, table):
    from lancedb.index import FTS

    before = look(workspace, "support")
    table.create_index("text", config=FTS())
    table.optimize()
    table.merge_insert("id").when_matched_update_all().execute(ROWS[:3])
    table.delete("id = 'no such row'")
    after = look(workspace, "support")
    assert after.version > before.version
    assert after.digest == before.digest


def test_unchanged_table_is_not_read_again(workspace: Workspace, monkeypatch: pytest.MonkeyPatch):
    before = look(workspace, "support")
    monkeypatch.setattr(production, "read_rows", None)
    assert look(workspace, "support") == before


def test_table_that_is_dropped_and_made_again_is_read_again(tmp_path: Path, workspace: Workspace, table):
    before, version = look(workspace, "support"), table.version
    production_database(tmp_path).drop_table("chunks")
    again = write_production_table(tmp_path, [row | {"text": row["text"][::-1]} for row in ROWS])
    assert again.version == version
    assert look(workspace, "support").digest != before.digest


@pytest.mark.parametrize("place", ["an object store", "a copy"])
def test_a_table_that_is_made_again_with_as_many_bytes_is_read_again_wherever_it_lies(
    tmp_path: Path, workspace: Workspace, remote_address: str, place: str
):
    """A copy of a folder, as in an image, may have any times of modification."""
    import lancedb

    uri = f"{remote_address}/production" if place == "an object store" else str(tmp_path / "production")
    settings, database = ProductionSettings(uri=uri, table="parts"), lancedb.connect(uri)
    found = []
    for text in ("Oil the hinge.", "Dry the hinge."):
        database.drop_table("parts", ignore_missing=True)
        database.create_table("parts", [{"id": "1", "text": text}])
        if place == "a copy":
            os.utime(tmp_path / "production" / "parts.lance" / "_versions", (0, 0))
        found.append(production.look(workspace, "parts", settings))
    first, second = found
    assert first.version == second.version and first.digest != second.digest


@pytest.mark.parametrize(
    "meets",
    [
        lambda workspace, uri: production.look(workspace, "support", ProductionSettings(uri=uri, table="chunks")),
        lambda workspace, uri: PublishedIndex(uri, "support").pointer(),
    ],
    ids=["source", "index"],
)
def test_an_object_store_that_does_not_answer_is_told_in_few_words(workspace: Workspace, monkeypatch, meets):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    for name, value in {"AWS_ALLOW_HTTP": "true", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(DatabaseUnreachableError, match=r"^s3://bucket/db: the database cannot be reached: see that ") as told:
        meets(workspace, "s3://bucket/db")
    assert len(str(told.value)) < 500


def test_a_table_in_a_namespace_is_read_and_read_again_after_it_was_made_anew(tmp_path: Path, tokenizer):
    import lancedb

    workspace = Workspace(tmp_path / "my data", tmp_path / "home")
    database = lancedb.connect_namespace("dir", {"root": str(workspace.data / "named")})
    database.create_namespace(["team"])
    rows = [{"id": "1", "text": "Oil the hinge."}]
    database.create_table("chunks", rows, namespace_path=["team"])
    settings = {"uri": "named", "table": "team/chunks", "document_column": "", "title_column": ""}
    write_table_collection(workspace.data, "named", production=settings)
    assert read(workspace, tokenizer, "named")[2]["text"].to_list() == ["Oil the hinge."]
    before = look(workspace, "named")
    database.drop_table("chunks", namespace_path=["team"])
    database.create_table("chunks", [rows[0] | {"text": "Dry the hinge."}], namespace_path=["team"])
    after = look(workspace, "named")
    assert after.version == before.version and after.digest != before.digest
    write_table_collection(workspace.data, "named", production=settings | {"table": "nobody/chunks"})
    with pytest.raises(CollectionError, match=r"table 'nobody/chunks': cannot be opened"):
        look(workspace, "named")


def test_added_changed_and_removed_rows_are_told_apart(tmp_path: Path, workspace: Workspace, table):
    before = shutil.copy(look(workspace, "support").path, tmp_path / "before.parquet")
    table.add([ROWS[0] | {"id": "new-1"}, ROWS[0] | {"id": "new-2"}])
    table.update(where=f"id = '{ROWS[1]['id']}'", values={"text": "another text"})
    table.update(where=f"id = '{ROWS[2]['id']}'", values={"title": "another title"})
    table.update(where=f"id = '{ROWS[3]['id']}'", values={"vector": [9.0] * 8})
    table.delete(f"id = '{ROWS[4]['id']}'")
    change = production.compare(before, look(workspace, "support").path)
    assert change == production.Change(added=2, changed=2, removed=1, rows=len(ROWS) + 1)
    assert str(change) == f"2 added, 2 changed, 1 removed of {len(ROWS) + 1} rows"


def test_content_that_changed_after_the_look_is_not_taken_for_it(workspace: Workspace, table, tokenizer):
    digest = look(workspace, "support").digest
    table.add([ROWS[0] | {"id": "new"}])
    with pytest.raises(ChangedWhileReadError, match="a moment ago: materialize again"):
        production.read_chunks(
            workspace, "support", table_of(workspace, "support"), digest, tokenizer, workspace.home / "rows.parquet"
        )


def test_a_version_that_was_cleaned_up_after_the_look_is_told(workspace: Workspace, table, tokenizer, monkeypatch):
    seen = look(workspace, "support")
    table.add([ROWS[0] | {"id": "new"}])
    table.optimize(cleanup_older_than=timedelta(0), delete_unverified=True)
    monkeypatch.setattr(production, "look", lambda *of: seen)
    with pytest.raises(ChangedWhileReadError, match=r"table 'chunks': Version \d+ no longer exists.*: materialize again"):
        production.read_chunks(
            workspace, "support", table_of(workspace, "support"), seen.digest, tokenizer, workspace.home / "rows.parquet"
        )


def test_a_version_that_is_cleaned_up_while_it_is_read_is_told_as_passing(tmp_path: Path, workspace: Workspace, table):
    settings, uri = table_of(workspace, "support"), str(tmp_path / "production")
    opened = open_table(uri, settings)
    table.add(ROWS, mode="overwrite")
    table.optimize(cleanup_older_than=timedelta(0), delete_unverified=True)
    with pytest.raises(ChangedWhileReadError, match=r"it changed while it was read.*: materialize again"):
        list(read_rows(opened, uri, settings))
    opened = open_table(uri, settings)
    shutil.rmtree(tmp_path / "production" / "chunks.lance" / "data")
    with pytest.raises(CollectionError, match="table 'chunks': cannot be read") as caught:
        list(read_rows(opened, uri, settings))
    assert not isinstance(caught.value, ChangedWhileReadError)


def test_a_kind_of_column_that_polars_panics_at_is_an_error_of_this_table_alone(tmp_path: Path, workspace: Workspace):
    rows = {"id": pa.array([Decimal(1)], pa.decimal256(50, 0)), "text": pa.array(["A text."])}
    production_database(tmp_path).create_table("huge", pa.table(rows))
    write_table_collection(tmp_path, "support", production={"table": "huge", "document_column": "", "title_column": ""})
    with pytest.raises(CollectionError, match="table 'huge': cannot be read"):
        look(workspace, "support")


@pytest.mark.parametrize("left", [0, 100])
def test_a_damaged_snapshot_is_made_again(workspace: Workspace, left: int, caplog):
    before = look(workspace, "support")
    before.path.write_bytes(before.path.read_bytes()[:left])
    assert look(workspace, "support") == before
    assert "cannot be read" in caplog.text and "the table is read anew" in caplog.text
    assert list(before.path.parent.iterdir()) == [before.path]


def test_rows_that_cannot_be_used_are_skipped_with_a_reason(tmp_path: Path, workspace: Workspace, table, tokenizer):
    write_table_collection(tmp_path, "support", production={"max_characters": 200, "max_left_out": 0.5})
    table.add([ROWS[0] | {"id": "huge", "text": "x" * 201}, ROWS[0] | {"id": "blank", "text": " \n"}])
    table.add([ROWS[0] | {"id": "binary", "text": "a\0b"}, ROWS[0] | {"id": "null", "text": None}, ROWS[0], ROWS[0]])
    table.add([ROWS[0] | {"id": None, "text": "Text without an id."}, ROWS[0] | {"id": "lost", "document": None}])
    _, skipped, chunks = read(workspace, tokenizer)
    assert sorted((item.document_id, item.reason) for item in skipped) == [
        ("a row without an id: 'Text without an id.'", "no value in the column 'id'"),
        ("binary", "binary data"),
        ("blank", "no text"),
        ("huge", "201 characters are more than 200"),
        ("lost", "no value in the column 'document'"),
        ("null", "no value in the column 'text'"),
        *[(ROWS[0]["id"], "the same as another row")] * 2,
    ]
    assert sorted(chunks["chunk_id"]) == sorted(row["id"] for row in ROWS)
    assert look(workspace, "support").rows == len(ROWS)


@pytest.mark.parametrize("id_column", ["id", ""])
def test_of_texts_that_are_far_too_long_no_copies_are_made(tmp_path: Path, workspace: Workspace, table, monkeypatch, id_column):
    """A few rows of a hundred megabytes fill a memory; the row is left out with the length that it has."""
    looked_at = []
    monkeypatch.setattr(production_rows, "is_binary", lambda text: looked_at.append(len(text)) or False)
    table.add([ROWS[0] | {"id": "dump", "text": "pump " * 100_000}, ROWS[0] | {"id": "long", "text": "x" * 1500}])
    settings = ProductionSettings(uri="db", id_column=id_column, max_characters=1000)
    whole = pl.concat(read_rows(table, "db", settings))
    assert sorted(whole["reason"].drop_nulls()) == ["1500 characters are more than 1000", "500000 characters are more than 1000"]
    assert max(looked_at) == max(whole["text"].str.len_chars()) == 10_000
    assert whole.columns == list(production_rows.ROW_SCHEMA)


@pytest.mark.parametrize(("share", "allowed"), [(0.5, True), (0.49, False)])
def test_rows_are_left_out_up_to_a_stated_share(tmp_path: Path, workspace: Workspace, table, tokenizer, share, allowed):
    write_table_collection(tmp_path, "support", production={"max_left_out": share})
    table.add([ROWS[0] | {"id": f"empty-{number}", "text": None if number % 2 else ""} for number in range(len(ROWS))])
    if allowed:
        assert len(read(workspace, tokenizer)[2]) == len(ROWS)
        return
    words = rf"{len(ROWS)} of {2 * len(ROWS)} rows cannot be used .*no text.*'empty-0'.*production.max_left_out is 0.49"
    with pytest.raises(CollectionError, match=words):
        look(workspace, "support")


def test_a_row_that_cannot_be_used_is_not_taken_for_a_change_of_another(tmp_path: Path, workspace: Workspace, table):
    before = shutil.copy(look(workspace, "support").path, tmp_path / "before.parquet")
    digest = look(workspace, "support").digest
    table.add([ROWS[0] | {"id": None}])
    after = look(workspace, "support")
    assert after.digest != digest and production.compare(before, after.path).total == 0


def faulty(tmp_path: Path, table, fault: str) -> None:
    if fault == "duplicate id":
        table.add([ROWS[3] | {"text": "another text under the same id"}])
    elif fault in ("null text", "null id", "null document"):
        table.add([ROWS[0] | {"id": f"row-{number}", "text": "x"} | {fault[5:]: None} for number in range(3)])
    elif fault == "column gone":
        table.alter_columns({"path": "text", "rename": "body"})
    elif fault == "column of another kind":
        table.drop_columns(["text"])
        table.add_columns({"text": "cast(1.5 as double)"})
    elif fault == "table gone":
        production_database(tmp_path).drop_table("chunks")
    elif fault == "database gone":
        shutil.rmtree(tmp_path / "production")
    elif fault == "broken manifest":
        for manifest in (tmp_path / "production" / "chunks.lance" / "_versions").iterdir():
            manifest.write_bytes(b"broken")
    elif fault == "data file gone":
        shutil.rmtree(tmp_path / "production" / "chunks.lance" / "data")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("duplicate id", [ROWS[3]["id"], "'id'", "more than one row"]),
        ("null text", ["3 rows: no value in the column 'text'", "row-0"]),
        ("null id", ["3 rows: no value in the column 'id'", "max_left_out"]),
        ("null document", ["3 rows: no value in the column 'document'", "row-0"]),
        ("column gone", ["'text'", "production.text_column", "body (string)"]),
        ("column of another kind", ["'text'", "double"]),
        ("table gone", ["not found", "tables that are there: none"]),
        ("database gone", ["no such folder"]),
        ("broken manifest", ["cannot be opened"]),
        ("data file gone", ["cannot be read"]),
    ],
)
def test_error_names_the_table_and_the_row_or_the_column(
    tmp_path: Path, workspace: Workspace, table, fault: str, words: list[str]
):
    faulty(tmp_path, table, fault)
    with pytest.raises(CollectionError) as caught:
        look(workspace, "support")
    assert [word for word in [str(tmp_path / "production"), *words] if word not in str(caught.value)] == []


def test_table_without_rows_is_an_error(tmp_path: Path, workspace: Workspace, table, tokenizer):
    table.delete("true")
    with pytest.raises(CollectionError, match="no row"):
        read(workspace, tokenizer)


def test_metadata_columns_are_read_by_id_with_their_types_and_of_rows_that_are_gone_nothing(workspace: Workspace, table):
    import pyarrow as pa

    rows = {f"{i}": {"id": i, "text": "a", "price": i / 4, "tags": [f"t{i}"], "when": datetime(2026, 1, 1 + i)} for i in range(9)}
    write_production_table(workspace.data, list(rows.values()), "goods")
    settings = {"table": "goods", "document_column": "", "title_column": "", "metadata_columns": ["tags", "price", "when"]}
    write_table_collection(workspace.data, "goods", production=settings)
    goods = production_database(workspace.data).open_table("goods")
    goods.delete("id = 3")
    goods.update(where="id = 5", values={"price": 100.0})
    found = production.metadata_columns(workspace, table_of(workspace, "goods"))(["8", "3", "5", "0"])
    assert found.column_names == ["tags", "price", "when"]
    assert found.schema.types == [pa.list_(pa.string()), pa.float64(), pa.timestamp("us")]
    assert found["price"].to_pylist() == [2.0, None, 100.0, 0.0]
    assert found["tags"].to_pylist() == [["t8"], None, ["t5"], ["t0"]]
    assert production.metadata_columns(workspace, table_of(workspace, "support")) is None


def test_fields_of_columns_are_published_so_that_filters_of_production_work(tmp_path: Path, workspace: Workspace):
    rows = [
        {"id": f"{i}", "text": "a", "metadata": {"source": f"{i}.md", "tags": [f"t{i}"], "size": {"x y": i}, "node": "long"}}
        for i in range(4)
    ]
    write_production_table(workspace.data, rows, "nested")
    columns = ["metadata.source", "metadata.size.x y", "metadata.tags"]
    settings = {"table": "nested", "document_column": "", "title_column": "", "metadata_columns": columns}
    write_table_collection(workspace.data, "nested", production=settings)
    found = production.metadata_columns(workspace, table_of(workspace, "nested"))(["2", "gone", "0"])
    assert found.column_names == ["metadata"]
    assert found["metadata"].to_pylist() == [
        {"source": "2.md", "size": {"x y": 2}, "tags": ["t2"]},
        {"source": None, "size": {"x y": None}, "tags": None},
        {"source": "0.md", "size": {"x y": 0}, "tags": ["t0"]},
    ]
    index = production_database(tmp_path).create_table("index", found)
    assert index.search().where("metadata.source = '2.md'").to_list() == found.slice(0, 1).to_pylist()


@pytest.mark.parametrize("column", ["metadata.nothing", "metadata", "id.key", "metadata.source.key"])
def test_a_field_that_is_not_there_is_named_with_those_that_are(tmp_path: Path, workspace: Workspace, column):
    write_production_table(workspace.data, [{"id": 1, "text": "a", "metadata": {"source": "a.md"}}], "nested")
    settings = {"table": "nested", "document_column": column, "title_column": ""}
    write_table_collection(workspace.data, "nested", production=settings)
    if column == "metadata.source.key":  # a text may hold JSON; this one does not
        with pytest.raises(CollectionError, match=r"1 rows: no value in the column 'metadata\.source\.key'"):
            look(workspace, "nested")
        return
    with pytest.raises(CollectionError, match=rf"'{column}' \(production.document_column\).*metadata.source \(string\)"):
        look(workspace, "nested")


def test_metadata_columns_do_not_count_as_content(workspace: Workspace, table):
    table.add_columns({"price": "cast(1.5 as double)"})
    before = look(workspace, "support").digest
    write_table_collection(workspace.data, "support", production={"metadata_columns": ["price"]})
    table.update(values={"price": 2.5})
    assert look(workspace, "support").digest == before


def test_missing_metadata_column_is_named(workspace: Workspace, table):
    write_table_collection(workspace.data, "support", production={"metadata_columns": ["price"]})
    with pytest.raises(CollectionError, match=r"no column 'price' \(production.metadata_columns\); there are id \(string\)"):
        look(workspace, "support")


def test_a_table_without_ids_is_told_what_to_set(workspace: Workspace, table):
    table.drop_columns(["id"])
    with pytest.raises(CollectionError, match=r"no column 'id'.*a table without ids takes production\.id_column: \"\""):
        look(workspace, "support")


def test_a_metadata_column_with_the_vectors_of_tokens_is_refused_and_one_with_whole_numbers_is_not(workspace: Workspace, table):
    import pyarrow as pa

    kinds = {"tokens": pa.list_(pa.list_(pa.float32(), 2)), "box": pa.list_(pa.int32(), 4)}
    rows = pa.table(
        {
            "id": ["1"],
            "text": ["a"],
            "tokens": pa.array([[[1.0, 0.0]]], kinds["tokens"]),
            "box": pa.array([[1, 2, 3, 4]], kinds["box"]),
        }
    )
    production_database(workspace.data).create_table("boxes", rows)
    plain = {"table": "boxes", "document_column": "", "title_column": ""}
    write_table_collection(workspace.data, "boxes", production=plain | {"metadata_columns": ["box"]})
    found = production.metadata_columns(workspace, table_of(workspace, "boxes"))(["1"])
    assert found["box"].to_pylist() == [[1, 2, 3, 4]]
    write_table_collection(workspace.data, "boxes", production=plain | {"metadata_columns": ["tokens"]})
    with pytest.raises(CollectionError, match=r"'tokens' .*holds vectors"):
        look(workspace, "boxes")


def test_metadata_column_with_vectors_is_refused(workspace: Workspace, table):
    table.alter_columns({"path": "vector", "rename": "old_vector"})
    write_table_collection(workspace.data, "support", production={"metadata_columns": ["old_vector"]})
    with pytest.raises(CollectionError, match=r"'old_vector' \(production.metadata_columns\) holds vectors"):
        look(workspace, "support")
