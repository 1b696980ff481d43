"""What ``compare`` computes with, and models that it cannot load: an error of one line, and no stack of calls."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result

from embed_assets.artifacts.workspace import Workspace
from embed_assets.cli.main import main
from embed_assets.evaluation.evaluation_set import LABEL_SCHEMA, QUERY_SCHEMA
from embed_assets.models.encoders import Encoder
from embed_assets.models.hardware import Compute
from embed_assets.models.settings import BaseModelSettings
from embed_assets_tests.small_collections import BAKERY, write_collection
from embed_assets_tests.tiny_models import write_model


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


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A collection with chunks and a labelled query."""
    write_collection(tmp_path / "data" / "collections" / "bakery", BAKERY)
    workspace = Workspace(tmp_path / "data", tmp_path / "home")
    workspace.store.build("corpus_chunks", "bakery", {}, write_chunks)
    workspace.store.build("evaluation_set", "bakery", {}, write_queries)
    return workspace


def compare(workspace: Workspace, model: str, *options: str) -> Result:
    places = ["--data", str(workspace.data), "--home", str(workspace.home)]
    return CliRunner().invoke(main, ["compare", "bakery", model, *places, *options])


@pytest.mark.long
def test_it_encodes_as_the_resource_gpu_says(tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EMBED_ASSETS_GPU", "")  # which the option sets
    model = str(write_model(tmp_path / "tiny", "bert"))
    dtype: Any = "bfloat16" if Compute("cpu").dtype_name() == "float32" else "float32"
    result = compare(workspace, model, "--gpu", "device=cpu", "--gpu", f"dtype={dtype}")
    assert result.exit_code == 0, result.output
    encoder = Encoder(BaseModelSettings(max_tokens=48), workspace.memos, model, Compute("cpu", dtype))
    encoder.encode_passages(list(BAKERY.values()))
    assert encoder.saved_work == f"{len(BAKERY)} of {len(BAKERY)} texts encoded before"


@pytest.mark.parametrize(
    ("name", "words"),
    [("empty", "is no model"), ("file", "cannot be loaded"), ("nowhere", "nothing at"), (None, "without a name")],
)
def test_a_model_that_cannot_be_loaded_is_told_in_a_line(tmp_path: Path, workspace: Workspace, name: str | None, words: str):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("no model")
    result = compare(workspace, str(tmp_path / name) if name else "")
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    assert result.output.startswith("Error: ") and words in result.output
