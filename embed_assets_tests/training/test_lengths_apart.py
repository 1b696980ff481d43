"""Queries are cut at one length and passages at another, by whatever encodes them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from embed_assets.evaluation.comparison import own_lengths
from embed_assets.models.encoders import Encoder, count_unencoded, load_sentence_transformer
from embed_assets.models.hardware import Compute
from embed_assets.models.onnx import OnnxEncoder
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.token_encoder import TokenEncoder
from embed_assets.production.serving import EndpointEncoder
from embed_assets.retrieval.late_interaction import LateInteraction
from embed_assets.training.batches import TokensOnce, collator
from embed_assets.training.evaluator import ModelInTraining
from embed_assets.training.export import export_onnx
from embed_assets.training.fine_tuning import fine_tune
from embed_assets.training.parity import check_parity
from embed_assets.training.settings import ExportSettings, TrainingSettings
from embed_assets.training.task import TrainingTask
from embed_assets_tests.tiny_models import TEXTS, write_model

CPU = Compute(device="cpu", dtype="float32", batch_size=64, loggers=())
QUERY, PASSAGE = 12, 40
# A text of so many nines has so many tokens and three more: [CLS], the space in front, [SEP].
OTHERS = 3
NINES = ["9" * number for number in range(1, 60)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModelSettings:
    folder = write_model(tmp_path_factory.mktemp("models") / "bert", "bert")
    return BaseModelSettings(name=str(folder), max_tokens=PASSAGE, query_max_tokens=QUERY)


@pytest.fixture(scope="module")
def tuned(base: BaseModelSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuned")
    rows = [{"anchor": f"part {n}?", "positive": f"{TEXTS[n % 3]} Part {n}."} for n in range(4)]
    triplets = pl.DataFrame(rows).with_columns(split=pl.lit("train"))
    fine_tune(TrainingTask(triplets, folder / "model", folder / "scratch", base, TrainingSettings(batch_size=4), CPU))
    return folder / "model"


def tokens_read(encode: Callable[[Sequence[str]], Any]) -> int:
    """Where an encoder cuts texts."""
    vectors = np.asarray(encode([*NINES, "9" * 100]))
    return 1 + OTHERS + int(np.argmax(np.abs(vectors[:-1] - vectors[-1]).max(axis=1) < 1e-6))


def test_the_encoder_cuts_both_and_keeps_their_vectors_apart(base, tmp_path):
    encoder = Encoder(base, tmp_path, compute=CPU)
    assert (tokens_read(encoder.encode_queries), tokens_read(encoder.encode_passages)) == (QUERY, PASSAGE)
    alike = Encoder(base.model_copy(update={"query_max_tokens": None}), tmp_path, compute=CPU)
    assert tokens_read(alike.encode_queries) == PASSAGE
    assert count_unencoded(base, tmp_path, NINES, NINES) == 0
    assert count_unencoded(base.model_copy(update={"query_max_tokens": 13}), tmp_path, NINES, NINES) == len(NINES)


def test_what_is_kept_of_one_dtype_is_not_taken_for_another(base, tmp_path):
    exact, rough = (Compute(device="cpu", dtype=dtype, batch_size=64) for dtype in ("float32", "bfloat16"))
    first = Encoder(base, tmp_path, compute=exact).encode_passages(TEXTS)
    assert count_unencoded(base, tmp_path, [], TEXTS) == 0  # whatever they will be encoded in
    again, other = (Encoder(base, tmp_path, compute=compute) for compute in (exact, rough))
    assert np.array_equal(again.encode_passages(TEXTS), first) and again.saved_work.startswith("3 of 3")
    assert not np.array_equal(other.encode_passages(TEXTS), first) and other.saved_work.startswith("0 of 3")
    pairs = [(TEXTS[0], TEXTS[1])]
    scores = [LateInteraction(TokenEncoder(base, compute=compute), tmp_path).score(pairs)[0] for compute in (exact, rough)]
    assert scores[0] != scores[1]


def test_late_interaction_cuts_both_and_keeps_their_scores_apart(base, tmp_path):
    tokens = TokenEncoder(base, compute=CPU)
    assert len(tokens.encode_queries(["9" * 100])[0]) == QUERY
    assert len(tokens.encode_passages(["9" * 100])[0]) == PASSAGE
    pairs = [("8" * 30 + "9" * 5, "9" * 30)]
    whole = TokenEncoder(base.model_copy(update={"query_max_tokens": None}), compute=CPU)
    assert LateInteraction(tokens, tmp_path).score(pairs) != LateInteraction(whole, tmp_path).score(pairs)


def test_training_cuts_both_and_computes_them_together(base):
    model = load_sentence_transformer(base, "cpu")
    batch = collator(TokensOnce(model), base, {"anchor": "", "positive": ""})(
        [{"anchor": "9" * 100, "positive": "9" * 100, "label": 7}]
    )
    assert batch["anchor_input_ids"].shape == (1, QUERY) and batch["positive_input_ids"].shape == (1, PASSAGE)
    assert batch["label"].tolist() == [7]
    assert not [name for name in batch if name.endswith("task")]
    in_training = ModelInTraining(model, base.model_copy(update={"query_prompt": "", "passage_prompt": ""}), CPU)
    assert (tokens_read(in_training.encode_queries), tokens_read(in_training.encode_passages)) == (QUERY, PASSAGE)
    alike = collator(TokensOnce(model), base.model_copy(update={"query_max_tokens": PASSAGE}), {})
    assert alike([{"anchor": "9" * 100}])["anchor_input_ids"].shape == (1, PASSAGE)


def test_whoever_loads_the_trained_model_gets_both(tuned):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(tuned), device="cpu")
    assert (tokens_read(model.encode_query), tokens_read(model.encode_document)) == (QUERY, PASSAGE)
    assert own_lengths(str(tuned)) == {"max_tokens": PASSAGE, "query_max_tokens": QUERY}
    assert f"Queries are cut at {QUERY} tokens and passages at {PASSAGE}" in (tuned / "README.md").read_text()


@pytest.mark.long
def test_the_exported_model_cuts_both(base, tuned, tmp_path):
    export_onnx(tuned, tmp_path / "onnx", base, ExportSettings(int8=False))
    exported = OnnxEncoder(tmp_path / "onnx")
    assert (tokens_read(exported.encode_queries), tokens_read(exported.encode_passages)) == (QUERY, PASSAGE)
    assert len(exported.encode_query_tokens("9" * 100)) == QUERY
    assert check_parity(tuned, tmp_path / "onnx", base, NINES)["model.onnx"]["min_cosine"] > 0.9999


def test_a_server_is_sent_both_cut(base, tuned, monkeypatch):
    sent: list[str] = []

    async def ask(self: EndpointEncoder, texts: Sequence[str]) -> np.ndarray:
        sent.extend(texts)
        return np.ones((len(texts), 2), dtype=np.float32)

    monkeypatch.setattr(EndpointEncoder, "_ask", ask)
    endpoint = EndpointEncoder("http://localhost:1/v1", "tuned", base, str(tuned))
    endpoint.encode_queries(["9" * 100])
    endpoint.encode_passages(["9" * 100])
    assert [len(text) + OTHERS for text in sent] == [QUERY, PASSAGE]


def test_a_model_that_cannot_tell_them_apart_is_refused(tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"pump": 0, "oak": 1}, unk_token="oak"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=4)]).save_pretrained(str(tmp_path / "static"))
    settings = BaseModelSettings(name=str(tmp_path / "static"), max_tokens=40, query_max_tokens=12)
    with pytest.raises(ValueError, match=r"query_max_tokens needs a transformer, but .* begins with StaticEmbedding"):
        load_sentence_transformer(settings, "cpu")
