import json
from pathlib import Path

import pytest

from embed_assets.models.encoders import load_sentence_transformer
from embed_assets.models.lengths import PASSAGE, QUERY, are_apart, check_length, positions, tokens_of
from embed_assets.models.locations import locate_model
from embed_assets.models.settings import BaseModelSettings


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model_type": "bert", "max_position_embeddings": 512, "pad_token_id": 0}, 512),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "mpnet", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "deberta-v2", "max_position_embeddings": 512, "position_biased_input": False}, None),
        ({"model_type": "t5"}, None),
    ],
)
def test_positions_of_a_model(config, expected):
    assert positions(config) == expected


def test_a_length_beyond_the_positions_is_refused_before_the_model_is_loaded(tmp_path):
    (tmp_path / "0_Transformer").mkdir()
    (tmp_path / "0_Transformer" / "config.json").write_text(json.dumps({"model_type": "bert", "max_position_embeddings": 64}))
    (tmp_path / "modules.json").write_text(json.dumps([{"path": "0_Transformer"}, {"path": "1_Pooling"}]))
    check_length(BaseModelSettings(name=str(tmp_path), max_tokens=64))
    with pytest.raises(ValueError, match=r"base_model\.max_tokens is 65, .* has positions for 64 tokens: set it to at most 64"):
        check_length(BaseModelSettings(name=str(tmp_path), max_tokens=65))
    with pytest.raises(ValueError, match=r"base_model\.query_max_tokens is 65, .*: set it to at most 64$"):
        check_length(BaseModelSettings(name=str(tmp_path), max_tokens=64, query_max_tokens=65))


def test_the_sample_base_model_has_512_positions():
    with pytest.raises(ValueError, match="positions for 512 tokens"):
        check_length(BaseModelSettings(max_tokens=513))


def test_queries_are_as_long_as_passages_unless_they_have_a_length_of_their_own():
    assert [tokens_of(BaseModelSettings(max_tokens=64), task) for task in (QUERY, PASSAGE)] == [64, 64]
    assert [tokens_of(BaseModelSettings(max_tokens=64, query_max_tokens=16), task) for task in (QUERY, PASSAGE)] == [16, 64]
    assert not are_apart(BaseModelSettings(max_tokens=64, query_max_tokens=64))


def test_a_model_that_looks_its_vectors_up_is_loaded_and_cuts_texts_too(tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(locate_model(BaseModelSettings().name)) / "tokenizer.json"))
    tokenizer.no_truncation()
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=4)], device="cpu").save_pretrained(str(tmp_path))
    settings = BaseModelSettings(name=str(tmp_path), max_tokens=16)
    model = load_sentence_transformer(settings, "cpu")
    assert model.preprocess(["pump " * 40])["input_ids"].shape == (16,)
    with pytest.raises(ValueError, match=r"query_max_tokens needs a transformer, but .* begins with StaticEmbedding"):
        load_sentence_transformer(settings.model_copy(update={"query_max_tokens": 8}), "cpu")
