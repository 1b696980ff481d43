"""The benchmarks of storage and encoding, and all of them in one."""

import json
from pathlib import Path

import polars as pl
import pytest
import yaml
from click.testing import CliRunner

from embed_assets.artifacts.workspace import open_workspace
from embed_assets.benchmarks.encoding import benchmark_encoding
from embed_assets.benchmarks.machine import machine
from embed_assets.benchmarks.vector_storage import benchmark_vector_storage, ways
from embed_assets.cli.benchmark_all import rows_of
from embed_assets.cli.main import main
from embed_assets.evaluation.evaluation_set import LABEL_SCHEMA, QUERY_SCHEMA
from embed_assets.evaluation.settings import ScoringSettings
from embed_assets.models.encoders import Encoder
from embed_assets.models.hardware import Compute
from embed_assets.models.settings import BaseModelSettings
from embed_assets.reports.charts import draw_storage
from embed_assets_tests.scored_home import ASKED, NAME, ScoredHome
from embed_assets_tests.small_collections import BAKERY, write_collection

HUMAN = [(f"q{n}", query, "", "human", "test") for n, query in enumerate(ASKED)]
REMEDY = "add labels, or raise evaluation_set.test_share"
ANSWERS = [(f"q{n}", document, None, None, None, 1) for n, document in enumerate(ASKED.values())]


def test_few_dimensions_take_few_bytes_and_find_less_until_they_are_compared_again(
    chunks: pl.DataFrame, encoder: Encoder, tmp_path
):
    queries, labels = (
        pl.DataFrame(rows, schema=schema, orient="row") for rows, schema in ((HUMAN, QUERY_SCHEMA), (ANSWERS, LABEL_SCHEMA))
    )
    table = benchmark_vector_storage(chunks, queries, labels, encoder, [2], 12, ScoringSettings(resamples=100))
    rows = {row["storage"]: row for row in table.iter_rows(named=True)}
    whole, alone, both = (
        rows[name] for name in ("all dimensions, float32", "first dimensions alone, 2", "first dimensions then all, 2")
    )
    assert (whole["bytes"], alone["bytes"], both["bytes"]) == (4 * 384, 4, 4)
    assert (alone["stored_bytes"], both["stored_bytes"]) == (4, 4 + 4 * 384)
    assert alone["ndcg@10"] < whole["ndcg@10"] == both["ndcg@10"] and both["difference"] == 0 > alone["difference"]
    assert whole["difference"] is None and rows["all dimensions, float16"]["bytes"] == 2 * 384
    draw_storage(tmp_path / "chart.png", "house", table)
    assert (tmp_path / "chart.png").stat().st_size > 5000


def test_every_way_of_storing_is_measured_once():
    few, many = (dict(ways(384, [], rows)) for rows in (255, 256))
    assert len(few) == 2 + 2 * 3 and len(many) == 2 + 4 + 3 * 3
    assert {it.dimensions for it in many.values()} == {0, 192, 96, 48}
    assert {it.index for it in many.values() if it.index_rows == 0} == {"hnsw_sq", "ivf_sq", "ivf_pq", "ivf_rq"}


def test_encoding_is_measured_without_what_was_kept(chunks: pl.DataFrame):
    table = benchmark_encoding(chunks["passage"].to_list(), BaseModelSettings(max_tokens=32), compute=Compute("cpu"))
    assert table["system"].to_list() == ["sentence-transformers", "encoder"] and table["ratio"][0] == 1
    assert (table["texts_per_second"] > 0).all()


def test_what_libraries_print_among_the_rows_is_no_row():
    printed = '{\'loss\': 2.1, \'epoch\': 0.5}\nINFO starting\n{"system": "a", "ratio": 1.0}\n7\n'
    assert list(rows_of(printed)) == [{"system": "a", "ratio": 1.0}]


@pytest.mark.long
def test_all_benchmarks_say_where_they_ran_and_what_cannot_be_measured(tmp_path, chunks, memos):
    home = ScoredHome(tmp_path, chunks, memos)
    folders = ["--data", str(home.place.data), "--home", str(home.place.home)]
    # What a machine without vLLM has: a server elsewhere writes its questions.
    settings = home.place.collection_folder(NAME) / "settings.yaml"
    writer = {"writer": {"engine": "endpoint", "url": "http://localhost:1/v1", "name": "able"}}
    content = (yaml.safe_load(settings.read_text()) if settings.is_file() else {}) | {"questions": writer}
    settings.write_text(json.dumps(content))
    (home.place.data / "settings.yaml").write_text(json.dumps({"allowed": {"hosts": ["localhost:1"]}}))
    only = ["--only", "questions", "--only", "encoding", "--only", "training"]
    done = CliRunner().invoke(main, ["benchmark", "all", NAME, *only, "--quick", "--json", *folders])
    assert done.exit_code == 0, done.output
    first, questions, plain, ours, training, *stages = (json.loads(line) for line in done.stdout.splitlines())
    assert questions == {"benchmark": "questions", "error": "the writer is an endpoint, whose speed is not that of this machine"}
    assert plain["ratio"] == 1 and plain["texts"] == ours["texts"] == len(chunks)
    assert first["benchmark"] == "machine" and first["device"] == machine()["device"] and first["versions"]["torch"]
    assert training["benchmark"] == "training" and "triplets" in training["error"]
    assert {row["asset"] for row in stages} >= {"corpus_chunks", "checkpoint", "beir_scores"} and stages[0]["seconds"] >= 0


@pytest.mark.long
def test_benchmarks_of_a_home_that_is_shared_read_what_is_there(tmp_path, chunks, monkeypatch):
    monkeypatch.setenv("EMBED_ASSETS_CACHE", str(tmp_path / "cache"))
    write_collection(tmp_path / "data" / "collections" / NAME, BAKERY)
    home = open_workspace(str(tmp_path / "data"), f"file://{tmp_path}/shared")
    home.store.build("corpus_chunks", NAME, {}, lambda folder, scratch: chunks.write_parquet(folder / "chunks.parquet"))
    # An export that is not the current one: a check refused it.
    home.store.build("onnx_model", NAME, {}, _write_no_model, settle=lambda artifact: False)
    folders = ["--data", home.data_address, "--home", home.address]
    done = CliRunner().invoke(main, ["benchmark", "all", NAME, "--only", "encoding", "--quick", "--json", *folders])
    _, *measured, _ = (json.loads(line) for line in done.stdout.splitlines())
    assert [(row["system"], row["texts"]) for row in measured] == [
        ("sentence-transformers", len(chunks)),
        ("encoder", len(chunks)),
    ]


def _write_no_model(folder: Path, scratch: Path) -> None:
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_text("damaged")


@pytest.mark.parametrize("command", ["vector-storage", "token-storage", "token-search"])
def test_where_no_query_is_there_to_test_with_that_is_told(tmp_path, chunks, memos, command):
    home = ScoredHome(tmp_path, chunks, memos, lambda folder, scratch: None)
    home.build("evaluation_set", _write_no_queries, code_version="2")
    done = CliRunner().invoke(main, ["benchmark", command, NAME, "--data", str(home.place.data), "--home", str(home.place.home)])
    assert done.exit_code == 1 and done.output == f"Error: {NAME}: no query is there to test with: {REMEDY}\n"


def _write_no_queries(folder: Path, scratch: Path) -> None:
    for name, schema in (("queries", QUERY_SCHEMA), ("labels", LABEL_SCHEMA)):
        pl.DataFrame(schema=schema).write_parquet(folder / f"{name}.parquet")
