"""What workers on a Ray cluster bring and take, against this process."""

import functools
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import psutil

from embed_assets.cluster.ray_cluster import connect
from embed_assets.cluster.workers import Workers
from embed_assets.models.answers import Sampling
from embed_assets.models.cluster_engine import ClusterEngine
from embed_assets.models.device_pool import texts_at_once
from embed_assets.models.encoders import LoadedEncoder, TextBlock
from embed_assets.models.hardware import Compute
from embed_assets.models.lengths import PASSAGE
from embed_assets.models.locations import files_of_model, locate_model
from embed_assets.models.prompts import with_prompts
from embed_assets.models.settings import BaseModelSettings, LanguageModelSettings
from embed_assets.models.vllm_engine import VllmEngine
from embed_assets.retrieval.dense import DenseScores
from embed_assets.retrieval.shards import LEAST_IN_A_SHARD, Nearest, Shards
from embed_assets.training.fine_tuning import fine_tune
from embed_assets.training.settings import TrainingSettings
from embed_assets.training.task import TrainingTask

DIMENSIONS, QUERIES_AT_ONCE, NEAREST = 384, 256, 100
# Gives a sign when all that computes is ready, and one for each result.
Work = Callable[[Compute], Iterator[object]]


def benchmark_cluster(work: Work, items: int, compute: Compute) -> pl.DataFrame:
    """The rate of some work in this process, in one worker of a cluster, and in all of them.

    Args:
        work: what is done.
        items: how many there are in it.
        compute: names the cluster.

    Returns:
        A row for each way: ``items``, ``start_seconds`` until all that computes was ready, ``seconds`` from then on,
        ``per_second``, its ``ratio`` to that of this process, and ``sent_mb``, the 10^6 bytes that left this machine or went
        from one of its processes to another over TCP, from the start to the end.

    Raises:
        ClusterError: the cluster is not there, or the workers do not fit.
    """
    cluster = compute.cluster
    assert cluster is not None
    connect(cluster)
    ways = {"this process": None} | {f"workers: {it}": replace(cluster, workers=it) for it in sorted({1, cluster.workers})}
    rows = []
    for way, of in ways.items():
        sent, started = psutil.net_io_counters().bytes_sent, time.perf_counter()
        results = work(replace(compute, cluster=of))
        next(results)
        ready = time.perf_counter()
        for _ in results:
            pass
        seconds, sent = time.perf_counter() - ready, psutil.net_io_counters().bytes_sent - sent
        rows.append((way, items, ready - started, seconds, items / seconds, sent / 1e6))
    columns = ["way", "items", "start_seconds", "seconds", "per_second", "sent_mb"]
    table = pl.DataFrame(rows, schema=columns, orient="row")
    ratio = pl.col("per_second") / pl.col("per_second").first()
    return table.with_columns(pl.col(pl.Float64).round(1), ratio=ratio.round(3))


def encoding(passages: Sequence[str], base_model: BaseModelSettings) -> Work:
    """Encode passages, none of them kept from before, in blocks as Encoder makes them."""
    settings, texts = with_prompts(base_model), sorted(passages, key=lambda text: -len(text))

    def work(compute: Compute) -> Iterator[object]:
        size = texts_at_once(compute)
        blocks: list[TextBlock] = [(PASSAGE, texts[start : start + size]) for start in range(0, len(texts), size)]
        if compute.cluster is None:
            encoder = LoadedEncoder(settings, compute, str(locate_model(settings.name)))
            yield "ready"
            yield from encoder.answer(blocks)
            return
        make = functools.partial(LoadedEncoder, settings, compute.of_a_worker())
        with Workers(compute.cluster, make, files_of_model(settings.name, settings.revision)) as workers:
            workers.wait_until_ready()
            yield "ready"
            yield from workers.answer([[block] for block in blocks])

    return work


def writing(texts: Sequence[str], seeds: Sequence[int], sampling: Sampling, writer: LanguageModelSettings, memos: Path) -> Work:
    """Answer prompts.

    Args:
        texts: the prompts.
        seeds: one for each.
        sampling: how the answers are taken.
        writer: the language model.
        memos: folder of converted models.
    """

    def work(compute: Compute) -> Iterator[object]:
        engine = VllmEngine(writer, memos, compute) if compute.cluster is None else ClusterEngine(writer, compute)
        try:
            if isinstance(engine, ClusterEngine):
                engine.workers.wait_until_ready()
            yield "ready"
            yield from engine.answer(texts, seeds, sampling)
        finally:
            engine.close()

    return work


def searching(queries: int, passages: int = 4 * LEAST_IN_A_SHARD) -> Work:
    """Find the nearest passages of queries, with random vectors, as hard negatives are looked for in a large corpus."""
    draw = np.random.default_rng(0)
    vectors = draw.standard_normal((passages, DIMENSIONS), dtype=np.float32)
    asked = draw.standard_normal((queries, DIMENSIONS), dtype=np.float32)
    blocks = [Nearest(asked[start : start + QUERIES_AT_ONCE], NEAREST) for start in range(0, queries, QUERIES_AT_ONCE)]

    def work(compute: Compute) -> Iterator[object]:
        if compute.cluster is None:
            yield "ready"
            yield from (DenseScores(block.queries, vectors).first(block.k) for block in blocks)
            return
        with Shards(compute.cluster, {"dense": vectors}) as shards:
            shards.workers.wait_until_ready()
            yield "ready"
            yield from shards.nearest(blocks)

    return work


def training(triplets: pl.DataFrame, base_model: BaseModelSettings, settings: TrainingSettings, examples: int) -> Work:
    """Fine-tune with some triplets, in one epoch; the start of the workers is in its time."""
    settings = settings.model_copy(update={"epochs": 1.0, "max_examples": examples, "early_stopping": 0})
    triplets = triplets.filter(pl.col("split") == "train")

    def work(compute: Compute) -> Iterator[object]:
        yield "ready"
        with tempfile.TemporaryDirectory() as folder:
            folders = Path(folder, "model"), Path(folder, "scratch")
            yield fine_tune(TrainingTask(triplets, *folders, base_model, settings, compute))

    return work
