"""vLLM in workers on a cluster."""

import functools
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace

from embed_assets.artifacts.cache import cache_folder
from embed_assets.cluster.ray_cluster import Cluster
from embed_assets.cluster.workers import WorkerLostError, Workers
from embed_assets.models.answers import Answer, GenerationError, Sampling
from embed_assets.models.hardware import Compute
from embed_assets.models.locations import files_of_model
from embed_assets.models.settings import LanguageModelSettings
from embed_assets.models.vllm_engine import VllmEngine

BLOCKS_FOR_EACH = 4
FEWEST_PROMPTS, MOST_PROMPTS = 64, 512  # in a block: vLLM answers as many at once


class ClusterEngine:
    """An Engine whose prompts are answered by vLLM in workers on a cluster.

    Args:
        settings: the model.
        compute: the cluster, and the share of each GPU's memory.

    Raises:
        ClusterError: the cluster is not there, or the workers do not fit.
    """

    def __init__(self, settings: LanguageModelSettings, compute: Compute):
        assert compute.cluster is not None
        self._cluster = cluster_of_engines(compute.cluster, settings.tensor_parallel_size)
        make = functools.partial(VllmWork, settings, compute.of_a_worker())
        # Where a block comes to its end, its last and longest answers would be alone in vLLM.
        self.workers = Workers(self._cluster, make, files_of_model(settings.name, settings.revision), together=True)

    def answer(self, prompts: Sequence[str], seeds: Sequence[int], sampling: Sampling) -> Iterator[tuple[int, Answer]]:
        """As in Engine.

        Raises:
            ClusterError: workers died over the same prompts.
        """
        items = [(prompt, seed, sampling) for prompt, seed in zip(prompts, seeds, strict=True)]
        fair = -(-len(items) // (BLOCKS_FOR_EACH * self._cluster.workers))
        size = min(MOST_PROMPTS, max(FEWEST_PROMPTS, fair))
        blocks = [items[start : start + size] for start in range(0, len(items), size)]
        yield from self.workers.answer(blocks)

    def close(self) -> None:
        """End the workers."""
        self.workers.close()


def cluster_of_engines(cluster: Cluster, tensor_parallel_size: int) -> Cluster:
    """The same GPUs in workers with as many as a model is spread over."""
    if not cluster.worker_gpus or cluster.worker_gpus >= tensor_parallel_size:
        return cluster
    workers = max(1, int(cluster.workers * cluster.worker_gpus / tensor_parallel_size))
    return replace(cluster, workers=workers, worker_gpus=float(tensor_parallel_size))


class VllmWork:
    """What a worker does: it has vLLM in a process of its own, as on one machine.

    Args:
        settings: the model.
        compute: share of the GPU's memory.
        name: the model, as this node has it.
    """

    def __init__(self, settings: LanguageModelSettings, compute: Compute, name: str):
        # On a CPU each would take the first cores for itself; Ray says how many threads it gets.
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        self._engine = VllmEngine(settings.model_copy(update={"name": name}), cache_folder("converted"), compute)

    def answer(self, items: Sequence[tuple[str, int, Sampling]]) -> Iterator[tuple[int, Answer]]:
        """Answer prompts, each with its seed."""
        prompts, seeds, samplings = zip(*items, strict=True)
        try:
            yield from self._engine.answer(prompts, seeds, samplings[0])
        except GenerationError as error:
            raise WorkerLostError(f"{error}\nvLLM ended in a worker") from error
