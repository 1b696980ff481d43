"""Texts go through a model beside those with as many tokens, and come back in their own order."""

from pathlib import Path

import numpy as np
import pytest

from embed_assets.models.batches import batches_by_tokens
from embed_assets.models.encoders import Encoder, load_sentence_transformer
from embed_assets.models.hardware import Compute
from embed_assets.models.rerankers import Reranker, load_cross_encoder
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.token_encoder import TokenEncoder
from embed_assets_tests.tiny_models import write_model

CPU = Compute("cpu", dtype="float32", batch_size=2)
# An identifier has many tokens of few characters, plain words few of many.
TEXTS = [
    "configuration management configuration management",
    "0x9F3A-7C11-E4B2-88D0",
    "the switch",
    "%LINK-3-UPDOWN CSCvx12345 9.3(10)",
    "interface",
    "authentication information documentation",
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModelSettings:
    return BaseModelSettings(name=str(write_model(tmp_path_factory.mktemp("models") / "bert", "bert")), max_tokens=40)


def tokens_of(model, texts: list[str]) -> np.ndarray:
    return np.array([len(model.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts])


def test_batches_hold_neighbours_by_tokens_and_not_by_characters(base: BaseModelSettings):
    model = load_sentence_transformer(base, "cpu")
    batches = batches_by_tokens(model, TEXTS, 2, 40)
    counts = tokens_of(model, TEXTS)
    assert [len(batch) for batch in batches] == [2, 2, 2] and sorted(np.concatenate(batches)) == list(range(6))
    assert (np.diff(counts[np.concatenate(batches)]) <= 0).all()
    assert sorted(TEXTS, key=len, reverse=True) != [TEXTS[place] for place in np.concatenate(batches)]


def test_what_the_model_does_not_read_of_a_text_does_not_count(base: BaseModelSettings):
    model = load_sentence_transformer(base, "cpu")
    texts = ["a b c", "a b c d e f g h", "a b c d"]
    assert np.concatenate(batches_by_tokens(model, texts, 3, 3)).tolist() == [0, 1, 2]
    assert np.concatenate(batches_by_tokens(model, texts, 3, 40)).tolist() == [1, 2, 0]


def test_pairs_are_as_long_as_both_texts_together(base: BaseModelSettings):
    model = load_cross_encoder(base.name, "cpu", 40, new_head=True)
    pairs = [("a", "b c"), ("a b c d", "e"), ("a b", "c d")]
    assert np.concatenate(batches_by_tokens(model, pairs, 2, 40)).tolist() == [1, 2, 0]


def test_results_stand_where_their_texts_stand(base: BaseModelSettings, tmp_path: Path):
    encoder = Encoder(base, tmp_path, compute=CPU)
    together = encoder.encode_passages(TEXTS)
    single = [Encoder(base, tmp_path / f"{row}", compute=CPU).encode_passages([text]) for row, text in enumerate(TEXTS)]
    assert np.allclose(together, np.concatenate(single), atol=1e-5)
    tokens = TokenEncoder(base, compute=CPU)
    for of_all, text in zip(tokens.encode_passages(TEXTS), TEXTS, strict=True):
        assert np.allclose(of_all.float(), tokens.encode_passages([text])[0].float(), atol=2e-3)
    assert tokens.encode_passages([]) == []
    load_cross_encoder(base.name, "cpu", 40, new_head=True).save_pretrained(str(tmp_path / "cross"))
    pairs = [(text, "x") for text in TEXTS]
    scores = [Reranker(str(tmp_path / "cross"), tmp_path / "again", CPU).score([pair])[0] for pair in pairs]
    assert np.allclose(Reranker(str(tmp_path / "cross"), tmp_path / "all", CPU).score(pairs), scores, atol=np.std(scores) / 100)
