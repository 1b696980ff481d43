"""ONNX files of an embedding model or a re-ranker."""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from embed_assets.models.encoders import load_sentence_transformer
from embed_assets.models.onnx import FP16_MODEL, INT8_MODEL, LAST_LAYER, MODEL, TOKEN_VECTORS
from embed_assets.models.prompts import with_prompts
from embed_assets.models.rerankers import load_cross_encoder
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.token_projection import TOKENS, layers_for_tokens, load_projection, token_vectors
from embed_assets.training.settings import ExportSettings, RerankerSettings

if TYPE_CHECKING:
    import torch
    from sentence_transformers import CrossEncoder, SentenceTransformer
    from sentence_transformers.base.modules import Dense


# Bytes of weights; a file of protobuf has less than 2^31, with its graph.
LARGEST_FILE = 1.9e9


def export_onnx(model_folder: Path, folder: Path, base_model: BaseModelSettings, settings: ExportSettings) -> list[Path]:
    """Write a sentence-transformers model as ONNX, in float32 and, if the settings ask for it, in float16 and int8.

    Args:
        model_folder: the sentence-transformers model.
        folder: gets the ONNX files in onnx/, the tokenizer and the configuration, but no weights of the transformer.
        base_model: longest input in tokens, prompts.
        settings: operator set and quantization.

    Returns:
        The ONNX files. Inputs are int64, (texts, tokens); the outputs ``sentence_embedding``, (texts, dimensions), and
        ``last_hidden_state``, (texts, tokens, hidden size), are float32; so is ``token_vectors``, (texts, tokens, their
        dimensions), where a projection comes between the last layer and late interaction. Weights of more than 2 GB lie
        beside their file.

    Raises:
        ValueError: the model has no tokenizer that works without transformers, or keeps the prompt out of its pooling.
    """
    model = load_sentence_transformer(base_model, device="cpu", name=str(model_folder)).float().eval()
    _check_tokenizer(model, model_folder)
    base_model = with_prompts(base_model, str(model_folder))
    prompts = base_model.query_prompt or base_model.passage_prompt
    if prompts and not all(getattr(part, "include_prompt", True) for part in model):
        raise ValueError(f"{model_folder}: its pooling leaves out the prompt, which ONNX files cannot do")
    projection = load_projection(model_folder)
    projections = [projection] if projection is not None else layers_for_tokens(model)
    outputs = [LAST_LAYER, "sentence_embedding", *([TOKEN_VECTORS] if projections else [])]
    graph = _graph(model, partial(_tokens_and_embedding, projections), projections)
    return _write_files(model, graph, outputs, folder, settings)


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
        halve(files[0], files[-1])
    if settings.int8:
        files.append(folder / "onnx" / INT8_MODEL)
        quantize(files[0], files[-1], settings.per_channel)
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
    model: "SentenceTransformer | CrossEncoder",
    outputs: "Callable[[dict[str, torch.Tensor]], tuple[torch.Tensor, ...]]",
    more: "Sequence[torch.nn.Module]" = (),
) -> "torch.nn.Module":
    """The model from tokens to those of its features that become outputs of the graph; ``more`` are layers beside it."""
    import torch

    class Graph(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model
            self.more = torch.nn.ModuleList(more)

        def forward(self, input_ids, attention_mask, token_type_ids=None):
            features = {"input_ids": input_ids, "attention_mask": attention_mask}
            if token_type_ids is not None:
                features["token_type_ids"] = token_type_ids
            return outputs(self.model(features))

    return Graph().eval()


def _tokens_and_embedding(projections: "Sequence[Dense]", features: "dict[str, torch.Tensor]") -> "tuple[torch.Tensor, ...]":
    """sentence-transformers' own ONNX backend pools the tokens itself: the first output, last_hidden_state."""
    import torch

    outputs = (features[TOKENS], torch.nn.functional.normalize(features["sentence_embedding"], dim=-1))
    if not projections:
        return outputs
    return *outputs, torch.nn.functional.normalize(token_vectors(features, projections), dim=-1)


def _logits(features: "dict[str, torch.Tensor]") -> "tuple[torch.Tensor]":
    return (features["scores"].reshape(-1, 1),)


def halve(source: Path, target: Path) -> None:
    """Write an ONNX file anew with weights and sums in float16; inputs and outputs stay as they are."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with _quiet():
        # By its name, since one of more than 2 GB cannot be handed over.
        half = convert_float_to_float16(str(source), keep_io_types=True)
        beside = size_with_weights(source) / 2 > LARGEST_FILE
        onnx.save(half, target, save_as_external_data=beside, location=f"{target.name}.data")


def quantize(source: Path, target: Path, per_channel: bool) -> None:
    """Write an ONNX file anew with the weights of products and embeddings in int8."""
    from onnxruntime.quantization import quantize_dynamic

    with _quiet():
        quantize_dynamic(
            source,
            target,
            # By default it also takes the Attention of opset 23 for an older operator of that name, and writes an invalid graph.
            op_types_to_quantize=["Gather", "MatMul"],
            per_channel=per_channel,
            use_external_data_format=size_with_weights(source) / 4 > LARGEST_FILE,
        )


def size_with_weights(path: Path) -> int:
    """Bytes of an ONNX file with its weights, which lie in a file beside it if they are more than 2 GB."""
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))


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
