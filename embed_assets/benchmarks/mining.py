"""Mining of hard negatives against sentence-transformers."""

import hashlib
import multiprocessing
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from embed_assets.benchmarks.machine import peak_memory
from embed_assets.corpus.spans import SpanIndex
from embed_assets.models.encoders import Encoder, TextEncoder, load_sentence_transformer
from embed_assets.models.hardware import Compute
from embed_assets.models.prompts import with_prompts
from embed_assets.models.settings import BaseModelSettings
from embed_assets.training.negatives import mine_hard_negatives
from embed_assets.training.settings import NegativesSettings

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# Of random vectors.
DIMENSIONS = 384
VECTORS_AT_ONCE = 2**14
CHUNKS, PAIRS, VECTORS = "chunks.parquet", "pairs.parquet", ".f32"


@dataclass(frozen=True)
class Mining:
    """One task for all that mine hard negatives.

    Args:
        chunks: the collection's chunks.
        pairs: QA pairs with a split.
        base_model: encodes.
        settings: how many negatives, from how many candidates, with which margin.
        compute: device, dtype and batch size.
        given_vectors: random vectors stand for those of the model, so that nothing is encoded.
    """

    chunks: pl.DataFrame
    pairs: pl.DataFrame
    base_model: BaseModelSettings
    settings: NegativesSettings
    compute: Compute = field(default_factory=Compute)
    given_vectors: bool = False


def enlarged(task: Mining, chunks: int, pairs: int) -> Mining:
    """The task with so many chunks and pairs: those that are there again and again, each time with other words and numbers.

    Args:
        task: what is repeated.
        chunks, pairs: how many in the end; both have random vectors.
    """
    copies = range(-(-max(chunks, 1) // task.chunks.height))
    # Texts without their headings would take as much memory again: passages stand for them.
    once = task.chunks.drop("text")
    of_pairs = -(-pairs // len(copies))
    repeated = [
        (
            _copy(once, copy, "passage"),
            _copy(task.pairs.sample(min(of_pairs, task.pairs.height), seed=copy), copy, "query"),
        )
        for copy in copies
    ]
    many_chunks, many_pairs = (pl.concat(part) for part in zip(*repeated, strict=True))
    return replace(task, chunks=many_chunks.head(chunks), pairs=many_pairs.head(pairs), given_vectors=True)


def _copy(table: pl.DataFrame, copy: int, *texts: str) -> pl.DataFrame:
    """The rows under other ids; about one word in ten of their texts, the same ones everywhere, and all numbers are others."""

    def change(word: re.Match[str]) -> str:
        draw = hashlib.sha256(f"{copy} {word[0].lower()}".encode()).digest()
        if word[0].isdigit():
            return str(int.from_bytes(draw[:4], "big") % 10 ** len(word[0]))
        return f"{word[0]}{copy}" if draw[0] < 26 else word[0]

    ids = [name for name in ("chunk_id", "document_id", "query_id") if name in table.columns]
    return table.with_columns(
        *(pl.format("{}~{}", name, pl.lit(copy)).alias(name) for name in ids),
        *(pl.col(name).map_elements(lambda text: re.sub(r"\d+|[^\W\d_]+", change, text), pl.String) for name in texts),
    )


def benchmark_mining(task: Mining, alone: bool = False) -> pl.DataFrame:
    """Time and memory of mine_hard_negatives, against sentence-transformers' function of the same name.

    Both have the same model, batch size, candidates, margin and number of negatives, and exact search. Ours also
    searches with BM25. Each runs in a fresh process; the time begins when the model is loaded.

    Args:
        task: what is mined.
        alone: leave sentence-transformers out.

    Returns:
        One row each for sentence-transformers, for this package with nothing encoded before, and for it with the
        embeddings of an earlier run (with given vectors, one row for both): the number of chunks; seconds on the clock and
        of all cores; the process's peak memory, and what of it came after the model was loaded, in MB (10^6 bytes); the
        share of the pairs that got all their negatives; and, if there is one to compare with, how many times faster than
        sentence-transformers it was on the clock.
    """
    rows = []
    systems = {
        "sentence-transformers": _mine_with_sentence_transformers,
        "embed_assets": _mine_here,
        "embed_assets, encoded before": _mine_here,
    }
    if task.given_vectors:
        del systems["embed_assets, encoded before"]
    if alone:
        del systems["sentence-transformers"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        task.chunks.write_parquet(folder / CHUNKS)
        task.pairs.write_parquet(folder / PAIRS)
        # To send the tables would need memory for them twice.
        sent = replace(task, chunks=task.chunks.clear(), pairs=task.pairs.clear())
        for system, mine in systems.items():
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
                rows.append({"system": system} | process.submit(_mine, mine, sent, folder).result())
    ratio = [] if alone else [(pl.col("seconds").first() / pl.col("seconds")).round(2).alias("ratio")]
    table = pl.DataFrame(rows).with_columns(pl.col("seconds").round(2), *ratio)
    return table.select("system", pl.lit(task.chunks.height).alias("chunks"), pl.exclude("system"))


def _mine(mine: Callable[[Mining, Path], dict[str, float]], sent: Mining, folder: Path) -> dict[str, float]:
    chunks = pl.read_parquet(folder / CHUNKS)
    task = replace(
        sent,
        chunks=chunks.with_columns(text=chunks.get_column("text", default=chunks["passage"])),
        pairs=pl.read_parquet(folder / PAIRS),
    )
    return mine(task, folder / "memos")


def _positives(task: Mining) -> list[tuple[str, str]]:
    passages, spans = task.chunks["passage"], SpanIndex(task.chunks)
    rows = task.pairs.select("query", "document_id", "start", "end").rows()
    return [(query, passages[best]) for query, *span in rows if (best := spans.best(*span)) is not None]


class _GivenVectors:
    """Random unit vectors of a task's texts, those of passages in a file; that of a query is near the one of its passage."""

    def __init__(self, task: Mining, file: Path):
        random = np.random.default_rng(13)
        # Passage → the first chunk that has it. Hashes: the texts of a million passages would be there once more.
        self._first: dict[int, int] = {}
        rows = enumerate(map(hash, task.chunks["passage"]))
        self._rows = np.array([self._first.setdefault(passage, row) for row, passage in rows])
        shape = (len(self._rows), DIMENSIONS)
        written = np.memmap(file, np.float32, "w+", shape=shape)
        for start in range(0, len(written), VECTORS_AT_ONCE):
            count = min(VECTORS_AT_ONCE, len(written) - start)
            written[start : start + count] = _unit(random.standard_normal((count, DIMENSIONS), dtype=np.float32))
        again = np.flatnonzero(self._rows != np.arange(len(self._rows)))
        written[again] = written[self._rows[again]]
        del written
        # Nobody writes into them; torch warns of what cannot be written to.
        self._passage_vectors = np.memmap(file, np.float32, "c", shape=shape)
        positives = dict(_positives(task))
        self._queries = {query: row for row, query in enumerate(positives)}
        self._query_vectors = _unit(random.standard_normal((len(positives), DIMENSIONS), dtype=np.float32))
        self._query_vectors += self._passage_vectors[[self._first[hash(passage)] for passage in positives.values()]]
        self._query_vectors = _unit(self._query_vectors)

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        rows = np.fromiter((self._first[hash(text)] for text in texts), np.int64, len(texts))
        # Those of all chunks are there already, and need not be copied.
        return self._passage_vectors if np.array_equal(rows, self._rows) else self._passage_vectors[rows]

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        return self._query_vectors[[self._queries[text] for text in texts]]


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def _mine_here(task: Mining, memos: Path) -> dict[str, float]:
    encoder: TextEncoder
    if task.given_vectors:
        encoder = _GivenVectors(task, memos.with_suffix(VECTORS))
    else:
        encoder = Encoder(task.base_model, memos, compute=task.compute)
        encoder.encode_queries([f"a text that warms up {time.time()}"])

    def mine() -> int:
        _, counts = mine_hard_negatives(task.pairs, task.chunks, encoder, task.settings, compute=task.compute)
        return len(task.pairs) - counts["drawn at random"] // task.settings.per_query

    return _measure(mine, len(task.pairs))


def _mine_with_sentence_transformers(task: Mining, memos: Path) -> dict[str, float]:
    from datasets import Dataset, disable_progress_bars
    from sentence_transformers.util import mine_hard_negatives as mine_with_sentence_transformers

    disable_progress_bars()
    if task.given_vectors:
        model = _with_vectors(_GivenVectors(task, memos.with_suffix(VECTORS)))
    else:
        model = load_sentence_transformer(task.base_model, task.compute.torch_device()).to(task.compute.torch_dtype())
        model.encode(["a text that warms up"])
    passages, positives = task.chunks["passage"].to_list(), _positives(task)
    dataset = Dataset.from_dict({"anchor": [row[0] for row in positives], "positive": [row[1] for row in positives]})

    prompts = with_prompts(task.base_model)

    def mine() -> int:
        return len(
            mine_with_sentence_transformers(
                dataset,
                model,
                corpus=passages,
                range_max=task.settings.top_k,
                relative_margin=1 - task.settings.margin,
                num_negatives=task.settings.per_query,
                output_format="n-tuple",
                batch_size=task.compute.batch_size,
                query_prompt=prompts.query_prompt,
                corpus_prompt=prompts.passage_prompt,
                use_faiss=False,
                verbose=False,
            )
        )

    return _measure(mine, len(task.pairs))


def _with_vectors(vectors: _GivenVectors) -> "SentenceTransformer":
    import torch
    from sentence_transformers import SentenceTransformer

    class WithVectors(SentenceTransformer):
        def encode_query(self, sentences: Sequence[str], **_: Any) -> np.ndarray:
            return vectors.encode_queries(sentences)

        def encode_document(self, sentences: Sequence[str], **_: Any) -> np.ndarray:
            return vectors.encode_passages(sentences)

    return WithVectors(modules=[torch.nn.Identity()], device="cpu")


def _measure(mine: Callable[[], int], pairs: int) -> dict[str, float]:
    before = peak_memory()
    started, worked = time.perf_counter(), time.process_time()
    complete = mine()
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - worked
    peak = peak_memory()
    return {
        "seconds": seconds,
        "cpu_seconds": round(cpu_seconds, 2),
        "peak_memory_mb": round(peak),
        "memory_of_mining_mb": round(peak - before),
        "complete": round(complete / pairs, 3),
    }
