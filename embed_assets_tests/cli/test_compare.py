"""Models that ``compare`` cannot load: an error of one line, and no stack of calls."""

from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from embed_assets.artifacts.workspace import Workspace
from embed_assets.cli.main import main
from embed_assets.evaluation.evaluation_set import LABEL_SCHEMA, QUERY_SCHEMA
from embed_assets_tests.small_collections import BAKERY, write_collection


def write_chunks(folder: Path, scratch: Path) -> None:
    passages = [(name, name, 0, len(text), text, text) for name, text in BAKERY.items()]
    names = ["chunk_id", "document_id", "start", "end", "text", "passage"]
    chunks = pl.DataFrame(passages, schema=names, orient="row")
    chunks.write_parquet(folder / "chunks.parquet")
    chunks.select("document_id", "text").write_parquet(folder / "documents.parquet")


def write_queries(folder: Path, scratch: Path) -> None:
    pl.DataFrame([("q", "sourdough", "", "human", "test")], schema=QUERY_SCHEMA, orient="row").write_parquet(
        folder / "queries.parquet"
    )
    pl.DataFrame([("q", "rye.md", None, None, None, 1)], schema=LABEL_SCHEMA, orient="row").write_parquet(
        folder / "labels.parquet"
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [("empty", "is no model"), ("file", "cannot be loaded"), ("nowhere", "nothing at"), (None, "without a name")],
)
def test_a_model_that_cannot_be_loaded_is_told_in_a_line(tmp_path: Path, name: str | None, words: str):
    write_collection(tmp_path / "data" / "collections" / "bakery", BAKERY)
    workspace = Workspace(tmp_path / "data", tmp_path / "home")
    workspace.store.build("corpus_chunks", "bakery", {}, write_chunks)
    workspace.store.build("evaluation_set", "bakery", {}, write_queries)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("no model")
    model = str(tmp_path / name) if name else ""
    places = ["--data", str(workspace.data), "--home", str(workspace.home)]
    result = CliRunner().invoke(main, ["compare", "bakery", model, *places])
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    assert result.output.startswith("Error: ") and words in result.output
