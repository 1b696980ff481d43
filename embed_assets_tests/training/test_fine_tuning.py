"""Fine-tuning a tiny model with random weights, which takes seconds."""

import json
import logging
import math
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from embed_assets.artifacts.remote_folder import RemoteFolder, share
from embed_assets.benchmarks.training import benchmark_training
from embed_assets.models.encoders import load_sentence_transformer
from embed_assets.models.hardware import Compute
from embed_assets.models.locations import locate_model
from embed_assets.models.settings import BaseModelSettings
from embed_assets.reports.training import write_training
from embed_assets.training import one_process, states
from embed_assets.training.examples import draw_examples
from embed_assets.training.false_negatives import KnownAnswers
from embed_assets.training.fine_tuning import fine_tune
from embed_assets.training.log import TrainingDivergedError, divergence
from embed_assets.training.loss import PARTS, contrastive_loss, embed_by_length, parts_that_pay
from embed_assets.training.processes import TrainingProcessError
from embed_assets.training.settings import TrainingSettings
from embed_assets.training.task import TrainingTask

HIDDEN = 64
COMPUTE = Compute(device="cpu", dtype="float32", loggers=())
MATERIALS = ("steel", "brass", "oak", "glass", "felt", "slate", "wool", "clay")
TEXTS = ["PX-7", "The pump of PX-7 is made of brass and has a long warranty of nine years.", "Oak is wood."]


def make_triplets(count: int, dev: int = 8) -> pl.DataFrame:
    """Queries for a part, whose passage names it; the last ``dev`` of them are the dev split."""
    rows = []
    for number in range(count):
        material = MATERIALS[number % len(MATERIALS)]
        passages = [
            f"Part {number + shift} is made of {material} and lies on shelf {number * 7 + shift}. "
            + "It is heavy. " * (number % 4)
            for shift in (0, 1000, 2000)
        ]
        rows.append({"anchor": f"part {number}", "split": "dev" if number >= count - dev else "train"} | _columns(passages))
    return pl.DataFrame(rows)


def _columns(passages: list[str]) -> dict[str, str]:
    return {"positive": passages[0], "negative_1": passages[1], "negative_2": passages[2]}


TRIPLETS = make_triplets(40)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModelSettings:
    """A model of another size than the default one: 64 dimensions, 2 layers, random weights."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import AutoTokenizer, BertConfig, BertModel

    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = AutoTokenizer.from_pretrained(str(locate_model(BaseModelSettings().name)))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=HIDDEN, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128
    )
    BertModel(config).save_pretrained(folder / "bert")
    tokenizer.save_pretrained(folder / "bert")
    transformer = Transformer(str(folder / "bert"))
    SentenceTransformer(modules=[transformer, Pooling(HIDDEN)]).save_pretrained(str(folder / "model"))
    return BaseModelSettings(name=str(folder / "model"), max_tokens=32)


def settings(**changes) -> TrainingSettings:
    return TrainingSettings(**{"batch_size": 8, "learning_rate": 2e-3, "checkpoints": 4, "merge": 1} | changes)


def train(folder: Path, base: BaseModelSettings, triplets: pl.DataFrame = TRIPLETS, compute: Compute = COMPUTE, **changes):
    return fine_tune(TrainingTask(triplets, folder / "model", folder / "scratch", base, settings(**changes), compute)).curve


def weights(folder: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(folder / "model" / "model.safetensors")


def differences(one: Path, other: Path) -> float:
    """The largest difference of any two weights."""
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    return max(float(np.abs(first[name] - second[name]).max()) for name in first)


def vectors(folder: Path | str) -> np.ndarray:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu").encode(TEXTS, normalize_embeddings=True)


def test_the_learning_rate_rises_for_its_share_of_all_steps(base, tmp_path):
    curve = train(tmp_path, base, batch_size=31, epochs=3.0, warmup_share=0.5).drop_nulls("learning_rate")
    assert curve["step"].to_list() == [1, 2, 3, 4, 5, 6]  # of 32 examples, the second batch of an epoch has one
    assert curve["learning_rate"].arg_max() == 3


def test_a_model_of_another_size_learns_and_is_an_ordinary_folder_afterwards(base, tmp_path):
    curve = train(tmp_path, base, epochs=3.0)
    assert curve["loss"].drop_nulls()[-1] < curve["loss"][0]
    assert curve["dev_loss"].drop_nulls().len() == 3
    assert vectors(tmp_path / "model").shape == (len(TEXTS), HIDDEN)
    assert not np.allclose(vectors(tmp_path / "model"), vectors(base.name), atol=1e-3)
    assert not list((tmp_path / "model").rglob("*.bin"))


def test_prompts_of_the_base_model_are_trained_with(base, tmp_path):
    train(tmp_path / "without", base)
    train(tmp_path / "with", base.model_copy(update={"query_prompt": "query: ", "passage_prompt": "passage: "}))
    assert differences(tmp_path / "without", tmp_path / "with") > 1e-4
    saved = json.loads((tmp_path / "with" / "model" / "config_sentence_transformers.json").read_text())
    assert saved["prompts"] == {"query": "query: ", "document": "passage: "}


def test_the_first_of_the_mined_negatives_are_trained_on():
    many = TRIPLETS.with_columns(pl.lit(f"negative {number}").alias(f"negative_{number}") for number in range(3, 12))
    assert draw_examples(many, settings()).train.columns[-2:] == ["negative_10", "negative_11"]
    examples = draw_examples(many, settings(hard_negatives=2))
    assert examples.train.columns == examples.dev.columns == ["anchor", "positive", "negative_1", "negative_2"]
    assert draw_examples(many, settings(hard_negatives=0)).train.columns == ["anchor", "positive"]


def test_a_smaller_share_of_the_data_is_part_of_a_larger_one_and_dev_stays():
    parts = {share: draw_examples(TRIPLETS, settings(data_share=share)) for share in (0.25, 0.5, 1.0)}
    anchors = {share: set(part.train["anchor"]) for share, part in parts.items()}
    assert [len(part) for part in anchors.values()] == [8, 16, 32]
    assert anchors[0.25] < anchors[0.5] < anchors[1.0]
    assert all(part.dev.equals(parts[1.0].dev) for part in parts.values())
    assert set(draw_examples(TRIPLETS, settings(data_share=0.25, seed=14)).train["anchor"]) != anchors[0.25]


@pytest.mark.parametrize(
    ("changes", "triplets", "words"),
    [
        ({"hard_negatives": 3}, TRIPLETS, "hard_negatives is 3, but 2 were mined for each query: raise negatives.per_query"),
        ({"early_stopping": 1}, make_triplets(20, dev=0), "early_stopping needs dev triplets, and there are 0: raise"),
        ({}, make_triplets(9), "1 triplets are too few"),
    ],
)
def test_data_that_does_not_do_is_refused_with_advice(changes, triplets, words):
    with pytest.raises(ValueError, match=words):
        draw_examples(triplets, settings(**changes))


def test_texts_are_embedded_the_same_by_length_as_column_by_column(base):
    import torch

    model = load_sentence_transformer(base, "cpu").eval()
    columns = [model.preprocess(TRIPLETS[name][:7].to_list()) for name in ("anchor", "positive", "negative_1")]
    widths = []
    model.register_forward_pre_hook(lambda _, inputs: widths.append(inputs[0]["input_ids"].shape))
    with torch.no_grad():
        by_length = embed_by_length(model, columns, parts=4)
        tokens = sum(rows * width for rows, width in widths)
        by_column = [model(dict(column))["sentence_embedding"] for column in columns]
    assert tokens < sum(column["input_ids"].numel() for column in columns)
    for one, other in zip(by_length, by_column, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(
    ("device", "width", "tokens", "parts"),
    [
        ("cpu", 384, 1000, PARTS),
        ("cuda", 384, 10_000, 1),  # MiniLM with 96 texts: launching its kernels takes longer than computing them
        ("cuda", 384, 1_000_000, PARTS),
        ("cuda", 2048, 10_000, 2),
    ],
)
def test_a_batch_is_divided_where_that_pays(device, width, tokens, parts):
    class Configured:
        config = type("", (), {"hidden_size": width})

    model = type("", (), {"transformers_model": Configured})
    assert parts_that_pay(model, device, tokens) == parts


def info_nce(columns: list[np.ndarray], dimensions: int, temperature: float = 0.05, without=()) -> float:
    """Mean of -log softmax of the own passage among all positives and negatives, by cosines of the first dimensions.

    Pairs of a query and a passage in ``without`` do not count.
    """
    queries, *passages = (column[:, :dimensions] / np.linalg.norm(column[:, :dimensions], axis=1)[:, None] for column in columns)
    scores = queries @ np.concatenate(passages).T / temperature
    for pair in without:
        scores[pair] = -np.inf
    return float(np.mean(np.log(np.exp(scores).sum(axis=1)) - scores.diagonal()))


@pytest.mark.parametrize("mini_batch_tokens", [0, 40])
@pytest.mark.parametrize(("chosen", "trained"), [((), (64,)), ((16, 8), (64, 16, 8)), ((64, 8), (64, 8))])
def test_the_loss_is_info_nce_of_the_vector_and_of_its_first_dimensions(base, mini_batch_tokens, chosen, trained):
    model = load_sentence_transformer(base, "cpu").eval()
    texts = [TRIPLETS[name][:7].to_list() for name in ("anchor", "positive", "negative_1")]
    loss = contrastive_loss(model, settings(matryoshka_dimensions=chosen), mini_batch_tokens, processes=1)
    found = float(loss([model.preprocess(column) for column in texts], None).detach())
    columns = [model.encode(column) for column in texts]
    assert found == pytest.approx(sum(info_nce(columns, dimensions) for dimensions in trained), abs=1e-4)


@pytest.mark.parametrize("mini_batch_tokens", [0, 40])
@pytest.mark.parametrize("chosen", [(), (16,)])
def test_what_is_known_to_be_no_negative_is_not_in_the_loss(base, mini_batch_tokens, chosen):
    """The second and the third query are about the same document: none of its passages counts for the other query."""
    import torch

    triplets = TRIPLETS[:5].with_columns(
        positive_document=pl.Series(["a", "b", "b", "c", "d"]), negative_documents=pl.Series([[name] for name in "vwxyz"])
    )
    names = pl.concat_str(pl.lit("chunk "), pl.int_range(pl.len()))
    triplets = triplets.with_columns(positive_chunk=names, negative_chunks=pl.concat_list(names + " negative"))
    model = load_sentence_transformer(base, "cpu").eval()
    columns = [triplets[name].to_list() for name in ("anchor", "positive", "negative_1")]
    features = [model.preprocess(column) for column in columns]
    known = KnownAnswers(triplets, hard_negatives=1)
    loss = contrastive_loss(model, settings(matryoshka_dimensions=chosen), mini_batch_tokens, processes=1, known=known)
    found = float(loss(features, torch.arange(5)).detach())
    vectors = [model.encode(column) for column in columns]
    expected = sum(info_nce(vectors, dimensions, without=[(1, 2), (2, 1)]) for dimensions in (64, *chosen))
    assert found == pytest.approx(expected, abs=1e-4)
    assert abs(found - sum(info_nce(vectors, dimensions) for dimensions in (64, *chosen))) > 1e-3


@pytest.mark.parametrize("kind", ["dense", "both"])
def test_a_dimension_that_the_model_does_not_have_is_refused(base, tmp_path, kind):
    with pytest.raises(ValueError, match="matryoshka_dimensions: 65 is more than the 64 dimensions of the base model"):
        train(tmp_path, base, matryoshka_dimensions=(65,), kind=kind)


def test_adapters_are_merged_into_an_ordinary_folder(base, tmp_path):
    from safetensors.numpy import load_file

    train(tmp_path, base, lora_rank=4, epochs=2.0)
    before, after = load_file(Path(base.name) / "model.safetensors"), weights(tmp_path)
    assert before.keys() == after.keys()
    assert not list(tmp_path.glob("model/**/adapter*"))
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert "encoder.layer.0.attention.self.query.weight" in changed
    assert not [name for name in changed if "embeddings" in name or "LayerNorm" in name]
    update = after["encoder.layer.0.attention.self.query.weight"] - before["encoder.layer.0.attention.self.query.weight"]
    assert np.linalg.matrix_rank(update, tol=1e-5) <= 4
    assert np.abs(vectors(tmp_path / "model") - vectors(base.name)).max() > 1e-3


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_a_merged_model_lies_between_the_base_model_and_the_fine_tuned_one(base, tmp_path, lora_rank):
    from safetensors.numpy import load_file

    train(tmp_path / "tuned", base, lora_rank=lora_rank)
    train(tmp_path / "merged", base, lora_rank=lora_rank, merge=0.25)
    before = load_file(Path(base.name) / "model.safetensors")
    tuned, merged = weights(tmp_path / "tuned"), weights(tmp_path / "merged")
    name = "encoder.layer.0.attention.self.query.weight"
    assert np.abs(tuned[name] - before[name]).max() > 1e-3
    for name, weight in merged.items():
        assert np.allclose(weight, 0.25 * tuned[name] + 0.75 * before[name], atol=1e-6)


@pytest.mark.long
def test_gradient_checkpointing_changes_nothing_but_memory(base, tmp_path):
    train(tmp_path / "plain", base)
    train(tmp_path / "checkpointing", base, gradient_checkpointing=True)
    assert differences(tmp_path / "plain", tmp_path / "checkpointing") < 1e-5


# Dev triplets that contradict the training: the better the one is learnt, the larger the dev loss.
CONTRADICTING = TRIPLETS.with_columns(
    positive=pl.when(pl.col("split") == "dev").then("negative_1").otherwise("positive"),
    negative_1=pl.when(pl.col("split") == "dev").then("positive").otherwise("negative_1"),
)


def test_training_stops_early_and_the_best_model_is_kept(base, tmp_path):
    curve = train(tmp_path, base, CONTRADICTING, epochs=20.0, early_stopping=3, learning_rate=5e-3)
    dev = curve.drop_nulls("dev_loss")
    assert dev["step"].to_list()[:4] == [1, 2, 3, 4]  # four steps in an epoch
    best = dev["dev_loss"].arg_min()
    assert best == len(dev) - 1 - 3
    assert len(dev) < 80
    state = tmp_path / "scratch" / "trainer" / f"checkpoint-{dev['step'][best]}"
    from safetensors.numpy import load_file

    kept = load_file(state / "model.safetensors")
    assert all(np.array_equal(kept[name], value) for name, value in weights(tmp_path).items())
    (tmp_path / "report").mkdir()
    write_training(tmp_path, curve, best_kept=True)
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert (summary["kept_step"], summary["steps"]) == (dev["step"][best], dev["step"][-1])


class InterruptedTrainingError(Exception):
    pass


def interrupt(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let the next trainings fail in the middle of a step."""
    from transformers import TrainerCallback

    class Interrupt(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            if state.global_step == step:
                raise InterruptedTrainingError

    monkeypatch.setattr(one_process, "log_callback", lambda *_: Interrupt())


@pytest.mark.long
@pytest.mark.parametrize(
    "changes",
    [
        {"dropout": 0.1},
        {"matryoshka_dimensions": (16,)},
        {"early_stopping": 2, "epochs": 6.0, "lora_rank": 4},
    ],
    ids=str,
)
def test_a_training_that_was_interrupted_ends_as_an_undisturbed_one(base, tmp_path, monkeypatch, caplog, changes):
    monkeypatch.setattr(states, "BYTES_PER_SECOND", math.inf)
    changes = {"epochs": 3.0} | changes
    expected = train(tmp_path / "undisturbed", base, CONTRADICTING, **changes)
    with monkeypatch.context() as patch, pytest.raises(InterruptedTrainingError):
        interrupt(patch, expected["step"].max() - 1)
        train(tmp_path / "interrupted", base, CONTRADICTING, **changes)
    assert not (tmp_path / "interrupted" / "model").exists()
    with caplog.at_level(logging.INFO, logger="embed_assets"):
        curve = train(tmp_path / "interrupted", base, CONTRADICTING, **changes)
    assert "from checkpoint-" in caplog.text
    assert differences(tmp_path / "undisturbed", tmp_path / "interrupted") == 0
    assert curve.equals(expected)
    cards = [(tmp_path / name / "model" / "README.md").read_text() for name in ("undisturbed", "interrupted")]
    assert cards[0] == cards[1]


@pytest.mark.long
def test_a_state_that_takes_longer_to_write_than_it_is_worth_is_passed_over(base, tmp_path, monkeypatch):
    monkeypatch.setattr(states, "BYTES_PER_SECOND", 1.0)
    train(tmp_path, base, CONTRADICTING, epochs=3.0)
    assert not list((tmp_path / "scratch" / "trainer").glob("checkpoint-*"))


@pytest.mark.long
@pytest.mark.parametrize("lora_rank", [0, 4])
def test_a_state_is_as_large_as_it_is_said_to_be(base, tmp_path, monkeypatch, lora_rank):
    """Of a model with adapters, only these are saved."""
    monkeypatch.setattr(states, "BYTES_PER_SECOND", math.inf)
    train(tmp_path, base, lora_rank=lora_rank)
    (state, *_) = (tmp_path / "scratch" / "trainer").glob("checkpoint-*")
    taken = sum(path.stat().st_size for path in [*state.glob("*.safetensors"), state / "optimizer.pt"])
    said = states.bytes_of_state(one_process._load(base, settings(lora_rank=lora_rank), "cpu"))
    assert taken / 2 < said < 1.1 * taken


@pytest.mark.long
def test_another_machine_goes_on_with_a_training_that_was_interrupted(base, tmp_path, remote_address, monkeypatch, caplog):
    """Its best state, which early stopping goes back to, is on the other machine as well."""
    changes = {"early_stopping": 2, "epochs": 6.0}
    expected = train(tmp_path / "undisturbed", base, CONTRADICTING, **changes)
    for machine in ("one", "two"):
        share(tmp_path / machine / "scratch", f"{remote_address}/scratch")
    with monkeypatch.context() as patch, pytest.raises(InterruptedTrainingError):
        interrupt(patch, expected["step"].max() - 1)
        train(tmp_path / "one", base, CONTRADICTING, **changes)
    remote = RemoteFolder(f"{remote_address}/scratch")
    here = {path.name for path in (tmp_path / "one" / "scratch" / "trainer").glob("checkpoint-*")}
    (machine,) = remote.folders("trainer")
    assert len(here) == 2 and set(remote.folders(f"trainer/{machine}")) == here, "old states are not kept"
    # Of one that was killed while it was uploaded, nothing is taken.
    remote.write(f"trainer/{machine}/checkpoint-999/model.safetensors", b"half of it", None)
    shutil.rmtree(tmp_path / "one")
    with caplog.at_level(logging.INFO, logger="embed_assets"):
        curve = train(tmp_path / "two", base, CONTRADICTING, **changes)
    assert "from checkpoint-" in caplog.text and "does not exist anymore" not in caplog.text
    assert differences(tmp_path / "undisturbed", tmp_path / "two") == 0
    assert curve.equals(expected)


def test_a_loss_diverges_when_it_is_no_number_or_far_above_its_start():
    assert divergence([1.0, math.nan]) == "the loss is nan"
    assert divergence([math.inf]) == "the loss is inf"
    assert divergence([1.0, 0.9, 0.8, 2.9, 0.7, 0.7]) == ""  # a single spike
    assert divergence([0.9, 0.9, 0.9, 2.0, 2.0, 2.0]) == "the loss rose from 0.900 to 2.000"
    assert divergence([1.8, 1.8, 1.8, 4.0, 4.0, 4.0], terms=3) == ""
    assert divergence([0.9, 2.0, 3.0]) == ""  # too early to tell


def test_a_training_that_diverges_stops_with_advice(tmp_path):
    """The default base model knows something to forget."""
    advice = r"the loss rose from .* to .* at step \d+ of 40: lower training.learning_rate \(0.1\) or raise training.warmup_share"
    with pytest.raises(TrainingDivergedError, match=advice):
        train(tmp_path, BaseModelSettings(max_tokens=32), epochs=10.0, learning_rate=0.1)
    assert not (tmp_path / "model").exists()


@pytest.mark.long
def test_loggers_write_beside_the_model_and_change_nothing(base, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from embed_assets.artifacts.files import digest_of_files

    logs = tmp_path / "logs"
    done = fine_tune(
        TrainingTask(
            TRIPLETS, tmp_path / "a" / "model", tmp_path / "a", base, settings(), Compute(device="cpu", dtype="float32"), logs
        )
    )
    train(tmp_path / "b", base)
    digests = {name: digest_of_files(tmp_path / name / "model", files(tmp_path / name / "model")) for name in "ab"}
    assert digests["a"] == digests["b"]
    events = EventAccumulator(str(logs)).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == done.curve.drop_nulls("loss")["step"].to_list()


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_logger_that_is_not_there_is_named(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="logger 'tensorbord' is none of tensorboard, mlflow, wandb"):
        one_process.logger_callbacks(["tensorbord"], tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"logger 'mlflow' is not installed: pip install 'embed-assets\[loggers\]'"):
        one_process.logger_callbacks(["mlflow"], tmp_path)


def test_the_benchmark_trains_on_the_same_examples_twice(base):
    table = benchmark_training(TRIPLETS, base, settings(learning_rate=1e-5), examples=16, compute=COMPUTE)
    assert table["system"].to_list() == ["sentence-transformers", "fine_tune"]
    assert table["examples"].to_list() == [16, 16]
    # A query among 8 positives and 16 negatives, and a model that knows nothing: ln 24, or a little more with dropout.
    assert np.allclose(table["loss"], math.log(24), atol=0.5)
    assert table["ratio"][0] == 1 and table["ratio"][1] > 0


TWO = Compute(device="cpu", dtype="float32", processes=2)


@pytest.fixture
def one_thread_each(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [{}, {"mini_batch_tokens": 60, "matryoshka_dimensions": (16,), "lora_rank": 4}, {"towers": "query"}, {"kind": "both"}],
    ids=str,
)
def test_two_processes_train_the_model_of_one(base, tmp_path, one_thread_each, caplog, changes):
    """34 examples make batches of 8, 8, 8, 8 and 2."""
    triplets = make_triplets(42)
    expected = train(tmp_path / "one", base, triplets, **changes)
    with caplog.at_level(logging.INFO, logger="embed_assets"):
        curve = train(tmp_path / "two", base, triplets, TWO, **changes)
    assert "training on 34 examples" in caplog.text and "step 5 of 5: loss" in caplog.text
    assert curve["step"].to_list() == expected["step"].to_list()
    assert np.allclose(curve["loss"].drop_nulls(), expected["loss"].drop_nulls(), atol=1e-4)
    assert np.allclose(curve["dev_loss"].drop_nulls(), expected["dev_loss"].drop_nulls(), atol=1e-4)
    assert differences(tmp_path / "one", tmp_path / "two") < 1e-3


@pytest.mark.long
def test_the_error_of_a_process_is_the_error_of_the_training(base, tmp_path, one_thread_each):
    with pytest.raises(ValueError, match="batch_size is 9, of which each of 2 processes takes the same part"):
        train(tmp_path, base, compute=TWO, batch_size=9)
    with pytest.raises(ValueError, match="hard_negatives is 5, but 2 were mined"):
        train(tmp_path, base, compute=TWO, hard_negatives=5)
    with pytest.raises(TrainingProcessError, match=r"training process [01] failed:\nTraceback(.|\n)*nothing at /missing"):
        train(tmp_path, BaseModelSettings(name="/missing"), compute=TWO)
