"""ONNX files of an embedding model or a re-ranker: written with torch, read with onnxruntime and tokenizers alone.

The folder has the layout of sentence-transformers' ``backend="onnx"``. The graph holds the whole model,
pooling and normalization included, so other runtimes get finished vectors from ``sentence_embedding``; that of a
re-ranker gives ``logits``.
"""

import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from embed_assets.models.encoders import load_sentence_transformer
from embed_assets.models.rerankers import load_cross_encoder
from embed_assets.progress import track
from embed_assets.settings import BaseModelSettings, ExportSettings, RerankerSettings

if TYPE_CHECKING:
    import torch
    from sentence_transformers import CrossEncoder, SentenceTransformer

MODEL = "model.onnx"
FP16_MODEL = "model_fp16.onnx"
INT8_MODEL = "model_int8.onnx"
# Fastest first; onnxruntime takes those that its build and the machine have.
PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")


def export_onnx(model_folder: Path, folder: Path, base_model: BaseModelSettings, settings: ExportSettings) -> list[Path]:
    """Write a sentence-transformers model as ONNX, in float32 and, if the settings ask for it, in float16 and int8.

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
    _check_tokenizer(model, model_folder)
    prompts = base_model.query_prompt or base_model.passage_prompt
    if prompts and not all(getattr(part, "include_prompt", True) for part in model):
        raise ValueError(f"{model_folder}: its pooling leaves out the prompt, which ONNX files cannot do")
    return _write_files(
        model, _graph(model, _tokens_and_embedding), ["last_hidden_state", "sentence_embedding"], folder, settings
    )


def export_onnx_reranker(model_folder: Path, folder: Path, reranker: RerankerSettings, settings: ExportSettings) -> list[Path]:
    """Write a cross-encoder as ONNX, in float32 and, if the settings ask for it, in float16 and int8.

    Args:
        model_folder: the cross-encoder.
        folder: gets the ONNX files in onnx/, the tokenizer and the configuration, but no weights of the transformer.
        reranker: longest input in tokens.
        settings: operator set and quantization.

    Returns:
        The ONNX files. Inputs are int64, (pairs, tokens); the output ``logits``, (pairs, 1), is float32. Weights of
        more than 2 GB lie beside their file.

    Raises:
        ValueError: the model has no tokenizer that works without transformers.
    """
    model = load_cross_encoder(str(model_folder), "cpu", reranker.max_tokens, reranker.trust_remote_code).float().eval()
    _check_tokenizer(model, model_folder)
    return _write_files(model, _graph(model, _logits), ["logits"], folder, settings)


def _check_tokenizer(model: "SentenceTransformer | CrossEncoder", model_folder: Path) -> None:
    if not getattr(model.tokenizer, "is_fast", False):
        raise ValueError(f"{model_folder}: only a model of text with a fast tokenizer can be exported")


def _write_files(
    model: "SentenceTransformer | CrossEncoder",
    pipeline: "torch.nn.Module",
    outputs: list[str],
    folder: Path,
    settings: ExportSettings,
) -> list[Path]:
    files = [folder / "onnx" / MODEL]
    files[0].parent.mkdir(parents=True, exist_ok=True)
    _write_graph(model, pipeline, outputs, files[0], settings.opset)
    if settings.fp16:
        files.append(folder / "onnx" / FP16_MODEL)
        _halve(files[0], files[-1])
    if settings.int8:
        files.append(folder / "onnx" / INT8_MODEL)
        _quantize(files[0], files[-1], settings.per_channel)
    _write_configuration(model, folder)
    return files


def _write_graph(
    model: "SentenceTransformer | CrossEncoder", pipeline: "torch.nn.Module", outputs: list[str], path: Path, opset: int
) -> None:
    import torch
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    # Two texts, because torch.export takes a dimension of 1 for a constant.
    example = model.tokenizer(["a text", "another, longer text"], padding=True, return_tensors="pt")
    names = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in example]
    axes = {0: torch.export.Dim("texts"), 1: torch.export.Dim("tokens", max=model.max_seq_length)}
    with _quiet():
        program = torch.onnx.export(
            pipeline,
            kwargs={name: example[name] for name in names},
            input_names=names,
            output_names=outputs,
            dynamic_shapes=dict.fromkeys(names, axes),
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    # Stack traces of this machine would make the same model another file elsewhere.
    ClearMetadataAndDocStringPass()(program.model)
    program.save(path)


def _graph(
    model: "SentenceTransformer | CrossEncoder", outputs: "Callable[[dict[str, torch.Tensor]], tuple[torch.Tensor, ...]]"
) -> "torch.nn.Module":
    """The model from tokens to those of its features that become outputs of the graph."""
    import torch

    class Graph(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, input_ids, attention_mask, token_type_ids=None):
            features = {"input_ids": input_ids, "attention_mask": attention_mask}
            if token_type_ids is not None:
                features["token_type_ids"] = token_type_ids
            return outputs(self.model(features))

    return Graph().eval()


def _tokens_and_embedding(features: "dict[str, torch.Tensor]") -> "tuple[torch.Tensor, torch.Tensor]":
    """sentence-transformers' own ONNX backend pools the tokens itself: the first output, last_hidden_state."""
    import torch

    return features["token_embeddings"], torch.nn.functional.normalize(features["sentence_embedding"], dim=-1)


def _logits(features: "dict[str, torch.Tensor]") -> "tuple[torch.Tensor]":
    return (features["scores"].reshape(-1, 1),)


def _halve(path: Path, half_path: Path) -> None:
    """Weights and sums in float16; inputs and outputs stay as they are."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with _quiet():
        onnx.save(convert_float_to_float16(onnx.load(path), keep_io_types=True), half_path)


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


def _write_configuration(model: "SentenceTransformer | CrossEncoder", folder: Path) -> None:
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


class _OnnxModel:
    """A tokenizer and an ONNX file in a folder that export_onnx or export_onnx_reranker wrote."""

    def __init__(self, folder: Path, file_name: str = MODEL, threads: int = 0, providers: Sequence[str] = PROVIDERS[-1:]):
        import onnxruntime
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        there = [provider for provider in providers if provider in onnxruntime.get_available_providers()]
        self.session = onnxruntime.InferenceSession(folder / "onnx" / file_name, options, providers=there)

    def _run_all(
        self, inputs: Sequence[str] | Sequence[tuple[str, str]], lengths: Sequence[int], output: str, batch_size: int, what: str
    ) -> np.ndarray:
        # Inputs of like length share a batch, so that there is little padding.
        order = sorted(range(len(inputs)), key=lambda row: -lengths[row])
        batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        blocks = [self._run([inputs[row] for row in rows], output) for rows in track(batches, what)]
        return np.concatenate(blocks)[np.argsort(order)]

    def _run(self, inputs: list[str] | list[tuple[str, str]], output: str) -> np.ndarray:
        encodings = self.tokenizer.encode_batch(inputs)
        features = {
            "input_ids": [encoding.ids for encoding in encodings],
            "attention_mask": [encoding.attention_mask for encoding in encodings],
            "token_type_ids": [encoding.type_ids for encoding in encodings],
        }
        fed = {given.name: np.array(features[given.name], dtype=np.int64) for given in self.session.get_inputs()}
        return self.session.run([output], fed)[0]


class OnnxEncoder(_OnnxModel):
    """Encodes texts with an exported model; needs neither torch nor transformers.

    In int8 the vector of a text depends a little on the texts in its batch, which share one scale.

    Args:
        folder: what export_onnx wrote; the prompts are read from it.
        file_name: model.onnx, model_fp16.onnx or model_int8.onnx.
        threads: number of threads; 0 leaves the choice to onnxruntime.
        providers: where to compute, best first: the CPU, or PROVIDERS to use TensorRT or CUDA where they are.
    """

    def __init__(self, folder: Path, file_name: str = MODEL, threads: int = 0, providers: Sequence[str] = PROVIDERS[-1:]):
        super().__init__(folder, file_name, threads, providers)
        self.prompts = json.loads((folder / "config_sentence_transformers.json").read_text(encoding="utf-8"))["prompts"]

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
        prompted = [prompt + text for text in texts]
        return self._run_all(prompted, [*map(len, texts)], "sentence_embedding", batch_size, f"encoding {len(texts)} texts")


class OnnxReranker(_OnnxModel):
    """Scores pairs with an exported re-ranker; needs neither torch nor transformers.

    Args:
        folder: what export_onnx_reranker wrote.
        file_name: model.onnx, model_fp16.onnx or model_int8.onnx.
        threads: number of threads; 0 leaves the choice to onnxruntime.
        providers: where to compute, best first: the CPU, or PROVIDERS to use TensorRT or CUDA where they are.
    """

    def score(self, pairs: Sequence[tuple[str, str]], batch_size: int = 32) -> np.ndarray:
        """Scores of (query, passage) pairs, float32, shape (len(pairs),): logits, as those of Reranker."""
        if not pairs:
            return np.empty(0, dtype=np.float32)
        lengths = [len(query) + len(passage) for query, passage in pairs]
        return self._run_all(pairs, lengths, "logits", batch_size, f"re-ranking {len(pairs)} pairs")[:, 0]


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
        For each ONNX file its least and mean cosine to torch, its size in megabytes (10^6 bytes), the texts per second
        that it encodes on the CPU, and their ratio to torch's in float32, measured here.
    """
    model = load_sentence_transformer(base_model, "cpu", str(model_folder))

    def encode_with_torch(texts: Sequence[str]) -> np.ndarray:
        return model.encode(list(texts), prompt=base_model.passage_prompt, normalize_embeddings=True, show_progress_bar=False)

    reference, torch_seconds = _timed(encode_with_torch, texts)
    files = {}
    for path in sorted((folder / "onnx").glob("*.onnx")):
        vectors, seconds = _timed(OnnxEncoder(folder, path.name).encode_passages, texts)
        files[path.name] = parity(reference, vectors) | {
            "megabytes": _megabytes(path),
            "texts_per_second": round(len(texts) / seconds, 1),
            "ratio_to_torch": round(torch_seconds / seconds, 2),
        }
    return files


def _timed(encode: Callable[[Sequence[str]], np.ndarray], texts: Sequence[str]) -> tuple[np.ndarray, float]:
    encode(texts[:1])
    started = time.perf_counter()
    return encode(texts), time.perf_counter() - started


def check_reranker_parity(
    model_folder: Path, folder: Path, reranker: RerankerSettings, pairs: Sequence[tuple[str, str]]
) -> dict[str, dict[str, float]]:
    """Compare the exported files of a re-ranker with torch in float32.

    Args:
        model_folder: the cross-encoder.
        folder: what export_onnx_reranker wrote.
        reranker: longest input in tokens.
        pairs: real queries and passages.

    Returns:
        For each ONNX file the largest and the mean absolute difference to torch's scores (logits), the correlation
        with them, and its size in megabytes (10^6 bytes).
    """
    import torch

    model = load_cross_encoder(str(model_folder), "cpu", reranker.max_tokens, reranker.trust_remote_code).float()
    reference = model.predict(list(pairs), activation_fn=torch.nn.Identity(), show_progress_bar=False)
    files = {}
    for path in sorted((folder / "onnx").glob("*.onnx")):
        scores = OnnxReranker(folder, path.name).score(pairs)
        differences = np.abs(scores - reference)
        files[path.name] = {
            "max_difference": round(float(differences.max()), 7),
            "mean_difference": round(float(differences.mean()), 7),
            "correlation": round(float(np.corrcoef(scores, reference)[0, 1]), 7),
            "megabytes": _megabytes(path),
        }
    return files


def _megabytes(path: Path) -> float:
    """Size of a model with its weights, which lie in a file of their own beside it if they are more than 2 GB."""
    return round(sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*")) / 1e6, 1)


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
