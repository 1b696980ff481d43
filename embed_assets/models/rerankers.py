"""Cross-encoders: a query and a passage, read together, to a relevance score."""

import functools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from embed_assets.artifacts.memo import Memo, key_of
from embed_assets.cluster.workers import Workers
from embed_assets.models.batches import batches_by_tokens
from embed_assets.models.device_pool import DevicePool, device_to_load_on, texts_at_once
from embed_assets.models.hardware import Compute, keep_freed_memory
from embed_assets.models.locations import files_of_model, locate_model, memo_of_model, require_one_memo
from embed_assets.models.settings import CrossEncoderSettings
from embed_assets.models.weights import check_is_whole, what_is_broken
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
        BrokenModelError: it cannot be loaded, or some of its weights, or of its words, are missing.
        ValueError: the model does not give one score, or has no head and may not get one.
    """
    from sentence_transformers import CrossEncoder
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()

    keep_freed_memory(device)
    with what_is_broken(name):
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
    if not new_head:
        check_is_whole(model, name, revision, unused=())
    if model.num_labels != 1:
        raise ValueError(f"{name}: a re-ranker gives one score for a pair, but this cross-encoder gives {model.num_labels}")
    model.max_seq_length = min(max_tokens, model.max_seq_length or max_tokens)
    return model


class LoadedReranker:
    """A cross-encoder that is loaded, in this process or in that of a worker on a cluster; arguments as of Reranker."""

    def __init__(self, compute: Compute, max_tokens: int, trust_remote_code: bool, revision: str, name: str):
        import torch

        self._batch_size = compute.batch_size
        device = device_to_load_on(compute)
        self._model = load_cross_encoder(name, device, max_tokens, trust_remote_code, revision=revision)
        self._model.to(compute.torch_dtype())
        # In bfloat16 scores near 4 would come in steps of 0.03, so that many candidates would tie.
        heads = [name for name, part in self._model.named_modules() if type(part) is torch.nn.Linear and part.out_features == 1]
        self._model.set_keep_in_fp32_modules(heads)
        self._pool = DevicePool(self._model, compute)

    def answer(self, blocks: Iterable[Sequence[tuple[str, str]]]) -> Iterator[tuple[int, np.ndarray]]:
        """The number of each block of pairs and its scores, float32, shape (pairs,)."""
        for number, pairs in enumerate(blocks):
            # Several devices share what they are given at once: each of them makes batches of neighbours.
            size = len(pairs) if self._pool.options else self._batch_size
            batches = batches_by_tokens(self._model, pairs, size, self._model.max_seq_length)
            scores = [self._predict([pairs[place] for place in batch]) for batch in batches]
            yield number, np.concatenate(scores)[np.argsort(np.concatenate(batches))]

    def _predict(self, pairs: list[tuple[str, str]]) -> np.ndarray:
        import torch

        scores = self._model.predict(
            pairs,
            batch_size=self._batch_size,
            activation_fn=torch.nn.Identity(),
            show_progress_bar=False,
            **self._pool.options,
        )
        return scores.astype(np.float32)


class Reranker:
    """Scores pairs of a query and a passage; the model is loaded only for pairs not seen before.

    Args:
        name_or_folder: the cross-encoder, as base_model.name.
        memos: folder of the memos; one file for each model. What was scored before a crash is not scored again.
        compute: device, dtype and batch size, or workers on a cluster; what they score is kept here all the same.
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
        require_one_memo(memos, self.name, revision)
        self.memo = Memo(memo_of_model(memos, "rerankings", self.name, revision))
        self._model: LoadedReranker | None = None

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """Scores of (query, passage) pairs, float32, shape (len(pairs),).

        They are logits, so any number; a sigmoid makes them probabilities of relevance.
        """
        how = (self.compute.dtype_name(), self.max_tokens)
        keys = [key_of(*how, query, passage) for query, passage in pairs]
        known = self.memo.get_many(sorted(set(keys)))
        missing = {key: pair for key, pair in zip(keys, pairs, strict=True) if key not in known}
        # Longest first: padding is least, and a batch that does not fit in memory fails at once.
        todo = sorted(missing.items(), key=lambda item: -len(item[1][0]) - len(item[1][1]))
        size = texts_at_once(self.compute)
        blocks = [todo[start : start + size] for start in range(0, len(todo), size)]
        scored = self._scores([[pair for _, pair in block] for block in blocks])
        for number, scores in track(scored, f"re-ranking {len(todo)} pairs, in blocks", len(blocks)):
            rows = [(key, score.tobytes()) for (key, _), score in zip(blocks[number], scores, strict=True)]
            self.memo.put_many(rows)
            known.update(rows)
        return np.array([np.frombuffer(known[key], dtype=np.float32)[0] for key in keys], dtype=np.float32)

    def _scores(self, blocks: list[list[tuple[str, str]]]) -> Iterator[tuple[int, np.ndarray]]:
        """The number of each block and its scores, in the order in which they are scored."""
        if not blocks:
            return
        how = (self.max_tokens, self.trust_remote_code, self.revision)
        if self.compute.cluster is not None:
            make = functools.partial(LoadedReranker, self.compute.of_a_worker(), *how)
            with Workers(self.compute.cluster, make, files_of_model(self.name, self.revision), len(blocks)) as workers:
                yield from workers.answer([[block] for block in blocks])
            return
        if self._model is None:
            self._model = LoadedReranker(self.compute, *how, self.name)
        yield from self._model.answer(blocks)


def open_reranker(folder: Path, memos: Path, settings: CrossEncoderSettings, compute: Compute = Compute()) -> Reranker:
    """The re-ranker that fine_tune_reranker saved in the folder."""
    return Reranker(str(folder), memos, compute, settings.max_tokens, settings.trust_remote_code)
