"""The whole chain on a few documents, with the real models, as a user runs it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from embed_assets.artifacts.store import Artifact, ArtifactStore
from embed_assets.graph import DEFAULT_STAGES
from embed_assets.models.locations import locate_model
from embed_assets.models.settings import BaseModelSettings
from embed_assets.queries.pairs import TEXT_WRITER

SAMPLE = Path(__file__).parents[2] / "data" / "collections" / "switch-os"
COLLECTION = "switch-cli"
SETTINGS = {
    "questions": {"max_questions": 12, "max_lookups": 160},
    "negatives": {"per_query": 1},
    "training": {"batch_size": 16, "max_examples": 96, "checkpoints": 3},
    "scoring": {"resamples": 200},
    "export": {"parity_chunks": 16},
}


def embed_assets(folder: Path, *arguments: str) -> subprocess.Popen:
    command = [
        sys.executable,
        "-m",
        "embed_assets.cli",
        *arguments,
        "--data",
        str(folder / "data"),
        "--home",
        str(folder / "home"),
    ]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "200"}
    )


def finish(process: subprocess.Popen) -> tuple[str, str]:
    out, log = process.communicate(timeout=1500)
    assert process.returncode == 0, log
    return out, log


def write_data(folder: Path) -> None:
    collection = folder / "data" / "collections" / COLLECTION
    shutil.copytree(SAMPLE / "documents" / "cli", collection / "documents" / "cli")
    shutil.copytree(SAMPLE / "qrels", collection / "qrels")
    shutil.copy(SAMPLE / "queries.jsonl", collection)
    (folder / "data" / "settings.yaml").write_text(json.dumps(SETTINGS))


def artifacts(folder: Path) -> dict[str, Artifact]:
    store = ArtifactStore(folder / "home" / "artifacts")
    return {stage: store.current(stage, COLLECTION) for stage in DEFAULT_STAGES}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which everything was run once, and what was printed."""
    folder = tmp_path_factory.mktemp("chain")
    write_data(folder)
    return folder, finish(embed_assets(folder, "run"))[0]


def test_the_table_is_printed(finished: tuple[Path, str]):
    _, printed = finished
    for system in ("base", "tuned", "bm25", "hybrid", "late"):
        assert f"\n| {system} | 0." in printed
    assert "tuned against base: " in printed
    assert "late against hybrid: " in printed and "\n- late: the first 100 chunks of hybrid, re-ordered: " in printed


def test_scores_as_json(finished: tuple[Path, str]):
    folder, _ = finished
    lines = [json.loads(line) for line in finish(embed_assets(folder, "scores", COLLECTION, "--json"))[0].splitlines()]
    assert [line["labels"] for line in lines] == ["human", "synthetic", "look-up"]
    for line in lines:
        assert line["collection"] == COLLECTION
        assert line["queries"] > (0 if line["labels"] == "synthetic" else 5)
        assert all(0 <= value <= 1 for system in line["systems"].values() for value in system.values())
        assert {"ndcg@1", "ndcg@10", "recall@10", "recall@100", "map@10", "mrr@10"} <= line["systems"]["tuned"].keys()


def test_both_sources_of_questions_contribute(finished: tuple[Path, str]):
    folder, _ = finished
    pairs = pl.read_parquet(artifacts(folder)["qa_pairs"].report / "all_pairs.parquet")
    written = pairs.filter(pl.col("writer") != TEXT_WRITER)
    assert dict(written.group_by("style").len().iter_rows()) == {"question": 6, "how_to": 4, "identifier_question": 2}
    kept = pairs.filter(pl.col("dropped").is_null())
    assert {"identifier", "keyword", "sentence", "title"} <= set(kept["style"])
    assert len(kept.filter(pl.col("writer") != TEXT_WRITER)) > 0


def test_checkpoint_is_a_sentence_transformers_folder_that_learned(finished: tuple[Path, str]):
    from sentence_transformers import SentenceTransformer

    folder, _ = finished
    tuned = SentenceTransformer(str(artifacts(folder)["checkpoint"].folder / "model"), device="cpu")
    base = SentenceTransformer(str(locate_model(BaseModelSettings().name)), device="cpu")
    text = ["show lacp neighbor"]
    cosine = float(np.sum(tuned.encode(text, normalize_embeddings=True) * base.encode(text, normalize_embeddings=True)))
    assert 0.5 < cosine < 0.99999
    assert (artifacts(folder)["checkpoint"].folder / "model" / "README.md").is_file()
    assert not list(artifacts(folder)["checkpoint"].folder.rglob("*.bin"))


def test_onnx_agrees_with_torch(finished: tuple[Path, str]):
    folder, _ = finished
    summary = artifacts(folder)["onnx_model"].summary
    assert summary["model_min_cosine"] >= 0.9999
    assert summary["model_int8_min_cosine"] >= 0.95


@pytest.mark.slow
def test_speed_is_measured_against_bare_vllm(finished: tuple[Path, str]):
    folder, _ = finished
    printed, _ = finish(embed_assets(folder, "benchmark", "questions", COLLECTION, "--count", "6"))
    rows = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in printed.splitlines() if line.startswith("|")}
    assert float(rows["bare vLLM"][-1]) == 1
    assert float(rows["writer"][0]) > 0 and float(rows["writer"][-1]) > 0


@pytest.mark.slow
def test_training_is_measured_against_the_trainer_underneath(finished: tuple[Path, str]):
    folder, _ = finished
    printed, _ = finish(embed_assets(folder, "benchmark", "training", COLLECTION, "--examples", "32"))
    rows = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in printed.splitlines() if line.startswith("|")}
    assert float(rows["sentence-transformers"][-1]) == 1
    assert rows["fine_tune"][0].strip() == "32" and float(rows["fine_tune"][-1]) > 0


def test_a_second_run_reuses_everything(finished: tuple[Path, str]):
    folder, _ = finished
    before = {stage: artifact.manifest for stage, artifact in artifacts(folder).items()}
    _, log = finish(embed_assets(folder, "run"))
    assert {stage: artifact.manifest for stage, artifact in artifacts(folder).items()} == before
    assert "starting vLLM" not in log
    assert "encoding" not in log


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["starting vLLM", "of 6: loss"])
def test_killed_run_goes_on_with_the_same_result(finished: tuple[Path, str], tmp_path: Path, moment: str):
    folder, _ = finished
    write_data(tmp_path)
    shutil.copytree(folder / "home" / "memos" / "models", tmp_path / "home" / "memos" / "models")
    process = embed_assets(tmp_path, "run", "--until", "checkpoint")
    for line in process.stderr:
        if moment in line:
            process.send_signal(signal.SIGKILL)
            break
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    finish(embed_assets(tmp_path, "run", "--until", "checkpoint"))
    expected = artifacts(folder)
    store = ArtifactStore(tmp_path / "home" / "artifacts")
    for stage in ("corpus_chunks", "qa_pairs", "evaluation_set", "triplets", "checkpoint"):
        assert store.current(stage, COLLECTION).digest == expected[stage].digest, stage


def test_failing_collection_does_not_stop_the_others(tmp_path: Path):
    write_data(tmp_path)
    (tmp_path / "data" / "collections" / "broken" / "documents").mkdir(parents=True)
    (tmp_path / "data" / "collections" / "broken" / "documents" / "empty.md").touch()
    process = embed_assets(tmp_path, "run", "--until", "corpus_chunks")
    _, log = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "no usable document (empty.md: empty file)" in log
    assert f"{COLLECTION}: done" in log


def test_beir_folder_that_data_points_at(tmp_path: Path):
    corpus = [
        {"_id": f"d{i}", "title": f"Part {i}", "text": f"Part {i} of the machine is made of steel number {i}."} for i in range(5)
    ]
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "corpus.jsonl").write_text("\n".join(map(json.dumps, corpus)))
    command = [sys.executable, "-m", "embed_assets.cli", "run", "--data", tmp_path / "parts", "--home", tmp_path / "home"]
    done = subprocess.run([*command, "--until", "corpus_chunks"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert ArtifactStore(tmp_path / "home" / "artifacts").current("corpus_chunks", "parts").summary["documents"] == 5
