import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from embed_assets.models.encoders import load_sentence_transformer
from embed_assets.models.locations import locate_model
from embed_assets.models.onnx import FP16_MODEL, INT8_MODEL, MODEL, OnnxEncoder, OnnxReranker
from embed_assets.models.onnx_session import PROVIDERS
from embed_assets.models.rerankers import load_cross_encoder
from embed_assets.models.settings import BaseModelSettings
from embed_assets.training import export
from embed_assets.training.export import export_onnx, export_onnx_reranker
from embed_assets.training.parity import check_parity, check_reranker_parity, parity
from embed_assets.training.settings import ExportSettings, RerankerSettings

BASE_MODEL = BaseModelSettings(max_tokens=64)
VERY_LONG = "The backup job copies every changed file to the second disk and then compares the checksums. " * 40
TEXTS = [
    "Restart.",
    "How do I reset my password?",
    "The pump runs dry when the float switch sticks.",
    "Use --dry-run to see what would be deleted.",
    "CVE-2021-44228 lets an attacker run code through a log message.",
    "Bread dough rises faster in a warm kitchen than in a cold one.",
    "The committee met on Tuesday, heard three witnesses, and put off its decision until the spring.",
    "Naïve façade, 漢字 and émigré: text that is not plain ASCII.",
    "Close both valves, wait until the gauge shows zero, and put a bucket under the housing: some water is left in it.",
    "A buffer overflow writes past the end of a block of memory, over return addresses or pointers to functions. " * 2,
    "x = max(0, min(limit, value))",
    VERY_LONG,
]


@pytest.fixture(scope="module")
def model_folder() -> Path:
    return Path(locate_model(BASE_MODEL.name))


@pytest.fixture(scope="module")
def exported(model_folder, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("onnx_model")
    files = export_onnx(model_folder, folder, BASE_MODEL, ExportSettings(fp16=True))
    assert files == [folder / "onnx" / name for name in (MODEL, FP16_MODEL, INT8_MODEL)]
    return folder


@pytest.fixture(scope="module")
def reference(model_folder) -> np.ndarray:
    model = load_sentence_transformer(BASE_MODEL, device="cpu", name=str(model_folder)).float()
    return model.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)


def test_each_file_is_compared_with_torch_in_agreement_size_and_speed(model_folder, exported):
    files = check_parity(model_folder, exported, BASE_MODEL, TEXTS)
    assert (
        files[MODEL]["min_cosine"] > 0.99999
        and files[FP16_MODEL]["min_cosine"] > 0.9999
        and files[INT8_MODEL]["min_cosine"] > 0.95
    )
    assert files[MODEL]["min_cosine_of_tokens"] > 0.9999 > files[INT8_MODEL]["min_cosine_of_tokens"] > 0.5
    assert files[MODEL]["megabytes"] > 1.9 * files[FP16_MODEL]["megabytes"] > 3.5 * files[INT8_MODEL]["megabytes"] / 2
    assert all(row["texts_per_second"] > 0 and row["ratio_to_torch"] > 0 for row in files.values())


def test_weights_that_one_file_cannot_hold_lie_beside_it(exported, reference, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "LARGEST_FILE", 1e6)
    folder = tmp_path / "large"
    shutil.copytree(exported, folder, ignore=shutil.ignore_patterns(FP16_MODEL, INT8_MODEL))
    export.halve(folder / "onnx" / MODEL, folder / "onnx" / FP16_MODEL)
    export.quantize(folder / "onnx" / MODEL, folder / "onnx" / INT8_MODEL, per_channel=True)
    assert {path.name for path in (folder / "onnx").iterdir()} == {
        MODEL,
        FP16_MODEL,
        f"{FP16_MODEL}.data",
        INT8_MODEL,
        f"{INT8_MODEL}.data",
    }
    for name, least in ((FP16_MODEL, 0.9999), (INT8_MODEL, 0.95)):
        assert (folder / "onnx" / name).stat().st_size < 2e6
        assert export.size_with_weights(folder / "onnx" / name) == pytest.approx(
            (exported / "onnx" / name).stat().st_size, rel=0.01
        )
        assert parity(reference, OnnxEncoder(folder, name).encode_passages(TEXTS))["min_cosine"] > least


def test_the_cpu_does_where_better_hardware_is_asked_for_and_not_there(exported, reference):
    assert parity(reference, OnnxEncoder(exported, providers=PROVIDERS).encode_passages(TEXTS))["min_cosine"] > 0.9999


@pytest.mark.parametrize("batch_size", [1, 8])
@pytest.mark.parametrize(("file_name", "least"), [(MODEL, 0.9999), (INT8_MODEL, 0.95)])
def test_vectors_equal_those_of_torch(exported, reference, file_name, least, batch_size):
    vectors = OnnxEncoder(exported, file_name, threads=2).encode(TEXTS, batch_size=batch_size)
    assert vectors.dtype == np.float32 and vectors.shape == reference.shape
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert parity(reference, vectors)["min_cosine"] >= least


def test_long_text_is_cut_at_the_longest_input(exported):
    encoder = OnnxEncoder(exported, threads=2)
    assert len(encoder.tokenizer.encode(VERY_LONG).ids) == BASE_MODEL.max_tokens
    whole, tail_changed = encoder.encode([VERY_LONG, VERY_LONG + "Nobody reads this far."])
    assert np.array_equal(whole, tail_changed)


def test_slips_of_whoever_encodes_are_told(exported, tmp_path):
    encoder = OnnxEncoder(str(exported), threads=2)
    for encode in (encoder.encode, encoder.encode_queries, encoder.encode_passages):
        with pytest.raises(TypeError, match="a list of texts"):
            encode("NOX-48213")
    for folder, name in ((tmp_path, "model.onnx"), (exported, "model_int4.onnx"), (tmp_path / "nowhere", "model.onnx")):
        with pytest.raises(FileNotFoundError, match=rf"has no onnx/{name} .*embed-assets path NAME onnx_model"):
            OnnxEncoder(folder, name)


def test_prompt_is_put_in_front(exported):
    with_prompt = OnnxEncoder(exported, threads=2).encode(TEXTS[:3], prompt="query: ")
    assert np.allclose(with_prompt, OnnxEncoder(exported, threads=2).encode([f"query: {text}" for text in TEXTS[:3]]), atol=1e-6)


def test_no_text_is_refused(exported):
    with pytest.raises(ValueError, match="no text"):
        OnnxEncoder(exported).encode([])


def test_encoding_needs_only_onnxruntime_and_tokenizers(exported):
    program = (
        "import sys; from pathlib import Path; from embed_assets.models.onnx import OnnxEncoder\n"
        f"print(OnnxEncoder(Path({str(exported)!r}), {INT8_MODEL!r}, threads=2).encode(['one', 'two words']).shape)\n"
        "assert not {'torch', 'transformers', 'sentence_transformers', 'onnx'} & set(sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert run.stdout == "(2, 384)\n"


def test_folder_has_the_layout_of_sentence_transformers_without_weights(exported):
    names = {path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file()}
    assert {"modules.json", "config.json", "sentence_bert_config.json", "1_Pooling/config.json", "tokenizer_config.json"} <= names
    assert {Path(name).suffix for name in names} == {".json", ".onnx"}


def test_onnx_files_tell_nothing_of_this_machine(exported):
    for path in (exported / "onnx").iterdir():
        assert b"site-packages" not in path.read_bytes()


def test_parity_needs_equal_shapes():
    close = parity(np.eye(2), np.array([[2.0, 0.0], [1.0, 1.0]]))
    assert close == pytest.approx({"min_cosine": 0.5**0.5, "mean_cosine": (1 + 0.5**0.5) / 2})
    with pytest.raises(ValueError, match="shapes"):
        parity(np.eye(2), np.eye(3))


RERANKER = RerankerSettings(max_tokens=64)
PAIRS = [(query, passage) for query in (*TEXTS[:4], VERY_LONG) for passage in TEXTS]


@pytest.fixture(scope="module")
def cross_encoder(tmp_path_factory) -> Path:
    """A cross-encoder with a new head, whose scores are spread out as those of a trained one are."""
    import torch

    torch.manual_seed(13)
    model = load_cross_encoder(BASE_MODEL.name, "cpu", RERANKER.max_tokens, new_head=True)
    with torch.no_grad():
        model.model.classifier.weight *= 30
    folder = tmp_path_factory.mktemp("cross_encoder")
    model.save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="module")
def exported_reranker(cross_encoder, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("onnx_reranker")
    files = export_onnx_reranker(cross_encoder, folder, RERANKER, ExportSettings())
    assert files == [folder / "onnx" / MODEL, folder / "onnx" / INT8_MODEL]
    return folder


def test_scores_of_the_re_ranker_equal_those_of_torch(cross_encoder, exported_reranker):
    found = check_reranker_parity(cross_encoder, exported_reranker, RERANKER, PAIRS)
    assert np.ptp(OnnxReranker(exported_reranker, threads=2).score(PAIRS)) > 0.5
    assert found[MODEL]["max_difference"] < 1e-4
    assert found[INT8_MODEL]["correlation"] > 0.95
    assert 3 < found[MODEL]["megabytes"] / found[INT8_MODEL]["megabytes"] < 5


def test_parity_notices_another_model(cross_encoder, exported_reranker, tmp_path):
    model = load_cross_encoder(str(cross_encoder), "cpu", RERANKER.max_tokens)
    model.model.classifier.bias.data += 0.1
    model.save_pretrained(str(tmp_path))
    found = check_reranker_parity(tmp_path, exported_reranker, RERANKER, PAIRS)
    assert found[MODEL]["max_difference"] == pytest.approx(0.1, abs=1e-3)


def test_re_ranking_needs_only_onnxruntime_and_tokenizers(exported_reranker):
    program = (
        "import sys; from pathlib import Path; from embed_assets.models.onnx import OnnxReranker\n"
        f"reranker = OnnxReranker(Path({str(exported_reranker)!r}), {INT8_MODEL!r}, threads=2)\n"
        "print(reranker.score([('one', 'two words'), ('a longer query', 'three')]).shape, reranker.score([]).shape)\n"
        "assert not {'torch', 'transformers', 'sentence_transformers', 'onnx'} & set(sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert run.stdout == "(2,) (0,)\n"
