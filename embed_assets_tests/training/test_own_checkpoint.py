"""A model that was trained elsewhere as the checkpoint of a collection."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from embed_assets.artifacts.blocks import SettingsError
from embed_assets.models.locations import ModelNotFoundError
from embed_assets.models.settings import BaseModelSettings, CheckpointSettings
from embed_assets.models.weights import BrokenModelError
from embed_assets.training.own_checkpoint import take_over
from embed_assets_tests.hub_cache import NEWEST, PINNED, cache_of_hub
from embed_assets_tests.tiny_models import TEXTS, write_model

if TYPE_CHECKING:
    import numpy as np

BASE = BaseModelSettings(max_tokens=40)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    return write_model(tmp_path / "elsewhere", "bert")


def own(model: Path, **changes: bool) -> CheckpointSettings:
    return CheckpointSettings(name=str(model), **changes)


def change_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_it_gives_the_vectors_that_it_gave_before(elsewhere, tmp_path):
    import numpy as np
    from sentence_transformers import SentenceTransformer

    change_json(elsewhere / "config_sentence_transformers.json", prompts={"query": "ask: ", "document": "text: "})
    before = SentenceTransformer(str(elsewhere), device="cpu")
    figures = take_over(own(elsewhere), BASE, tmp_path / "model")
    after = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    assert figures == {"parameters": sum(it.numel() for it in before.parameters()), "dimensions": 32}
    assert np.array_equal(after.encode(TEXTS, prompt_name="query"), before.encode(TEXTS, prompt="ask: "))
    assert after.prompts == {"query": "ask: ", "document": "text: "} and after.max_seq_length == 40


def test_only_safetensors_are_loaded(elsewhere, tmp_path):
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(elsewhere / "model.safetensors"), elsewhere / "pytorch_model.bin")
    (elsewhere / "model.safetensors").unlink()
    with pytest.raises(BrokenModelError, match=r"checkpoint\.name: .* cannot be loaded: .*safetensors"):
        take_over(own(elsewhere), BASE, tmp_path / "model")


def test_a_part_with_pickled_weights_alone_is_refused(elsewhere, tmp_path):
    import torch
    from safetensors.torch import load_file
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense

    model = SentenceTransformer(str(elsewhere), device="cpu")
    model.append(Dense(32, 8, activation_function=torch.nn.Identity()))
    model.save(str(tmp_path / "dense"))
    assert take_over(own(tmp_path / "dense"), BASE, tmp_path / "model")["dimensions"] == 8
    (weights,) = (tmp_path / "dense").glob("*Dense/model.safetensors")
    torch.save(load_file(weights), weights.with_name("pytorch_model.bin"))
    weights.unlink()
    with pytest.raises(BrokenModelError, match=r"_Dense/pytorch_model\.bin: only safetensors weights are loaded: save the model"):
        take_over(own(tmp_path / "dense"), BASE, tmp_path / "model")


@pytest.mark.parametrize(
    ("rename", "words"),
    [
        (lambda key: key, None),
        (lambda key: f"bert.{key}", None),  # as models of another head are saved
        (lambda key: None if "pooler" in key else key, None),
        (lambda key: f"model.{key}", r"weights are not in its files, such as embeddings\.LayerNorm\.bias, and would be random"),
        (lambda key: None if "layer.0.output" in key else key, r"checkpoint\.name: .*: 4 of its weights are not in its files"),
    ],
)
def test_weights_that_would_be_random_are_refused(elsewhere, tmp_path, rename, words):
    from safetensors.torch import load_file, save_file

    weights = {rename(key): weight for key, weight in load_file(elsewhere / "model.safetensors").items()}
    weights.pop(None, None)
    save_file(weights, elsewhere / "model.safetensors", metadata={"format": "pt"})
    if words is None:
        take_over(own(elsewhere), BASE, tmp_path / "model")
        return
    with pytest.raises(BrokenModelError, match=words):
        take_over(own(elsewhere), BASE, tmp_path / "model")


@pytest.mark.parametrize("content", [b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", None])
def test_damaged_weights_and_a_missing_tokenizer_are_told(elsewhere, tmp_path, content):
    if content:
        (elsewhere / "model.safetensors").write_bytes(content)
    else:
        for path in elsewhere.glob("tokenizer*"):
            path.unlink()
    words = "weights cannot be read .* pointer of Git LFS" if content else "a file of the tokenizer is missing|cannot be loaded"
    with pytest.raises(ValueError, match=words):
        take_over(own(elsewhere), BASE, tmp_path / "model")


def write_adapters(elsewhere: Path, folder: Path, seed: int) -> "np.ndarray":
    """Save the model with random low-rank adapters; returns the vectors that it gives."""
    import torch
    from peft import LoraConfig
    from sentence_transformers import SentenceTransformer

    torch.manual_seed(seed)
    model = SentenceTransformer(str(elsewhere), device="cpu")
    model.add_adapter(LoraConfig(r=2, target_modules=["query", "value"]))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    model.save(str(folder))
    return model.encode(TEXTS)


def test_adapters_are_merged_into_the_weights(elsewhere, tmp_path):
    import numpy as np
    from sentence_transformers import SentenceTransformer

    plain = SentenceTransformer(str(elsewhere), device="cpu").encode(TEXTS)
    before = write_adapters(elsewhere, tmp_path / "adapters", seed=1)
    take_over(own(tmp_path / "adapters"), BASE, tmp_path / "model")
    assert not list((tmp_path / "model").glob("adapter*"))
    after = SentenceTransformer(str(tmp_path / "model"), device="cpu").encode(TEXTS)
    assert np.allclose(after, before, atol=1e-5) and not np.allclose(after, plain, atol=1e-2)


def test_adapters_of_a_hub_are_those_of_the_commit(elsewhere, tmp_path, monkeypatch):
    import numpy as np
    from sentence_transformers import SentenceTransformer

    commits = cache_of_hub(tmp_path / "cache", monkeypatch, "organisation/adapters", newest=NEWEST)
    vectors = {}
    for seed, commit in enumerate((PINNED, NEWEST)):
        vectors[commit] = write_adapters(elsewhere, commits / commit, seed)
        shutil.copy(elsewhere / "config.json", commits / commit)
    take_over(CheckpointSettings(name="organisation/adapters", revision=PINNED), BASE, tmp_path / "model")
    after = SentenceTransformer(str(tmp_path / "model"), device="cpu").encode(TEXTS)
    assert np.allclose(after, vectors[PINNED], atol=1e-5) and not np.allclose(after, vectors[NEWEST], atol=1e-2)


def test_what_is_no_model_is_named(elsewhere, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(BrokenModelError, match=r"checkpoint\.name: .*empty' cannot be loaded"):
        take_over(own(tmp_path / "empty"), BASE, tmp_path / "model")
    with pytest.raises(ModelNotFoundError, match="there is nothing at"):
        take_over(own(tmp_path / "nowhere"), BASE, tmp_path / "model")
    with pytest.raises(SettingsError, match=r"base_model\.max_tokens is 65, but .*elsewhere has positions for 64"):
        take_over(own(elsewhere), BaseModelSettings(max_tokens=65), tmp_path / "model")
    (elsewhere / "config.json").write_text("{")
    with pytest.raises(BrokenModelError, match=r"checkpoint\.name: .*config\.json: not JSON"):
        take_over(own(elsewhere), BASE, tmp_path / "model")


def test_code_of_its_own_runs_only_if_both_settings_say_so(elsewhere, tmp_path):
    llama = write_model(tmp_path / "llama", "llama_bidirectional")
    with pytest.raises(ValueError, match=r"cannot be loaded: .*custom code"):
        take_over(own(llama), BASE, tmp_path / "model")
    with pytest.raises(ValueError, match=r"by which it is loaded later, is false"):
        take_over(own(llama, trust_remote_code=True), BASE, tmp_path / "model")
    change_json(elsewhere / "config.json", auto_map={"AutoModel": "theirs.Model"})
    trusting = BASE.model_copy(update={"trust_remote_code": True})  # of the base model, not of this one
    with pytest.raises(ValueError, match=r"names code of its own \(auto_map\)"):
        take_over(own(elsewhere), trusting, tmp_path / "model")
    take_over(own(llama, trust_remote_code=True), trusting, tmp_path / "trusted")
    assert (tmp_path / "trusted" / "llama_bidirectional.py").is_file()


def test_the_projection_of_its_tokens_comes_along(elsewhere, tmp_path):
    import torch
    from sentence_transformers.base.modules import Dense

    from embed_assets.models.token_projection import load_projection, save_projection

    projection = Dense(32, 8, bias=False, activation_function=torch.nn.Identity())
    save_projection(projection, elsewhere)
    take_over(own(elsewhere), BASE, tmp_path / "model")
    taken = load_projection(tmp_path / "model")
    assert taken is not None and torch.equal(taken.linear.weight, projection.linear.weight)
