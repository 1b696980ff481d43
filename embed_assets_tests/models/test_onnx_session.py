from pathlib import Path

import pytest

from embed_assets.models.onnx_session import MOST_TEXTS, tensorrt_options

INPUTS = ["input_ids", "attention_mask"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "onnx" / "model.onnx"
    path.parent.mkdir()
    path.write_bytes(b"graph")
    (path.parent / "model.onnx.data").write_bytes(b"weights")
    return path


def test_an_engine_is_for_all_shapes_of_the_model(model, tmp_path):
    options = tensorrt_options(model, INPUTS, 160, tmp_path)
    assert options["trt_profile_min_shapes"] == "input_ids:1x1,attention_mask:1x1"
    assert options["trt_profile_max_shapes"] == f"input_ids:{MOST_TEXTS}x160,attention_mask:{MOST_TEXTS}x160"
    assert "trt_fp16_enable" not in options


def test_engines_of_other_shapes_weights_and_files_lie_elsewhere(model, tmp_path):
    def folder(tokens: int = 160, path: Path = model) -> str:
        return tensorrt_options(path, INPUTS, tokens, tmp_path)["trt_engine_cache_path"]

    first = folder()
    assert first == folder() and first.startswith(str(tmp_path))
    half = model.with_name("model_fp16.onnx")
    half.write_bytes(b"graph")
    assert len({first, folder(512), folder(path=half)}) == 3
    assert tensorrt_options(half, INPUTS, 160, tmp_path)["trt_fp16_enable"] == "True"
    (model.parent / "model.onnx.data").write_bytes(b"others!")
    assert folder() != first
