"""Every architecture on its whole way: encode, train, save, encode, export, compare."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from embed_assets.models.encoders import Encoder
from embed_assets.models.hardware import Compute
from embed_assets.models.onnx import OnnxEncoder
from embed_assets.models.settings import BaseModelSettings
from embed_assets.training.export import export_onnx
from embed_assets.training.fine_tuning import fine_tune
from embed_assets.training.parity import parity
from embed_assets.training.settings import ExportSettings, TrainingSettings
from embed_assets.training.task import TrainingTask
from embed_assets_tests.tiny_models import ARCHITECTURES, HIDDEN, TEXTS, write_model

pytestmark = pytest.mark.slow

CPU = Compute(device="cpu", dtype="float32", batch_size=2, loggers=())
TRIPLETS = pl.DataFrame(
    [{"anchor": f"part {n}?", "positive": f"{TEXTS[n % 3]} Part {n}.", "negative_1": TEXTS[(n + 1) % 3]} for n in range(4)]
).with_columns(split=pl.lit("train"))
ONE_STEP = TrainingSettings(batch_size=4, learning_rate=1e-3, warmup_share=0.0)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory):
    """Settings of a model of an architecture; each is written once."""
    written: dict[tuple, BaseModelSettings] = {}

    def model(architecture: str, **changes: str) -> BaseModelSettings:
        key = (architecture, *sorted(changes.items()))
        if key not in written:
            folder = write_model(tmp_path_factory.mktemp("models") / architecture, architecture, **changes)
            code = architecture == "llama_bidirectional"
            prompts = {"query_prompt": "query: ", "passage_prompt": "passage: "}
            written[key] = BaseModelSettings(name=str(folder), max_tokens=40, trust_remote_code=code, **prompts)
        return written[key]

    return model


def encode(base: BaseModelSettings, memos: Path, name: str | None = None) -> np.ndarray:
    return Encoder(base, memos, name, CPU).encode_passages(TEXTS)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_model_is_encoded_trained_saved_and_exported(model, tmp_path, architecture):
    base = model(architecture)
    before = encode(base, tmp_path)
    fine_tune(TrainingTask(TRIPLETS, tmp_path / "tuned", tmp_path / "scratch", base, ONE_STEP, CPU))
    after = encode(base, tmp_path, str(tmp_path / "tuned"))
    assert before.shape == after.shape == (3, HIDDEN)
    assert np.abs(after - before).max() > 1e-3
    export_onnx(tmp_path / "tuned", tmp_path / "onnx", base, ExportSettings(int8=False))
    exported = OnnxEncoder(tmp_path / "onnx")
    assert parity(after, exported.encode_passages(TEXTS))["min_cosine"] > 0.99999
    # A text gets the same vector alone as in a batch with longer ones.
    alone = np.concatenate([exported.encode_passages([text]) for text in TEXTS])
    assert parity(after, alone)["min_cosine"] > 0.99999


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pooling", ["mean", "cls", "lasttoken"])
def test_padding_on_either_side_changes_no_vector(model, tmp_path, pooling, side):
    base = model("qwen3", pooling=pooling, side=side)
    together = encode(base, tmp_path / "together")
    one_by_one = [Encoder(base, tmp_path / f"{n}", None, CPU).encode_passages([text]) for n, text in enumerate(TEXTS)]
    assert parity(together, np.concatenate(one_by_one))["min_cosine"] > 0.99999
    export_onnx(Path(base.name), tmp_path / "onnx", base, ExportSettings(int8=False))
    assert parity(together, OnnxEncoder(tmp_path / "onnx").encode_passages(TEXTS))["min_cosine"] > 0.99999


@pytest.mark.parametrize("lora_rank", [0, 4])
@pytest.mark.parametrize("stored", ["bfloat16", "float16"])
def test_weights_are_trained_in_float32_whatever_they_are_stored_in(model, tmp_path, stored, lora_rank):
    from safetensors.torch import load_file

    base = model("bert", dtype=stored)
    # Steps of a learning rate that is lost on most weights in bfloat16.
    changes = {"learning_rate": 5e-5, "weight_decay": 0.0, "lora_rank": lora_rank}
    settings = ONE_STEP.model_copy(update=changes)
    fine_tune(TrainingTask(TRIPLETS, tmp_path / "tuned", tmp_path / "scratch", base, settings, CPU))
    was, now = load_file(Path(base.name) / "model.safetensors"), load_file(tmp_path / "tuned" / "model.safetensors")
    name = "encoder.layer.1.attention.self.value.weight"
    assert str(was[name].dtype) == f"torch.{stored}" and str(now[name].dtype) == "torch.float32"
    assert (now[name] != was[name].float()).float().mean() > 0.99
