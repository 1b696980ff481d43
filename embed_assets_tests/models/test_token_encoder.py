import pytest

from embed_assets.models.encoders import load_sentence_transformer
from embed_assets.models.hardware import Compute
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.token_encoder import TokenEncoder, without_pooling
from embed_assets_tests.tiny_models import TEXTS, write_model

CPU = Compute(device="cpu", dtype="float32", batch_size=2)


def test_each_token_of_a_text_has_a_unit_vector():
    import torch

    settings = BaseModelSettings(max_tokens=64)
    encoder = TokenEncoder(settings, compute=CPU)
    found = encoder.encode_passages(["oak", TEXTS[0], "", "oak is wood"])
    assert [len(found[row]) for row in (0, 2, 3)] == [3, 2, 5], "with [CLS] and [SEP]"
    assert found[0].dtype == torch.float16 and found[0].shape[1] == 384
    assert torch.cat(found).float().norm(dim=1).numpy() == pytest.approx(1, abs=1e-3)
    model = load_sentence_transformer(settings, "cpu")
    (expected,) = model.encode([TEXTS[0]], output_value="token_embeddings")
    expected = torch.nn.functional.normalize(expected, dim=1)
    assert found[1].float().numpy() == pytest.approx(expected.numpy(), abs=1e-3)


def test_the_prompts_and_the_length_are_those_of_the_settings():
    encoder = TokenEncoder(BaseModelSettings(max_tokens=16, query_prompt="find: ", passage_prompt=""), compute=CPU)
    assert [len(of_text) for of_text in encoder.encode_queries(["oak", "oak " * 40])] == [5, 16]
    assert [len(of_text) for of_text in encoder.encode_passages(["oak"])] == [3]


@pytest.mark.parametrize("architecture", ["qwen3", "gemma"], ids=["padding on the left", "projections"])
def test_tokens_of_other_architectures(tmp_path, architecture):
    import torch

    folder = str(write_model(tmp_path / "model", architecture))
    settings = BaseModelSettings(name=folder, max_tokens=40, query_prompt="", passage_prompt="")
    found = TokenEncoder(settings, compute=CPU).encode_passages(TEXTS)
    model = load_sentence_transformer(settings, "cpu")
    for text, vectors in zip(TEXTS, found, strict=True):
        features = model[0](model.preprocess([text]))
        expected = features["token_embeddings"][0]
        for module in list(model)[2:-1]:  # what projects the pooled vector
            expected = module.linear(expected)
        expected = torch.nn.functional.normalize(expected, dim=1).detach()
        assert vectors.float().numpy() == pytest.approx(expected.numpy(), abs=1e-3)


def test_a_model_without_tokens_is_refused():
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    model = SentenceTransformer(
        modules=[StaticEmbedding(load_sentence_transformer(BaseModelSettings(), "cpu").tokenizer, embedding_dim=8)]
    )
    with pytest.raises(ValueError, match="this model begins with StaticEmbedding: set late_interaction"):
        without_pooling(model)


def test_blocks_hold_a_bounded_number_of_tokens_longest_texts_first():
    encoder = TokenEncoder(BaseModelSettings(max_tokens=16))
    texts = ["a", "bb", "ccc", "d" * 8, "e" * 400]
    assert list(encoder.blocks(texts, 16)) == [["e" * 400], ["d" * 8, "ccc", "bb", "a"]]
    assert list(encoder.blocks(texts, 8)) == [["e" * 400], ["d" * 8], ["ccc", "bb", "a"]]
    assert list(encoder.blocks([])) == []
