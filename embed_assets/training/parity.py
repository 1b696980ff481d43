"""Whether an exported model says what torch says, and how fast."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from embed_assets.models.encoders import load_sentence_transformer, normalized
from embed_assets.models.hardware import Compute
from embed_assets.models.lengths import PASSAGE, as_task
from embed_assets.models.onnx import OnnxEncoder, OnnxReranker
from embed_assets.models.prompts import prompt_of, with_prompts
from embed_assets.models.rerankers import load_cross_encoder
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.token_encoder import TokenEncoder
from embed_assets.training.export import size_with_weights
from embed_assets.training.settings import RerankerSettings

# How many texts are compared token by token, one at a time, as search does with a query.
TEXTS_BY_TOKENS = 20


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
        For each ONNX file its least and mean cosine to torch, the least one of the vectors of tokens where it gives them, its
        size in megabytes (10^6 bytes), the texts per second that it encodes on the CPU, and their ratio to torch's in float32,
        measured here.
    """
    base_model = with_prompts(base_model, str(model_folder))
    # A model from elsewhere may be stored in less than float32.
    model = load_sentence_transformer(base_model, "cpu", str(model_folder)).float()

    def encode_with_torch(texts: Sequence[str]) -> np.ndarray:
        options = {"normalize_embeddings": True, "show_progress_bar": False} | as_task(base_model, PASSAGE)
        return model.encode(list(texts), prompt=prompt_of(base_model, PASSAGE), **options)

    reference, torch_seconds = _timed(encode_with_torch, texts)
    queries = texts[:TEXTS_BY_TOKENS]
    tokens = TokenEncoder(base_model, str(model_folder), Compute("cpu", dtype="float32"))
    files: dict[str, dict[str, float]] = {}
    for path in sorted((folder / "onnx").glob("*.onnx")):
        exported = OnnxEncoder(folder, path.name)
        vectors, seconds = _timed(exported.encode_passages, texts)
        files[path.name] = parity(reference, vectors)
        if exported.tokens:
            of_torch = np.concatenate([of_text.numpy() for of_text in tokens.encode_queries(queries)])
            of_file = np.concatenate([exported.encode_query_tokens(query) for query in queries])
            files[path.name] |= {"min_cosine_of_tokens": parity(of_torch, of_file)["min_cosine"]}
        files[path.name] |= {
            "megabytes": round(size_with_weights(path) / 1e6, 1),
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
            "megabytes": round(size_with_weights(path) / 1e6, 1),
        }
    return files


def parity(reference: np.ndarray, candidate: np.ndarray) -> dict[str, float]:
    """How close two encoders are: least and mean cosine of corresponding rows of two arrays (texts, dimensions).

    Raises:
        ValueError: the shapes differ.
    """
    if reference.shape != candidate.shape:
        raise ValueError(f"cannot compare arrays of shapes {reference.shape} and {candidate.shape}")
    cosines = (normalized(reference.astype(np.float64)) * normalized(candidate.astype(np.float64))).sum(axis=1)
    return {"min_cosine": round(float(cosines.min()), 7), "mean_cosine": round(float(cosines.mean()), 7)}
