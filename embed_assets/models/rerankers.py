"""Cross-encoders: a query and a passage, read together, to a relevance score."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from embed_assets.artifacts.memo import Memo
from embed_assets.models.hardware import Compute, keep_freed_memory
from embed_assets.models.locations import locate_model, model_digest
from embed_assets.models.settings import CrossEncoderSettings
from embed_assets.progress import track

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder


class PairScorer(Protocol):
    """Anything that scores (query, passage) pairs, float32, shape (len(pairs),)."""

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray: ...


def load_cross_encoder(
    name: str, device: str, max_tokens: int, trust_remote_code: bool = False, new_head: bool = False, revision: str = ""
) -> "CrossEncoder":
    """A cross-encoder with one output. Only safetensors weights are loaded.

    Args:
        name: folder or name of the model, as base_model.name.
        device: "cpu", "cuda" …
        max_tokens: longest query and passage together, in tokens; no more than the model can take.
        trust_remote_code: run Python code that comes with the model.
        new_head: give a model that has no classification head, such as an embedding model, a new one, whose weights
            depend on torch's seed.
        revision: commit of a model on a hub; empty: the newest.

    Raises:
        ValueError: the model does not give one score, or has no head and may not get one.
    """
    from sentence_transformers import CrossEncoder
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()

    keep_freed_memory(device)
    model = CrossEncoder(
        str(locate_model(name)),
        device=device,
        trust_remote_code=trust_remote_code,
        revision=revision or None,
        num_labels=1 if new_head else None,
        model_kwargs={"use_safetensors": True},
    )
    has_head = model[0].transformer_task != "sequence-classification" or "SequenceClassification" in model.config.architectures[0]
    if not has_head and not new_head:
        raise ValueError(f"{name}: this is no cross-encoder but a {model.config.architectures[0]}, which has no score to give")
    if model.num_labels != 1:
        raise ValueError(f"{name}: a re-ranker gives one score for a pair, but this cross-encoder gives {model.num_labels}")
    model.max_seq_length = min(max_tokens, model.max_seq_length or max_tokens)
    return model


class Reranker:
    """Scores pairs of a query and a passage; the model is loaded only for pairs not seen before.

    Args:
        name_or_folder: the cross-encoder, as base_model.name.
        memos: folder of the memos; one file for each model. What was scored before a crash is not scored again.
        compute: device, dtype and batch size.
        max_tokens: longest query and passage together, in tokens; the longer of the two is cut.
        trust_remote_code: run Python code that comes with the model.
        revision: commit of a model on a hub; empty: the newest.
    """

    def __init__(
        self,
        name_or_folder: str,
        memos: Path,
        compute: Compute = Compute(),
        max_tokens: int = 256,
        trust_remote_code: bool = False,
        revision: str = "",
    ):
        self.name = name_or_folder
        self.compute = compute
        self.max_tokens = max_tokens
        self.trust_remote_code = trust_remote_code
        self.revision = revision
        self.memo = Memo(memos / "rerankings" / f"{model_digest(self.name, revision).replace('/', '--')}.sqlite")
        self._model: CrossEncoder | None = None

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """Scores of (query, passage) pairs, float32, shape (len(pairs),).

        They are logits, so any number; a sigmoid makes them probabilities of relevance.
        """
        keys = [hashlib.sha256(f"{self.max_tokens}\0{query}\0{passage}".encode()).hexdigest() for query, passage in pairs]
        known = self.memo.get_many(sorted(set(keys)))
        missing = {key: pair for key, pair in zip(keys, pairs, strict=True) if key not in known}
        # Longest first: padding is least, and a batch that does not fit in memory fails at once.
        todo = sorted(missing.items(), key=lambda item: -len(item[1][0]) - len(item[1][1]))
        size = 8 * self.compute.batch_size
        for start in track(range(0, len(todo), size), f"re-ranking {len(todo)} pairs"):
            block = todo[start : start + size]
            rows = list(zip((key for key, _ in block), self._predict([pair for _, pair in block]), strict=True))
            self.memo.put_many(rows)
            known.update(rows)
        return np.array([np.frombuffer(known[key], dtype=np.float32)[0] for key in keys], dtype=np.float32)

    def _predict(self, pairs: list[tuple[str, str]]) -> list[bytes]:
        import torch

        scores = self._load().predict(
            pairs, batch_size=self.compute.batch_size, activation_fn=torch.nn.Identity(), show_progress_bar=False
        )
        return [score.tobytes() for score in scores.astype(np.float32)]

    def _load(self) -> "CrossEncoder":
        if self._model is None:
            import torch

            model = load_cross_encoder(
                self.name, self.compute.torch_device(), self.max_tokens, self.trust_remote_code, revision=self.revision
            )
            model.to(self.compute.torch_dtype())
            # In bfloat16 scores near 4 would come in steps of 0.03, so that many candidates would tie.
            heads = [name for name, part in model.named_modules() if type(part) is torch.nn.Linear and part.out_features == 1]
            model.set_keep_in_fp32_modules(heads)
            self._model = model
        return self._model


def open_reranker(folder: Path, memos: Path, settings: CrossEncoderSettings, compute: Compute = Compute()) -> Reranker:
    """The re-ranker that fine_tune_reranker saved in the folder."""
    return Reranker(str(folder), memos, compute, settings.max_tokens, settings.trust_remote_code)
