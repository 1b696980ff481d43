"""Mining of hard negatives against sentence-transformers."""

import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from embed_assets.corpus.spans import SpanIndex
from embed_assets.models.encoders import Encoder, load_sentence_transformer
from embed_assets.models.hardware import Compute
from embed_assets.models.prompts import with_prompts
from embed_assets.models.settings import BaseModelSettings
from embed_assets.training.negatives import mine_hard_negatives
from embed_assets.training.settings import NegativesSettings


@dataclass(frozen=True)
class Mining:
    """One task for all that mine hard negatives.

    Args:
        chunks: the collection's chunks.
        pairs: QA pairs with a split.
        base_model: encodes.
        settings: how many negatives, from how many candidates, with which margin.
        compute: device, dtype and batch size.
    """

    chunks: pl.DataFrame
    pairs: pl.DataFrame
    base_model: BaseModelSettings
    settings: NegativesSettings
    compute: Compute = field(default_factory=Compute)


def benchmark_mining(task: Mining) -> pl.DataFrame:
    """Time and memory of mine_hard_negatives, against sentence-transformers' function of the same name.

    Both have the same model, batch size, candidates, margin and number of negatives, and exact search. Ours also
    searches with BM25. Each runs in a fresh process; the time begins when the model is loaded.

    Args:
        task: what is mined.

    Returns:
        One row each for sentence-transformers, for this package with nothing encoded before, and for it with the
        embeddings of an earlier run: seconds on the clock and of all cores; the process's peak memory, and what of it
        came after the model was loaded, in MB (10^6 bytes); the share of the pairs that got all their negatives; and
        how many times faster than sentence-transformers it was on the clock.
    """
    rows = []
    with tempfile.TemporaryDirectory() as memos:
        for system, mine in {
            "sentence-transformers": _mine_with_sentence_transformers,
            "embed_assets": _mine_here,
            "embed_assets, encoded before": _mine_here,
        }.items():
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
                rows.append({"system": system} | process.submit(mine, task, Path(memos)).result())
    ratio = (pl.col("seconds").first() / pl.col("seconds")).round(2)
    return pl.DataFrame(rows).with_columns(pl.col("seconds").round(2), ratio=ratio)


def _mine_here(task: Mining, memos: Path) -> dict[str, float]:
    encoder = Encoder(task.base_model, memos, compute=task.compute)
    encoder.encode_queries([f"a text that warms up {time.time()}"])

    def mine() -> int:
        _, counts = mine_hard_negatives(task.pairs, task.chunks, encoder, task.settings)
        return len(task.pairs) - counts["drawn at random"] // task.settings.per_query

    return _measure(mine, len(task.pairs))


def _mine_with_sentence_transformers(task: Mining, memos: Path) -> dict[str, float]:
    from datasets import Dataset, disable_progress_bars
    from sentence_transformers.util import mine_hard_negatives as mine_with_sentence_transformers

    disable_progress_bars()
    model = load_sentence_transformer(task.base_model, task.compute.torch_device()).to(task.compute.torch_dtype())
    model.encode(["a text that warms up"])
    passages, spans = task.chunks["passage"].to_list(), SpanIndex(task.chunks)
    rows = task.pairs.select("query", "document_id", "start", "end").rows()
    positives = [(query, passages[best]) for query, *span in rows if (best := spans.best(*span)) is not None]
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


def _measure(mine: Callable[[], int], pairs: int) -> dict[str, float]:
    before = _peak_memory()
    started, worked = time.perf_counter(), time.process_time()
    complete = mine()
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - worked
    peak = _peak_memory()
    return {
        "seconds": seconds,
        "cpu_seconds": round(cpu_seconds, 2),
        "peak_memory_mb": round(peak),
        "memory_of_mining_mb": round(peak - before),
        "complete": round(complete / pairs, 3),
    }


def _peak_memory() -> float:
    """The largest memory that the process had, in MB; Linux tells it in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
