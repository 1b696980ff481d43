"""Exported models, run by onnxruntime and tokenizers alone: no torch is imported."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from embed_assets.models.encoders import normalized
from embed_assets.models.lengths import PASSAGE, QUERY
from embed_assets.models.onnx_session import CPU, MOST_TEXTS, TENSORRT, open_session
from embed_assets.progress import track

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MODEL = "model.onnx"
FP16_MODEL = "model_fp16.onnx"
INT8_MODEL = "model_int8.onnx"
# Outputs: the vectors of tokens where something projects them, and those of the last layer.
TOKEN_VECTORS, LAST_LAYER = "token_vectors", "last_hidden_state"


class _OnnxModel:
    """A tokenizer and an ONNX file in a folder that export_onnx or export_onnx_reranker wrote."""

    def __init__(self, folder: Path | str, file_name: str = MODEL, threads: int = 0, providers: Sequence[str] = (CPU,)):
        from tokenizers import Tokenizer

        self.folder = folder = Path(folder)
        if not (folder / "onnx" / file_name).is_file():
            there = ", ".join(sorted(path.name for path in folder.glob("onnx/*.onnx"))) or "none"
            raise FileNotFoundError(
                f"{folder} has no onnx/{file_name} (there: {there}): 'embed-assets path NAME onnx_model' prints the folder of one"
            )
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        longest = (self.tokenizer.truncation or {})["max_length"]
        self.session = open_session(folder / "onnx" / file_name, longest, threads, providers)
        self._most = MOST_TEXTS if TENSORRT in self.session.get_providers() else None

    def _run_all(
        self,
        inputs: Sequence[str] | Sequence[tuple[str, str]],
        lengths: Sequence[int],
        output: str,
        batch_size: int,
        what: str,
        tokenizer: "Tokenizer",
    ) -> np.ndarray:
        batch_size = min(batch_size, self._most or batch_size)
        # Inputs of like length share a batch, so that there is little padding.
        order = sorted(range(len(inputs)), key=lambda row: -lengths[row])
        batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        blocks = [self._run([inputs[row] for row in rows], output, tokenizer) for rows in track(batches, what)]
        return np.concatenate(blocks)[np.argsort(order)]

    def _run(self, inputs: Sequence[str | tuple[str, str]], output: str, tokenizer: "Tokenizer") -> np.ndarray:
        encodings = tokenizer.encode_batch(inputs)
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
        file_name: model.onnx, model_fp16.onnx, or model_int8.onnx if the check int8_holds of onnx_model says that it will do.
        threads: number of threads; 0 leaves the choice to onnxruntime.
        providers: where to compute, best first: the CPU, or PROVIDERS to use TensorRT or CUDA where they are.

    Raises:
        FileNotFoundError: there is no such file in the folder.
    """

    def __init__(self, folder: Path | str, file_name: str = MODEL, threads: int = 0, providers: Sequence[str] = (CPU,)):
        super().__init__(folder, file_name, threads, providers)
        folder = self.folder
        self.prompts = json.loads((folder / "config_sentence_transformers.json").read_text(encoding="utf-8"))["prompts"]
        lengths = json.loads((folder / "sentence_bert_config.json").read_text(encoding="utf-8"))
        # tokenizer.json cuts all texts at the longer of the two; where they are alike, these are not there.
        self._tokenizers = {task: self._cutting_at(lengths.get(f"{task}_length")) for task in (QUERY, PASSAGE)}

    def _cutting_at(self, length: int | None) -> "Tokenizer":
        from tokenizers import Tokenizer

        if length is None:
            return self.tokenizer
        tokenizer = Tokenizer.from_str(self.tokenizer.to_str())
        tokenizer.enable_truncation(length, direction=(self.tokenizer.truncation or {}).get("direction", "right"))
        return tokenizer

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors of queries, float32, shape (len(texts), dimensions)."""
        return self._encode(texts, self.prompts.get("query", ""), self._tokenizers[QUERY])

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors of passages, float32, shape (len(texts), dimensions)."""
        return self._encode(texts, self.prompts.get("document", ""), self._tokenizers[PASSAGE])

    def encode(self, texts: Sequence[str], prompt: str = "", batch_size: int = 32) -> np.ndarray:
        """Unit vectors, float32, shape (len(texts), dimensions); texts are cut where the longest queries or passages end.

        Raises:
            TypeError: it is one text, whose characters would be encoded.
            ValueError: there is no text.
        """
        return self._encode(texts, prompt, self.tokenizer, batch_size)

    def _encode(self, texts: Sequence[str], prompt: str, tokenizer: "Tokenizer", batch_size: int = 32) -> np.ndarray:
        if isinstance(texts, str):
            raise TypeError("a list of texts is encoded, and not one text: put it into brackets")
        if not texts:
            raise ValueError("there is no text to encode")
        prompted = [prompt + text for text in texts]
        lengths, what = [*map(len, texts)], f"encoding {len(texts)} texts"
        return self._run_all(prompted, lengths, "sentence_embedding", batch_size, what, tokenizer)

    @property
    def tokens(self) -> str:
        """The output with the vectors of tokens; empty: an older export of a model that projects them."""
        if TOKEN_VECTORS in [output.name for output in self.session.get_outputs()]:
            return TOKEN_VECTORS
        modules = json.loads((self.folder / "modules.json").read_text(encoding="utf-8"))
        return "" if any(module["type"].endswith(".Dense") for module in modules) else LAST_LAYER

    def encode_query_tokens(self, text: str) -> np.ndarray:
        """Unit vectors of the tokens of a query, float32, shape (tokens, dimensions), as those of TokenEncoder.

        Raises:
            ValueError: the export has no such output.
        """
        if not (output := self.tokens):
            raise ValueError(f"{self.folder} gives no vectors of tokens: materialize onnx_model again")
        vectors = self._run([self.prompts.get("query", "") + text], output, self._tokenizers[QUERY])[0]
        return normalized(vectors)


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
        return self._run_all(pairs, lengths, "logits", batch_size, f"re-ranking {len(pairs)} pairs", self.tokenizer)[:, 0]
