"""Fine-tuning of the model of queries alone."""

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from embed_assets.models.encoders import Encoder
from embed_assets.models.hardware import Compute
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.two_towers import TwoTowers
from embed_assets.training.evaluator import ModelInTraining
from embed_assets.training.examples import draw_examples
from embed_assets.training.fine_tuning import fine_tune
from embed_assets.training.loss import contrastive_loss
from embed_assets.training.query_tower import FrozenPassages, query_loss
from embed_assets.training.settings import TrainingSettings
from embed_assets.training.task import TrainingTask
from embed_assets_tests.tiny_models import TEXTS, write_model

CPU = Compute("cpu", dtype="float32", loggers=())
ANCHORS = ["what pump", "which wood", "how greased", "what part", "when cold", "where is slate"]
TRIPLETS = pl.DataFrame(
    [
        {"anchor": anchor, "positive": f"{TEXTS[n % 3]} Part {n}.", "negative_1": f"{TEXTS[(n + 1) % 3]} No {n}."}
        for n, anchor in enumerate(ANCHORS)
    ]
).with_columns(split=pl.lit("train"))
SETTINGS = TrainingSettings(towers="query", batch_size=6, learning_rate=5e-3, warmup_share=0.0, epochs=8.0, merge=1.0)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModelSettings:
    folder = write_model(tmp_path_factory.mktemp("model") / "bert", "bert")
    return BaseModelSettings(name=str(folder), max_tokens=40, query_prompt="query: ", passage_prompt="passage: ")


def margin(encoder) -> float:
    """How much nearer anchors are to their positives than to other passages, as a mean of cosines."""
    passages = [*TRIPLETS["positive"], *TRIPLETS["negative_1"]]
    cosines = encoder.encode_queries(ANCHORS) @ encoder.encode_passages(passages).T
    return float(np.diag(cosines).mean() - cosines.mean())


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_queries_learn_to_find_passages_that_stay_where_they_are(base, tmp_path, lora_rank):
    settings = SETTINGS.model_copy(update={"lora_rank": lora_rank, "learning_rate": 2e-2 if lora_rank else 5e-3})
    training = fine_tune(TrainingTask(TRIPLETS, tmp_path / "tuned", tmp_path / "scratch", base, settings, CPU))
    before = Encoder(base, tmp_path, compute=CPU)
    after = TwoTowers(Encoder(base, tmp_path, str(tmp_path / "tuned"), CPU), before)
    assert np.array_equal(after.encode_passages(TEXTS), before.encode_passages(TEXTS))
    assert margin(after) > margin(before) + 0.02
    assert training.curve["loss"].drop_nulls()[-1] < training.curve["loss"][0]
    card = (tmp_path / "tuned" / "README.md").read_text()
    assert "fine-tuned for queries. Passages are encoded by the model that it started from" in card and base.name in card


@pytest.mark.parametrize("dimensions", [(), (8, 16)])
def test_the_loss_is_that_of_both_towers_as_long_as_nothing_has_changed(base, dimensions):
    import torch
    from sentence_transformers import SentenceTransformer

    settings = SETTINGS.model_copy(update={"matryoshka_dimensions": dimensions})
    model = SentenceTransformer(base.name, device="cpu").eval()
    # Two anchors have the same positive, so that there is something to mask.
    triplets = TRIPLETS.with_columns(positive=pl.Series([TEXTS[0], TEXTS[0], *TRIPLETS["positive"][2:]]))
    examples = draw_examples(triplets, settings)
    frozen = FrozenPassages(ModelInTraining(model, base, CPU), examples, None)
    labels = torch.arange(6)

    def features(column: str, prompt: str | None) -> dict:
        return dict(model.preprocess([f"{prompt}{text}" for text in examples.train[column]]))

    queries = features("anchor", base.query_prompt)
    both = [queries, *(features(name, base.passage_prompt) for name in ("positive", "negative_1"))]
    with torch.no_grad():
        expected = contrastive_loss(model, settings, 0, 1, examples.known)(both, labels)
        found = query_loss(model, settings, frozen, 1, examples.known)([dict(queries)], labels)
        unmasked = query_loss(model, settings, frozen, 1)([dict(queries)], labels)
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)
    assert unmasked.item() > found.item() * 1.01


def test_tokens_are_not_trained_for_queries_alone():
    with pytest.raises(ValidationError, match="towers: query keeps the one vector of each passage, so it needs kind: dense"):
        TrainingSettings(towers="query", kind="late")
