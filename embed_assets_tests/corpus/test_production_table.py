"""A LanceDB table as a source: what its rows become, what counts as a change, and what is wrong with it."""

import shutil
from datetime import datetime
from pathlib import Path

import pytest

from embed_assets.artifacts.workspace import CollectionError, Workspace
from embed_assets.corpus import production_table as production
from embed_assets.corpus.settings import ProductionSettings
from embed_assets.corpus.spans import CHUNK_SCHEMA
from embed_assets.corpus.stages import CORPUS_CHUNKS
from embed_assets.lineage import resolve
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.tokenizers import load_tokenizer
from embed_assets.settings import read_settings
from embed_assets_tests.production_tables import production_database, rows_of, write_production_table, write_table_collection
from embed_assets_tests.small_collections import ROUTERS

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
    monkeypatch.setattr(production, "_batches", None)
    assert look(workspace, "support") == before


def test_table_that_is_dropped_and_made_again_is_read_again(tmp_path: Path, workspace: Workspace, table):
    before, version = look(workspace, "support"), table.version
    production_database(tmp_path).drop_table("chunks")
    again = write_production_table(tmp_path, [row | {"text": row["text"][::-1]} for row in ROWS])
    assert again.version == version
    assert look(workspace, "support").digest != before.digest


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
    with pytest.raises(CollectionError, match="materialize again"):
        production.read_chunks(
            workspace, "support", table_of(workspace, "support"), digest, tokenizer, workspace.home / "rows.parquet"
        )


def test_rows_that_cannot_be_used_are_skipped_with_a_reason(tmp_path: Path, workspace: Workspace, table, tokenizer):
    write_table_collection(tmp_path, "support", production={"max_characters": 200})
    table.add([ROWS[0] | {"id": "huge", "text": "x" * 201}, ROWS[0] | {"id": "blank", "text": " \n"}])
    table.add([ROWS[0] | {"id": "binary", "text": "a\0b"}])
    _, skipped, chunks = read(workspace, tokenizer)
    assert {item.document_id: item.reason for item in skipped} == {
        "huge": "201 characters are more than 200",
        "blank": "no text",
        "binary": "binary data",
    }
    assert len(chunks) == len(ROWS)


def faulty(tmp_path: Path, table, fault: str) -> None:
    if fault == "duplicate id":
        table.add([ROWS[3] | {"text": "another text under the same id"}])
    elif fault == "null text":
        table.add([ROWS[0] | {"id": "without-text", "text": None}])
    elif fault == "null id":
        table.add([ROWS[0] | {"id": None}])
    elif fault == "null document":
        table.add([ROWS[0] | {"id": "without-document", "document": None}])
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
        ("null text", ["without-text", "'text'"]),
        ("null id", ["'id'", "no value"]),
        ("null document", ["without-document", "'document'"]),
        ("column gone", ["'text'", "production.text_column", "body (string)"]),
        ("column of another kind", ["'text'", "double"]),
        ("table gone", ["not found"]),
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


def test_metadata_column_with_vectors_is_refused(workspace: Workspace, table):
    table.alter_columns({"path": "vector", "rename": "old_vector"})
    write_table_collection(workspace.data, "support", production={"metadata_columns": ["old_vector"]})
    with pytest.raises(CollectionError, match=r"'old_vector' \(production.metadata_columns\) holds vectors"):
        look(workspace, "support")
