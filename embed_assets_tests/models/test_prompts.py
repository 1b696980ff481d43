"""A model keeps the prompts of its own configuration unless the settings say otherwise."""

import json
from pathlib import Path

import pytest

from embed_assets.models.encoders import Encoder, count_unencoded, load_sentence_transformer
from embed_assets.models.hardware import Compute
from embed_assets.models.locations import ModelNotFoundError, locate_model
from embed_assets.models.prompts import own_lengths, with_prompts
from embed_assets.models.settings import BaseModelSettings
from embed_assets_tests.hub_cache import NEWEST, PINNED, cache_of_hub

E5 = {"prompts": {"query": "query: ", "passage": "passage: "}}


def model_with(folder: Path, configuration: dict | str) -> str:
    """The base model under another configuration."""
    folder.mkdir(exist_ok=True)
    for path in Path(locate_model(BaseModelSettings().name)).iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "config_sentence_transformers.json").unlink()
    text = configuration if isinstance(configuration, str) else json.dumps(configuration)
    (folder / "config_sentence_transformers.json").write_text(text)
    return str(folder)


@pytest.mark.parametrize(
    ("configuration", "settings", "expected"),
    [
        (E5, {}, ("query: ", "passage: ")),
        (E5, {"query_prompt": ""}, ("", "passage: ")),
        (E5, {"query_prompt": "Find: ", "passage_prompt": ""}, ("Find: ", "")),
        ({}, {}, ("", "")),
        ({"prompts": {"query": "q ", "document": None, "corpus": "c "}}, {}, ("q ", "c ")),
        ({"prompts": {"s2p": "Instruct: "}, "default_prompt_name": "s2p"}, {}, ("Instruct: ", "Instruct: ")),
    ],
)
def test_prompts_are_those_of_the_settings_else_of_the_configuration(tmp_path, configuration, settings, expected):
    found = with_prompts(BaseModelSettings(name=model_with(tmp_path / "model", configuration), **settings))
    assert (found.query_prompt, found.passage_prompt) == expected
    assert with_prompts(found) == found


def test_a_mistyped_folder_is_called_a_folder_that_is_not_there():
    with pytest.raises(
        ModelNotFoundError, match=r"^model 'no-such-model': there is no such folder, and no sentence_bert_config\.json of"
    ):
        own_lengths("no-such-model")


def test_a_configuration_that_is_no_json_is_named(tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"config_sentence_transformers\.json is not JSON"):
        with_prompts(BaseModelSettings(name=model_with(tmp_path / "model", "{")))


def test_lengths_are_those_of_the_configuration(tmp_path):
    assert own_lengths(BaseModelSettings().name) == {"max_tokens": 256, "query_max_tokens": None}
    assert own_lengths(str(tmp_path)) == {"max_tokens": None, "query_max_tokens": None}
    # As sentence-transformers writes them today.
    (tmp_path / "sentence_bert_config.json").write_text(json.dumps({"query_length": 32}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 8192}))
    assert own_lengths(str(tmp_path)) == {"max_tokens": 8192, "query_max_tokens": 32}
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": 512}))
    assert own_lengths(str(tmp_path))["max_tokens"] == 512
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 10**30}))
    assert own_lengths(str(tmp_path))["max_tokens"] is None


def test_lengths_of_a_hub_are_those_of_the_commit(tmp_path, monkeypatch):
    commits = cache_of_hub(tmp_path, monkeypatch, "organisation/model", newest=NEWEST)
    for commit, length in ((PINNED, 128), (NEWEST, 256)):
        (commits / commit).mkdir()
        (commits / commit / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": length}))
        (commits / commit / "config.json").write_text("{}")
    assert own_lengths("organisation/model", PINNED)["max_tokens"] == 128
    assert own_lengths("organisation/model")["max_tokens"] == 256


def test_the_model_is_loaded_with_them_and_they_change_what_is_encoded(tmp_path):
    settings = BaseModelSettings(name=model_with(tmp_path / "model", E5), max_tokens=32)
    prompts = load_sentence_transformer(settings, "cpu").prompts
    assert (prompts["query"], prompts["document"]) == ("query: ", "passage: ")
    own, none = (
        Encoder(it, tmp_path / "memos", compute=Compute(device="cpu", dtype="float32"))
        for it in (settings, settings.model_copy(update={"query_prompt": ""}))
    )
    assert none.encode_queries(["query: loud fan"]) @ own.encode_queries(["loud fan"]).T == pytest.approx(1, abs=1e-5)
    assert none.encode_queries(["loud fan"]) @ own.encode_queries(["loud fan"]).T < 0.999


def test_texts_that_were_encoded_are_not_counted_again_where_the_settings_leave_the_prompts_to_the_model(tmp_path: Path):
    settings = BaseModelSettings(name=model_with(tmp_path / "e5", E5), max_tokens=64)
    assert settings.query_prompt is None
    Encoder(settings, tmp_path, compute=Compute(device="cpu")).encode_queries(["how many texts are left?"])
    assert count_unencoded(settings, tmp_path, ["how many texts are left?"], []) == 0
    assert count_unencoded(settings, tmp_path, ["how many texts are left?", "and now?"], []) == 1
