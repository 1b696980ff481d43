"""Fine-tuning the vectors of tokens, with a tiny model with random weights."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from embed_assets.evaluation.dev_set import DevSet
from embed_assets.models.encoders import load_sentence_transformer
from embed_assets.models.onnx import OnnxEncoder
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.token_encoder import TokenEncoder
from embed_assets.models.token_projection import PROJECTED, TOKENS, layers_for_tokens, load_projection
from embed_assets.retrieval.late_interaction import maxsim
from embed_assets.training.evaluator import ModelInTraining
from embed_assets.training.export import export_onnx
from embed_assets.training.false_negatives import KnownAnswers
from embed_assets.training.fine_tuning import fine_tune
from embed_assets.training.loss import contrastive_loss, embed_by_length
from embed_assets.training.settings import ExportSettings, TrainingSettings
from embed_assets.training.task import TrainingTask
from embed_assets.training.token_loss import compute_by_length, token_loss
from embed_assets_tests.tiny_models import write_model
from embed_assets_tests.training.test_fine_tuning import COMPUTE, HIDDEN, TRIPLETS, base, differences, settings, train  # noqa: F401

COLUMNS = ("anchor", "positive", "negative_1")


def batch(model) -> list[dict]:
    rows = TRIPLETS.head(6)
    return [dict(model.preprocess(rows[column].to_list())) for column in COLUMNS]


@pytest.fixture(scope="module")
def projected(base, tmp_path_factory) -> Path:  # noqa: F811
    folder = tmp_path_factory.mktemp("projected")
    train(folder, base, epochs=1.0, kind="both", token_dimensions=16)
    return folder


def test_the_loss_is_that_of_the_scores_of_retrieval(base):  # noqa: F811
    import torch

    model = load_sentence_transformer(base, "cpu").eval()
    encoder = TokenEncoder(base, compute=COMPUTE)
    rows = TRIPLETS.head(6)
    passages = [*rows["positive"], *rows["negative_1"]]
    scores = maxsim(encoder.encode_queries(rows["anchor"].to_list()), encoder.encode_passages(passages))
    expected = torch.nn.functional.cross_entropy(scores / 0.05, torch.arange(6)).item()
    labels = torch.arange(6)
    late = token_loss(model, settings(kind="late"), 0, 1)(batch(model), labels).item()
    assert late == pytest.approx(expected, abs=0.02)
    dense = contrastive_loss(model, settings(), 0, 1)(batch(model), labels).item()
    both = token_loss(model, settings(kind="both"), 0, 1)(batch(model), labels).item()
    assert both == pytest.approx(late + dense, abs=1e-4)


def test_tokens_are_trained_as_the_layers_behind_the_pooling_project_them(tmp_path):
    import torch

    name = str(write_model(tmp_path / "model", "gemma"))
    gemma = BaseModelSettings(name=name, max_tokens=40, query_prompt="", passage_prompt="")
    model, encoder = load_sentence_transformer(gemma, "cpu").eval(), TokenEncoder(gemma, compute=COMPUTE)
    assert layers_for_tokens(model)
    rows = TRIPLETS.head(6)
    scores = maxsim(
        encoder.encode_queries(rows["anchor"].to_list()), encoder.encode_passages([*rows["positive"], *rows["negative_1"]])
    )
    expected = torch.nn.functional.cross_entropy(scores / 0.05, torch.arange(6)).item()
    columns = [dict(model.preprocess(rows[column].to_list())) for column in COLUMNS]
    assert token_loss(model, settings(kind="late"), 0, 1)(columns, torch.arange(6)).item() == pytest.approx(expected, abs=0.02)


def test_what_answers_a_query_is_no_negative(base):  # noqa: F811
    import torch

    model = load_sentence_transformer(base, "cpu").eval()
    same = TRIPLETS.head(6).with_columns(positive=TRIPLETS["positive"].head(6).gather([0, 0, 2, 3, 4, 5]))
    columns = [dict(model.preprocess(same[column].to_list())) for column in COLUMNS]
    known, labels = KnownAnswers(same, 1), torch.arange(6)
    encoder = TokenEncoder(base, compute=COMPUTE)
    scores = maxsim(
        encoder.encode_queries(same["anchor"].to_list()), encoder.encode_passages([*same["positive"], *same["negative_1"]])
    )
    mask = torch.from_numpy(known.mask(np.arange(6), range(6)))
    assert mask[1, 0] and not mask[2, 0]
    expected = torch.nn.functional.cross_entropy((scores / 0.05).masked_fill(mask, -torch.inf), labels).item()
    assert token_loss(model, settings(kind="late"), 0, 1, known)(columns, labels).item() == pytest.approx(expected, abs=0.02)


@pytest.mark.long
def test_mini_batches_change_neither_loss_nor_gradients(base):  # noqa: F811
    import torch

    def gradients(tokens: int) -> tuple[float, "torch.Tensor"]:
        model = load_sentence_transformer(base, "cpu").eval()
        loss = token_loss(model, settings(kind="both"), tokens, 1)(batch(model), torch.arange(6))
        loss.backward()
        return loss.item(), torch.cat([it.grad.flatten() for it in model.parameters() if it.grad is not None])

    (whole, expected), (parts, found) = gradients(0), gradients(70)
    assert parts == pytest.approx(whole, abs=1e-5)
    assert found.numpy() == pytest.approx(expected.numpy(), abs=1e-5)


def test_parts_hold_no_more_tokens_than_asked_for(base):  # noqa: F811
    model, seen = load_sentence_transformer(base, "cpu").eval(), []
    columns = batch(model)
    whole = compute_by_length(model, columns)
    hook = model.register_forward_pre_hook(lambda module, given: seen.append(given[0]["input_ids"].numel()))
    parts = compute_by_length(model, columns, tokens=70)
    hook.remove()
    assert len(seen) > 3 and max(seen) <= 70
    for one, other in zip(whole, parts, strict=True):
        mask = one["attention_mask"].bool()
        assert other[TOKENS][mask].detach().numpy() == pytest.approx(one[TOKENS][mask].detach().numpy(), abs=1e-5)


@pytest.mark.parametrize("compute", [compute_by_length, embed_by_length])
def test_processes_make_as_many_forward_passes_as_the_one_with_the_fewest(base, compute, monkeypatch):  # noqa: F811
    """The layers of a divided model are put together by all processes at once."""
    model, seen = load_sentence_transformer(base, "cpu").eval(), []
    monkeypatch.setattr("embed_assets.training.loss.parts_that_pay", lambda *of_this_process: 5)
    monkeypatch.setattr("embed_assets.training.loss.least_of_all", lambda number, device: min(number, 2))
    model.register_forward_pre_hook(lambda module, given: seen.append(given))
    compute(model, batch(model))
    assert len(seen) == 2


@pytest.mark.parametrize("kind", ["late", "both"])
def test_training_of_tokens_learns_and_leaves_an_ordinary_folder(base, tmp_path, kind):  # noqa: F811
    curve = train(tmp_path, base, epochs=2.0, kind=kind)
    assert curve["loss"].drop_nulls()[-1] < curve["loss"][0] - 0.5
    card = (tmp_path / "model" / "README.md").read_text()
    assert "modules=[model[0], MultiVectorMask()]" in card and "Dense" not in card.split("## Late interaction")[1]


def test_a_projection_keeps_the_products_of_tokens_before_it_is_trained_and_lies_beside_the_model(base, projected):  # noqa: F811
    folder = projected / "model"
    assert load_projection(folder).linear.weight.shape == (16, HIDDEN)
    assert "Dense" not in (folder / "modules.json").read_text()
    tokens = TokenEncoder(base, str(folder), COMPUTE).encode_passages(["part 3 is made of oak"])[0]
    assert tokens.shape[1] == 16
    assert tokens.float().norm(dim=1).numpy() == pytest.approx(1, abs=1e-3)


def test_merged_by_nothing_the_projection_is_that_of_the_start(base, projected, tmp_path):  # noqa: F811
    import torch

    train(tmp_path, base, epochs=1.0, kind="both", token_dimensions=16, merge=0)
    before, after = (load_projection(folder / "model").linear.weight for folder in (tmp_path, projected))
    rows = (before @ before.T).detach().numpy()
    assert rows == pytest.approx(np.eye(16), abs=1e-4), "principal components"
    assert not torch.allclose(before, after, atol=1e-3), "it was trained"


def test_the_card_says_how_to_load_the_tokens(base, projected):  # noqa: F811
    code = (projected / "model" / "README.md").read_text().split("## Late interaction")[1].split("```")[1]
    names: dict = {}
    exec(code.removeprefix("python").replace("FOLDER", str(projected / "model")), names)
    encoder = TokenEncoder(base, str(projected / "model"), COMPUTE)
    expected = maxsim(encoder.encode_queries(["a query"]), encoder.encode_passages(["a passage"]))
    assert names["scores"].numpy() == pytest.approx(expected.numpy(), abs=2e-3)


def test_exported_tokens_are_those_of_torch(base, projected, tmp_path):  # noqa: F811
    export_onnx(projected / "model", tmp_path, base, ExportSettings(int8=False))
    exported = OnnxEncoder(tmp_path)
    assert exported.tokens == "token_vectors"
    (expected,) = TokenEncoder(base, str(projected / "model"), COMPUTE).encode_queries(["part 3 is made of oak"])
    assert exported.encode_query_tokens("part 3 is made of oak") == pytest.approx(expected.float().numpy(), abs=2e-3)


def test_a_training_of_tokens_is_judged_by_them(base, tmp_path):  # noqa: F811
    encoder, passages = TokenEncoder(base, compute=COMPUTE), TRIPLETS["positive"].to_list()
    queries = {f"q{row}": query for row, query in enumerate(TRIPLETS["anchor"])}
    best = maxsim(encoder.encode_queries([*queries.values()]), encoder.encode_passages(passages)).argmax(dim=1).tolist()
    relevant = {name: {str(row): 1} for name, row in zip(queries, best, strict=True)}
    dev = DevSet("human", queries, relevant, pl.DataFrame({"unit": map(str, range(40)), "passage": passages}), [*queries])
    model = ModelInTraining(load_sentence_transformer(base, "cpu"), base, COMPUTE)
    dense, late, both = (model.dev_ndcg(dev, kind) for kind in ("dense", "late", "both"))
    assert late == pytest.approx(1, abs=0.02) and dense.mean() < 0.9
    assert both == pytest.approx((dense + late) / 2)
    folders = (tmp_path / "model", tmp_path / "scratch")
    tuned = fine_tune(TrainingTask(TRIPLETS, *folders, base, settings(kind="late", merge="auto", epochs=3.0), COMPUTE, dev=dev))
    assert tuned.merges["dev_ndcg@10"][0] == pytest.approx(late.mean(), abs=0.01), "the base model, by its tokens"


def test_settings_that_do_not_fit_are_told_of(base, tmp_path):  # noqa: F811
    with pytest.raises(ValueError, match="token_dimensions needs kind: late or both"):
        TrainingSettings(token_dimensions=16)
    with pytest.raises(ValueError, match="matryoshka_dimensions are of the one vector"):
        TrainingSettings(kind="late", matryoshka_dimensions=(16,))
    with pytest.raises(ValueError, match=f"token_dimensions is {HIDDEN}, but the tokens of the base model have {HIDDEN}"):
        train(tmp_path, base, kind="late", token_dimensions=HIDDEN)
    assert PROJECTED != TOKENS
