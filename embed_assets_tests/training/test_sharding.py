"""Trainings whose weights are divided over their processes, on CPUs."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from embed_assets.evaluation.dev_set import DevSet
from embed_assets.models.encoders import Encoder, load_sentence_transformer
from embed_assets.models.hardware import Compute
from embed_assets.models.settings import BaseModelSettings
from embed_assets.training.fine_tuning import fine_tune
from embed_assets.training.settings import TrainingSettings
from embed_assets.training.sharding import layers_of
from embed_assets.training.task import Training, TrainingTask
from embed_assets.training.trainer import WEIGHTS
from embed_assets_tests.tiny_models import TEXTS, write_model

PLAIN = Compute("cpu", dtype="float32", loggers=())
SHARDED = replace(PLAIN, processes=2, sharded=True)
# 20 examples in batches of 8, 8 and 4, in each of two epochs.
TRIPLETS = pl.DataFrame(
    [
        {"anchor": f"part {n}", "positive": f"{TEXTS[n % 3]} Part {n}.", "negative_1": f"{TEXTS[(n + 1) % 3]} No {n}."}
        for n in range(24)
    ]
).with_columns(split=pl.Series(["train"] * 20 + ["dev"] * 4))


def base_model(folder: Path, architecture: str) -> BaseModelSettings:
    name = write_model(folder / architecture, architecture)
    return BaseModelSettings(name=str(name), max_tokens=40, query_prompt="query: ", passage_prompt="passage: ")


def fine_tuned(folder: Path, base: BaseModelSettings, compute: Compute, dev: DevSet | None = None, **changes) -> Training:
    settings = TrainingSettings(
        **{"batch_size": 8, "learning_rate": 5e-3, "epochs": 2.0, "checkpoints": 6, "merge": 1, "seed": 5} | changes
    )
    return fine_tune(TrainingTask(TRIPLETS, folder / "model", folder / "scratch", base, settings, compute, dev=dev))


def train(folder: Path, base: BaseModelSettings, compute: Compute, **changes) -> pl.DataFrame:
    return fine_tuned(folder, base, compute, **changes).curve


def weights(folder: Path | str) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(Path(folder) / "model.safetensors")


def difference(one: Path | str, other: Path | str) -> float:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    return max(float(np.abs(first[name] - second[name]).max()) for name in first)


@pytest.mark.parametrize("architecture", ["bert", "modernbert", "qwen3"])
def test_the_layers_of_a_transformer_are_found(tmp_path, architecture):
    model = load_sentence_transformer(base_model(tmp_path, architecture), "cpu")
    layers = list(layers_of(model[0]))
    assert len(layers) == 2 and len({type(layer) for layer in layers}) == 1
    assert "Layer" in type(layers[0]).__name__


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "changes"),
    [
        ("gemma", {}),
        ("qwen3", {"lora_rank": 4, "mini_batch_tokens": 60, "matryoshka_dimensions": (16,)}),
        ("modernbert", {"gradient_checkpointing": True, "merge": 0.5}),
        ("bert", {"towers": "query"}),
        ("bert", {"kind": "both", "token_dimensions": 16}),
    ],
    ids=str,
)
def test_divided_processes_train_the_model_of_one(tmp_path, monkeypatch, architecture, changes):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    base = base_model(tmp_path, architecture)
    expected = train(tmp_path / "plain", base, PLAIN, **changes)
    curve = train(tmp_path / "sharded", base, SHARDED, **changes)
    assert curve["step"].to_list() == expected["step"].to_list()
    assert np.allclose(curve["loss"].drop_nulls(), expected["loss"].drop_nulls(), atol=1e-4)
    assert np.allclose(curve["dev_loss"].drop_nulls(), expected["dev_loss"].drop_nulls(), atol=1e-4)
    plain, sharded = tmp_path / "plain" / "model", tmp_path / "sharded" / "model"
    assert difference(sharded, base.name) > 5e-3 > 1e-4 > difference(sharded, plain)
    # An ordinary folder.
    files = [sorted(str(path.relative_to(it)) for path in it.rglob("*")) for it in (plain, sharded)]
    assert files[0] == files[1]
    assert (plain / "config.json").read_text() == (sharded / "config.json").read_text()
    assert "## Training Details" in (sharded / "README.md").read_text()
    vectors = [Encoder(base, tmp_path, str(it), PLAIN).encode_passages(TEXTS) for it in (plain, sharded)]
    assert np.allclose(*vectors, atol=1e-4)


@pytest.mark.slow
def test_a_divided_model_is_judged_and_merged_as_another(tmp_path, monkeypatch):
    """All of its processes encode the dev queries, and the best state is loaded into all of them."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    base, numbers = base_model(tmp_path, "bert"), [str(number) for number in range(TRIPLETS.height)]
    passages = pl.DataFrame({"unit": numbers, "passage": TRIPLETS["positive"]})
    queries = dict(zip(numbers, TRIPLETS["anchor"], strict=True))
    dev = DevSet("human", queries, {number: {number: 1} for number in numbers}, passages, numbers)
    plain, sharded = (
        fine_tuned(tmp_path / name, base, compute, dev, merge="auto", early_stopping=2)
        for name, compute in (("plain", PLAIN), ("sharded", SHARDED))
    )
    assert plain.curve["step"].to_list() == sharded.curve["step"].to_list()
    judged = [done.curve["dev_ndcg@10"].drop_nulls().to_numpy() for done in (plain, sharded)]
    assert len(judged[0]) > 2 and np.allclose(*judged, atol=1e-6)
    assert np.allclose(plain.merges.to_numpy().astype(float), sharded.merges.to_numpy().astype(float), atol=1e-6)
    assert difference(tmp_path / "sharded" / "model", tmp_path / "plain" / "model") < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("lora_rank", [0, 4])
def test_a_divided_training_goes_on_divided_or_not(tmp_path, monkeypatch, caplog, lora_rank):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    caplog.set_level("INFO", logger="embed_assets")
    base = base_model(tmp_path, "bert")
    changes = {"lora_rank": lora_rank, "early_stopping": 50}  # with which all states are saved
    train(tmp_path / "plain", base, PLAIN, **changes)
    train(tmp_path / "sharded", base, SHARDED, **changes)
    for first, then in (("sharded", SHARDED), ("sharded", PLAIN), ("plain", SHARDED)):
        folder = tmp_path / f"{first} first, {then.processes} then"
        states = shutil.copytree(tmp_path / first / "scratch" / "trainer", folder / "scratch" / "trainer")
        last, before, *_ = sorted(states.glob("checkpoint-*"), reverse=True)
        shutil.rmtree(last)
        assert (before / WEIGHTS).is_file() == (first == "sharded")
        caplog.clear()
        train(folder, base, then, **changes)
        assert f"from {before.name}" in caplog.text
        assert difference(folder / "model", tmp_path / "plain" / "model") < 1e-4


def test_what_cannot_be_divided_is_refused(tmp_path):
    from embed_assets.cluster.ray_cluster import Cluster

    with pytest.raises(ValueError, match="sharded of the resource 'gpu' divides over the GPUs of one machine"):
        train(tmp_path, BaseModelSettings(), replace(SHARDED, cluster=Cluster(2, 0, 1)))
