import pytest

from embed_assets.models.encoders import load_sentence_transformer
from embed_assets.models.settings import BaseModelSettings
from embed_assets.training import batches
from embed_assets.training.batches import Batches, TokensOnce, deal
from embed_assets_tests.tiny_models import TEXTS, write_model


def sampled(keys: list[str], batch_size: int, processes: int = 1, epoch: int = 0) -> list[list[int]]:
    import torch
    from datasets import Dataset

    data = Dataset.from_dict({"label": list(range(len(keys)))})
    sampler = Batches(keys, processes)(data, batch_size, drop_last=False, seed=13, generator=torch.Generator())
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    return batches


def test_rows_with_the_same_key_are_dealt_to_different_batches():
    assert deal([0, 1, 2, 3, 4, 5], list("aabbcc"), 2) == [[0, 3], [1, 4], [2, 5]]
    # In the order in which the keys turn up, b, a, c; the last batch has room for one alone.
    assert deal([2, 0, 4, 3, 1], list("aabbc"), 2) == [[2, 1], [3, 4], [0]]
    assert deal([0, 1, 2], list("aaa"), 3) == [[0, 1, 2]]


@pytest.mark.parametrize("count", [1, 2, 8, 9, 17, 34, 100])
def test_every_example_is_in_an_epoch_once_and_batches_are_full(count):
    keys = [str(n // 5) for n in range(count)]
    batches = sampled(keys, 8)
    assert sorted(row for batch in batches for row in batch) == list(range(count))
    assert sorted(map(len, batches), reverse=True) == [8] * (count // 8) + [count % 8] * (count % 8 > 0)


def test_examples_of_one_document_alone_are_kept_all_the_same():
    """A sampler that refuses what is alike would drop nearly all of them."""
    assert sorted(map(len, sampled(["page"] * 20, 8))) == [4, 8, 8]


def test_documents_are_apart_in_every_epoch_which_are_not_the_same():
    keys = [f"document {n % 10}" for n in range(60)]
    epochs = [sampled(keys, 6, epoch=epoch) for epoch in (0, 1)]
    assert epochs[0] != epochs[1]
    assert all(len({keys[row] for row in batch}) == 6 for batches in epochs for batch in batches)


@pytest.mark.parametrize("count", [1, 16, 17, 18, 33])
def test_the_slices_of_the_processes_make_the_batches_of_one(count):
    keys = [str(n // 2) for n in range(count)]
    whole, slices = sampled(keys, 8), sampled(keys, 4, processes=2)
    assert len(slices) == 2 * len(whole)
    for number, batch in enumerate(whole):
        first, second = slices[2 * number : 2 * number + 2]
        assert len(first) == len(second)
        # Where it does not divide evenly, one stands in it twice, rather than that one is lost.
        assert (first + second)[: len(batch)] == batch and len(first + second) - len(batch) in (0, 1)


@pytest.fixture(params=["bert", "qwen3"])  # filled up behind the tokens, and before them
def model(request, tmp_path):
    folder = write_model(tmp_path / request.param, request.param)
    return load_sentence_transformer(BaseModelSettings(name=str(folder), max_tokens=24), "cpu")


@pytest.mark.parametrize("kept", [batches.MOST_TOKENS_KEPT, 20])
def test_tokens_are_those_of_the_model_and_made_once_while_there_is_room(model, monkeypatch, kept):
    import torch

    asked = []
    preprocess = model.preprocess
    monkeypatch.setattr(model, "preprocess", lambda texts, **options: asked.extend(texts) or preprocess(texts, **options))
    monkeypatch.setattr(batches, "MOST_TOKENS_KEPT", kept)
    tokens = TokensOnce(model)
    for texts in (["oak", TEXTS[0]], [TEXTS[1], "oak", "oak"], ["oak", TEXTS[2], TEXTS[0]], ["oak"]):
        for prompt in (None, "", "query: ", "passage about it: "):
            expected, found = preprocess(texts, prompt=prompt, task=None), tokens(texts, prompt=prompt)
            assert expected.keys() == found.keys()
            for name, value in expected.items():
                same = torch.equal(value, found[name]) if isinstance(value, torch.Tensor) else value == found[name]
                assert same and type(value) is type(found[name])
    assert (len(asked) == 4 * len({"oak", *TEXTS})) == (kept > 20)


def test_a_model_that_makes_no_rows_of_tokens_is_asked_for_each_batch():
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models

    words = Tokenizer(models.WordLevel({"oak": 0, "slate": 1}, unk_token="oak"))
    model = SentenceTransformer(modules=[StaticEmbedding(words, embedding_dim=4)], device="cpu")
    tokens = TokensOnce(model)
    for texts in (["oak"], ["slate", "oak", "slate"]):
        assert torch.equal(tokens(texts)["input_ids"], model.preprocess(texts)["input_ids"])
