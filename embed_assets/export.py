"""ONNX files of an embedding model: written with torch, read with onnxruntime and tokenizers alone.

The folder has the layout of sentence-transformers' ``backend="onnx"``. The graph holds the whole model,
pooling and normalization included, so other runtimes get finished vectors from ``sentence_embedding``.
"""

import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from embed_assets.models.encoders import load_sentence_transformer
from embed_assets.progress import track
from embed_assets.settings import BaseModelSettings, ExportSettings

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

MODEL = "model.onnx"
INT8_MODEL = "model_int8.onnx"


def export_onnx(model_folder: Path, folder: Path, base_model: BaseModelSettings, settings: ExportSettings) -> list[Path]:
    """Write a sentence-transformers model as ONNX, in float32 and, if the settings ask for it, in int8.

    Args:
        model_folder: the sentence-transformers model.
        folder: gets the ONNX files in onnx/, the tokenizer and the configuration, but no weights of the transformer.
        base_model: longest input in tokens, prompts.
        settings: operator set and quantization.

    Returns:
        The ONNX files. Inputs are int64, (texts, tokens); the outputs ``sentence_embedding``, (texts, dimensions), and
        ``last_hidden_state``, (texts, tokens, hidden size), are float32. Weights of more than 2 GB lie beside their file.

    Raises:
        ValueError: the model has no tokenizer that works without transformers, or keeps the prompt out of its pooling.
    """
    model = load_sentence_transformer(base_model, device="cpu", name=str(model_folder)).float().eval()
    if not getattr(model.tokenizer, "is_fast", False):
        raise ValueError(f"{model_folder}: only a model of text with a fast tokenizer can be exported")
    prompts = base_model.query_prompt or base_model.passage_prompt
    if prompts and not all(getattr(part, "include_prompt", True) for part in model):
        raise ValueError(f"{model_folder}: its pooling leaves out the prompt, which ONNX files cannot do")
    files = [folder / "onnx" / MODEL]
    files[0].parent.mkdir(parents=True, exist_ok=True)
    _write_graph(model, files[0], settings.opset)
    if settings.int8:
        files.append(folder / "onnx" / INT8_MODEL)
        _quantize(*files, per_channel=settings.per_channel)
    _write_configuration(model, folder)
    return files


def _write_graph(model: "SentenceTransformer", path: Path, opset: int) -> None:
    import torch
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    # Two texts, because torch.export takes a dimension of 1 for a constant.
    example = model.tokenizer(["a text", "another, longer text"], padding=True, return_tensors="pt")
    names = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in example]
    axes = {0: torch.export.Dim("texts"), 1: torch.export.Dim("tokens", max=model.max_seq_length)}
    with _quiet():
        program = torch.onnx.export(
            _whole_pipeline(model),
            kwargs={name: example[name] for name in names},
            input_names=names,
            output_names=["last_hidden_state", "sentence_embedding"],
            dynamic_shapes=dict.fromkeys(names, axes),
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    # Stack traces of this machine would make the same model another file elsewhere.
    ClearMetadataAndDocStringPass()(program.model)
    program.save(path)


def _whole_pipeline(model: "SentenceTransformer") -> "torch.nn.Module":
    import torch

    class Pipeline(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, input_ids, attention_mask, token_type_ids=None):
            features = {"input_ids": input_ids, "attention_mask": attention_mask}
            if token_type_ids is not None:
                features["token_type_ids"] = token_type_ids
            features = self.model(features)
            # sentence-transformers' own ONNX backend pools the tokens itself: the first output, last_hidden_state.
            return features["token_embeddings"], torch.nn.functional.normalize(features["sentence_embedding"], dim=-1)

    return Pipeline().eval()


def _quantize(source: Path, target: Path, per_channel: bool) -> None:
    from onnxruntime.quantization import quantize_dynamic

    with _quiet():
        # By default it also takes the Attention of opset 23 for an older operator of that name, and writes an invalid graph.
        quantize_dynamic(source, target, op_types_to_quantize=["Gather", "MatMul"], per_channel=per_channel)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what the exporter and the quantizer say of a missing torchvision, axis names and every single tensor."""
    levels = {logging.getLogger(name): logging.getLogger(name).level for name in ("torch.onnx", "onnxscript", "onnx_ir")}
    for logger in levels:
        logger.setLevel(logging.ERROR)
    # The quantizer logs with logging.info(), which would set up a root logger that has no handler.
    root, handler = logging.getLogger(), logging.NullHandler()
    root.addHandler(handler)
    root.addFilter(_is_error)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeFilter(_is_error)
        root.removeHandler(handler)
        for logger, level in levels.items():
            logger.setLevel(level)


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def _write_configuration(model: "SentenceTransformer", folder: Path) -> None:
    from tokenizers import Tokenizer

    transformer = model[0].model
    # The ONNX file holds the weights: of the transformer, only the configuration is saved.
    transformer.save_pretrained = lambda path, **_: transformer.config.save_pretrained(path)
    model.save_pretrained(str(folder), create_model_card=False)

    # Truncation and padding in the file are those of the tokenizer's last use; here they are what the model needs.
    source = model.tokenizer
    tokenizer = Tokenizer.from_str(source.backend_tokenizer.to_str())
    tokenizer.enable_truncation(model.max_seq_length, direction=source.truncation_side)
    tokenizer.enable_padding(
        direction=source.padding_side,
        pad_id=source.pad_token_id,
        pad_type_id=source.pad_token_type_id,
        pad_token=source.pad_token,
    )
    tokenizer.save(str(folder / "tokenizer.json"))


class OnnxEncoder:
    """Encodes texts on the CPU with an exported model; needs neither torch nor transformers.

    In int8 the vector of a text depends a little on the texts in its batch, which share one scale.

    Args:
        folder: what export_onnx wrote; the prompts are read from it.
        file_name: model.onnx or model_int8.onnx.
        threads: number of threads; 0 leaves the choice to onnxruntime.
    """

    def __init__(self, folder: Path, file_name: str = MODEL, threads: int = 0):
        import onnxruntime
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.prompts = json.loads((folder / "config_sentence_transformers.json").read_text(encoding="utf-8"))["prompts"]
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.session = onnxruntime.InferenceSession(folder / "onnx" / file_name, options, providers=["CPUExecutionProvider"])

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors of queries, float32, shape (len(texts), dimensions)."""
        return self.encode(texts, self.prompts.get("query", ""))

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors of passages, float32, shape (len(texts), dimensions)."""
        return self.encode(texts, self.prompts.get("document", ""))

    def encode(self, texts: Sequence[str], prompt: str = "", batch_size: int = 32) -> np.ndarray:
        """Unit vectors, float32, shape (len(texts), dimensions).

        Raises:
            ValueError: there is no text.
        """
        if not texts:
            raise ValueError("there is no text to encode")
        # Texts of like length share a batch, so that there is little padding.
        order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
        batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        progress = track(batches, f"encoding {len(texts)} texts")
        blocks = [self._run([prompt + texts[row] for row in rows]) for rows in progress]
        return np.concatenate(blocks)[np.argsort(order)]

    def _run(self, texts: list[str]) -> np.ndarray:
        encodings = self.tokenizer.encode_batch(texts)
        features = {
            "input_ids": [encoding.ids for encoding in encodings],
            "attention_mask": [encoding.attention_mask for encoding in encodings],
            "token_type_ids": [encoding.type_ids for encoding in encodings],
        }
        inputs = {given.name: np.array(features[given.name], dtype=np.int64) for given in self.session.get_inputs()}
        return self.session.run(["sentence_embedding"], inputs)[0]


def check_parity(
    model_folder: Path, folder: Path, base_model: BaseModelSettings, texts: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Compare the exported files with torch in float32.

    Args:
        model_folder: the sentence-transformers model.
        folder: what export_onnx wrote.
        base_model: longest input in tokens, prompts.
        texts: real passages.

    Returns:
        For each ONNX file its least and mean cosine to torch, and its size in megabytes (10^6 bytes).
    """
    model = load_sentence_transformer(base_model, "cpu", str(model_folder))
    reference = model.encode(list(texts), prompt=base_model.passage_prompt, normalize_embeddings=True, show_progress_bar=False)
    return {
        path.name: parity(reference, OnnxEncoder(folder, path.name).encode_passages(texts))
        | {"megabytes": round(path.stat().st_size / 1e6, 1)}
        for path in sorted((folder / "onnx").glob("*.onnx"))
    }


def parity(reference: np.ndarray, candidate: np.ndarray) -> dict[str, float]:
    """How close two encoders are: least and mean cosine of corresponding rows of two arrays (texts, dimensions).

    Raises:
        ValueError: the shapes differ.
    """
    if reference.shape != candidate.shape:
        raise ValueError(f"cannot compare arrays of shapes {reference.shape} and {candidate.shape}")
    a, b = reference.astype(np.float64), candidate.astype(np.float64)
    cosines = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return {"min_cosine": round(float(cosines.min()), 7), "mean_cosine": round(float(cosines.mean()), 7)}
