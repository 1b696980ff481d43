"""Text to vectors: each text is encoded once per model, ever."""

import functools
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from embed_assets.artifacts.memo import Memo, key_of, stored_keys
from embed_assets.cluster.workers import Workers
from embed_assets.models.batches import batches_by_tokens
from embed_assets.models.device_pool import DevicePool, device_to_load_on, texts_at_once
from embed_assets.models.hardware import DTYPE_NAMES, Compute, explain_out_of_memory, keep_freed_memory, require_finite
from embed_assets.models.lengths import PASSAGE, QUERY, Task, as_task, check_length, set_lengths, tokens_of
from embed_assets.models.locations import files_of_model, locate_model, memo_of_model, require_one_memo
from embed_assets.models.prompts import prompt_of, with_prompts
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.weights import check_is_safe, check_is_whole, what_is_broken
from embed_assets.progress import track
from embed_assets.text.columns import rows_of

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer


class TextEncoder(Protocol):
    """Anything that turns texts into unit vectors, float32, shape (len(texts), dimensions)."""

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray: ...

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray: ...


logger = logging.getLogger(__name__)
TEXTS_IN_A_BLOCK = 8192


def load_sentence_transformer(settings: BaseModelSettings, device: str, name: str | None = None) -> "SentenceTransformer":
    """The base model, or a fine-tuned one at another place, as the settings describe it.

    Only safetensors weights are loaded.

    Args:
        settings: lengths and prompts.
        device: "cpu", "cuda" …
        name: folder or name of the model, if it is not the base model.

    Raises:
        BrokenModelError: it cannot be loaded, or some of its weights or of its words are missing.
        SettingsError: the model has no positions for that length, or cannot cut queries and passages apart.
    """
    from sentence_transformers import SentenceTransformer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()

    keep_freed_memory(device)
    settings, called, revision = with_prompts(settings, name), name or settings.name, settings.revision_of(name)
    check_is_safe(called)
    with what_is_broken(called):
        model = SentenceTransformer(
            str(locate_model(called)),
            device=device,
            trust_remote_code=settings.trust_remote_code,
            revision=revision or None,
            prompts={"query": settings.query_prompt, "document": settings.passage_prompt},
            model_kwargs={"use_safetensors": True},
        )
    check_is_whole(model, called, revision)
    if model.transformers_model is not None:
        check_length(settings, model.transformers_model.config.to_dict())
    set_lengths(model, settings)
    return model


TextBlock = tuple[Task, Sequence[str]]


class LoadedEncoder:
    """A model that is loaded, in this process or in that of a worker on a cluster.

    Args:
        settings: as of Encoder, with the prompts of the model.
        compute: device, dtype and batch size.
        name: folder or name of the model.
    """

    def __init__(self, settings: BaseModelSettings, compute: Compute, name: str):
        self._name, self._settings, self._compute = name, settings, compute
        self._model = load_sentence_transformer(settings, device_to_load_on(compute), name)
        self._model.to(compute.torch_dtype())
        self._pool = DevicePool(self._model, compute)

    def answer(self, blocks: Iterable[TextBlock]) -> Iterator[tuple[int, np.ndarray]]:
        """Encode blocks of texts.

        Args:
            blocks: what texts are, and texts, longest first.

        Yields:
            The number of a block and its vectors, float32, shape (texts, dimensions), normalized in the dtype of the model.
        """
        for number, (task, texts) in enumerate(blocks):
            with explain_out_of_memory("lower batch_size of the resource 'gpu', or base_model.max_tokens"):
                vectors = self._encode(texts, task)
            require_finite(vectors, self._name, self._compute)
            yield number, vectors.float().cpu().numpy()

    def _encode(self, texts: Sequence[str], task: Task) -> "torch.Tensor":
        import torch

        # Several devices share what they are given at once: each of them makes batches of neighbours.
        size = len(texts) if self._pool.options else self._compute.batch_size
        batches = batches_by_tokens(self._model, texts, size, tokens_of(self._settings, task))
        vectors = [
            self._model.encode(
                [texts[place] for place in batch],
                prompt=prompt_of(self._settings, task),
                batch_size=self._compute.batch_size,
                normalize_embeddings=True,
                convert_to_tensor=True,
                show_progress_bar=False,
                **as_task(self._settings, task),
                **self._pool.options,
            )
            for batch in batches
        ]
        # The device is waited for once, so that it computes while the next batch is tokenized.
        return torch.cat(vectors)[np.argsort(np.concatenate(batches))]


class Encoder:
    """Encodes queries and passages with one model; the model is loaded only for texts not seen before.

    Args:
        settings: the base model's settings (lengths in tokens and prompts hold for its fine-tuned versions too; prompts
            that they do not name are those of the model's own configuration).
        memos: folder of the memos; one file for each model.
        name: folder of a fine-tuned model; the base model if None.
        compute: device and batch size, or workers on a cluster; what they encode is kept here all the same.
    """

    def __init__(self, settings: BaseModelSettings, memos: Path, name: str | None = None, compute: Compute = Compute()):
        self.settings = with_prompts(settings, name)
        self.name = name or settings.name
        self.compute = compute
        self._revision = settings.revision_of(name)
        require_one_memo(memos, self.name, self._revision)
        self.memo = Memo(_memo_path(settings, memos, self.name))
        self._model: LoadedEncoder | None = None
        self._asked, self._encoded = 0, 0

    @property
    def saved_work(self) -> str:
        """How many of the texts so far were encoded before, in words."""
        return f"{self._asked - self._encoded} of {self._asked} texts encoded before"

    def load(self) -> None:
        """Load the model now, and not with the first text that was never encoded; on a cluster, its workers do."""
        if self.compute.cluster is None:
            self._load()

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors of queries, float32, shape (len(texts), dimensions)."""
        return self._encode(texts, QUERY)

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors of passages, float32, shape (len(texts), dimensions)."""
        return self._encode(texts, PASSAGE)

    def _encode(self, texts: Sequence[str], task: Task) -> np.ndarray:
        if not texts:
            raise ValueError("there is no text to encode")
        rows = rows_of(_keys(self.settings, self.compute.dtype_name(), task, texts))
        # One array that is filled in place: a second or a third copy of the vectors of a million texts would not fit.
        filled = _Rows(rows, len(texts))
        keys = list(rows)
        for start in range(0, len(keys), TEXTS_IN_A_BLOCK):
            filled.put(self.memo.get_many(keys[start : start + TEXTS_IN_A_BLOCK]).items())
        # Longest first: padding is least, and a batch that does not fit in memory fails at once.
        todo = sorted((key for key in keys if key not in filled.there), key=lambda key: -len(texts[rows[key][0]]))
        self._asked += len(texts)
        self._encoded += len(todo)
        size = texts_at_once(self.compute)
        blocks = [todo[start : start + size] for start in range(0, len(todo), size)]
        vectors = self._vectors([(task, [texts[rows[key][0]] for key in block]) for block in blocks])
        for number, of_block in track(vectors, f"encoding {len(todo)} texts, in blocks", len(blocks)):
            encoded = [(key, vector.tobytes()) for key, vector in zip(blocks[number], of_block, strict=True)]
            self.memo.put_many(encoded)
            filled.put(encoded)
        return filled.unit_vectors()

    def _vectors(self, blocks: list[TextBlock]) -> Iterator[tuple[int, np.ndarray]]:
        """The number of each block and its vectors, in the order in which they are encoded."""
        cluster = self.compute.cluster
        if not blocks:
            return
        if cluster is None:
            yield from self._load().answer(blocks)
            return
        make = functools.partial(LoadedEncoder, self.settings, self.compute.of_a_worker())
        with Workers(cluster, make, files_of_model(self.name, self._revision), len(blocks)) as workers:
            yield from workers.answer([[block] for block in blocks])

    def _load(self) -> LoadedEncoder:
        if self._model is None:
            self._model = LoadedEncoder(self.settings, self.compute, self.name)
        return self._model


class FirstDimensions:
    """An encoder's vectors cut to their first dimensions, as a model that was trained for it allows (arXiv:2205.13147).

    Args:
        encoder: with all dimensions.
        dimensions: how many are left.
    """

    def __init__(self, encoder: TextEncoder, dimensions: int):
        self._encoder, self._dimensions = encoder, dimensions

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors of queries, float32, shape (len(texts), dimensions)."""
        return self._cut(self._encoder.encode_queries(texts))

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors of passages, float32, shape (len(texts), dimensions)."""
        return self._cut(self._encoder.encode_passages(texts))

    def _cut(self, vectors: np.ndarray) -> np.ndarray:
        return first_dimensions(vectors, self._dimensions)


def first_dimensions(vectors: np.ndarray, dimensions: int) -> np.ndarray:
    """The first dimensions of vectors, which are their last axis, of length 1."""
    return normalized(vectors[..., :dimensions])


def normalized(vectors: np.ndarray) -> np.ndarray:
    """Vectors, which are the last axis, of length 1; a zero vector, such as that of a text without a known word, stays one."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), np.finfo(np.float32).tiny)


class _Rows:
    """The vectors of texts, each put where its text stands."""

    def __init__(self, rows: dict[str, list[int]], count: int):
        self._rows, self._count = rows, count
        self._vectors: np.ndarray | None = None
        self.there: set[str] = set()

    def put(self, vectors: Iterable[tuple[str, bytes]]) -> None:
        for key, stored in vectors:
            vector = np.frombuffer(stored, dtype=np.float32)
            if self._vectors is None:
                self._vectors = np.empty((self._count, len(vector)), dtype=np.float32)
            self._vectors[self._rows[key]] = vector
            self.there.add(key)

    def unit_vectors(self) -> np.ndarray:
        assert self._vectors is not None
        for start in range(0, self._count, TEXTS_IN_A_BLOCK):
            block = self._vectors[start : start + TEXTS_IN_A_BLOCK]
            block[:] = normalized(block)  # in bfloat16 they were normalized within 1% only
        return self._vectors


def count_unencoded(settings: BaseModelSettings, memos: Path, queries: Iterable[str], passages: Iterable[str]) -> int:
    """How many of the texts a model has not encoded yet, in no dtype; arguments as of Encoder. Nothing is encoded or written."""
    settings = with_prompts(settings)
    memo, asked = _memo_path(settings, memos, settings.name), {QUERY: list(queries), PASSAGE: list(passages)}
    # Whoever plans need not know the device that will encode.
    left = {
        keys
        for task, texts in asked.items()
        for keys in zip(*(_keys(settings, dtype, task, texts) for dtype in DTYPE_NAMES), strict=True)
    }
    stored = stored_keys(memo, {key for keys in left for key in keys})
    return sum(stored.isdisjoint(keys) for keys in left)


def _memo_path(settings: BaseModelSettings, memos: Path, name: str) -> Path:
    return memo_of_model(memos, "embeddings", name, settings.revision_of(name))


def _keys(settings: BaseModelSettings, dtype: str, task: Task, texts: Iterable[str]) -> list[str]:
    """What tells the vector of each text from others in the memo, which is that of one model and revision."""
    how = (dtype, tokens_of(settings, task), prompt_of(settings, task))
    return [key_of(*how, text) for text in texts]
