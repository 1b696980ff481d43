"""Encoding against sentence-transformers as it is, and the exported models."""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from embed_assets.models.encoders import Encoder
from embed_assets.models.hardware import Compute
from embed_assets.models.lengths import PASSAGE, as_task, set_lengths
from embed_assets.models.locations import locate_model
from embed_assets.models.onnx import OnnxEncoder
from embed_assets.models.onnx_session import PROVIDERS
from embed_assets.models.prompts import prompt_of, with_prompts
from embed_assets.models.settings import BaseModelSettings


def benchmark_encoding(
    passages: Sequence[str], base_model: BaseModelSettings, exported: Path | None = None, compute: Compute = Compute()
) -> pl.DataFrame:
    """Passages per second of the encoder, none of them kept from before, and of an exported model.

    Sentence-transformers keeps its defaults, among them float32. Each way has loaded its model and encoded some texts before.

    Args:
        passages: what is encoded.
        base_model: the model, its length and its prompts.
        exported: folder of an onnx_model, which has the size of the base model.
        compute: device, dtype and batch size of the encoder.

    Returns:
        ``system``, ``texts``, ``seconds``, ``texts_per_second`` and their ``ratio`` to those of sentence-transformers.
    """
    from sentence_transformers import SentenceTransformer

    base_model = with_prompts(base_model)
    plain = SentenceTransformer(
        str(locate_model(base_model.name)),
        device=compute.torch_device(),
        trust_remote_code=base_model.trust_remote_code,
        revision=base_model.revision or None,
    )
    set_lengths(plain, base_model)
    options = {"normalize_embeddings": True, "show_progress_bar": False} | as_task(base_model, PASSAGE)
    with tempfile.TemporaryDirectory() as memos:
        encoder = Encoder(base_model, Path(memos), compute=compute)
        ways: dict[str, Callable[[Sequence[str]], object]] = {
            "sentence-transformers": lambda texts: plain.encode(list(texts), prompt=prompt_of(base_model, PASSAGE), **options),
            "encoder": encoder.encode_passages,
        }
        for path in sorted((exported / "onnx").glob("*.onnx")) if exported is not None else ():
            ways[f"onnxruntime, {path.name}"] = OnnxEncoder(path.parents[1], path.name, providers=PROVIDERS).encode_passages
        rows = []
        for system, encode in ways.items():
            encode(["A text that warms up."])
            started = time.perf_counter()
            encode(passages)
            rows.append({"system": system, "texts": len(passages), "seconds": time.perf_counter() - started})
    return pl.DataFrame(rows).select(
        "system",
        "texts",
        pl.col("seconds").round(1),
        texts_per_second=(pl.col("texts") / pl.col("seconds")).round(1),
        ratio=(pl.col("seconds").first() / pl.col("seconds")).round(2),
    )
