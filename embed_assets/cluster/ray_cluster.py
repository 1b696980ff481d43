"""A Ray cluster: how it is reached, and what has room on it."""

import contextlib
import importlib.util
import logging
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from embed_assets.artifacts.errors import UserError

logger = logging.getLogger(__name__)
ADDRESS = "RAY_ADDRESS"
SECONDS_TO_ANSWER = 5.0


class ClusterError(UserError, RuntimeError):
    """The cluster cannot do what is asked of it; the message says why and what to do."""


class ClusterUnreachableError(ClusterError):
    """Nothing answers at the address of the cluster, which may pass."""


@dataclass(frozen=True)
class Cluster:
    """What a computation asks of the Ray cluster at $RAY_ADDRESS.

    Args:
        workers: how many work at once.
        worker_gpus: GPUs of each worker; 0 computes on the CPU.
        worker_cpus: CPU cores of each worker.
        grows: whether the cluster adds nodes by itself, so that workers without room are waited for.
    """

    workers: int = 1
    worker_gpus: float = 1.0
    worker_cpus: float = 1.0
    grows: bool = False


def connect(cluster: Cluster) -> None:
    """Join the cluster at $RAY_ADDRESS as a driver, once in a process, and look whether the workers fit.

    Raises:
        ClusterError: Ray is not installed, the cluster is not reachable, or the workers do not fit.
    """
    if importlib.util.find_spec("ray") is None:
        raise ClusterError("cluster of the resource 'gpu' is ray, but Ray is not installed: pip install 'embed-assets[ray]'")
    address = os.environ.get(ADDRESS, "")
    _check_address(address)
    import ray

    if not ray.is_initialized():
        try:
            with _signals_as_before():
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ClusterUnreachableError(
                f"{ADDRESS} is {address!r}, and this process cannot join a Ray cluster there: {error} "
                "It has to run on a node of the cluster, with the same versions of Python and Ray"
            ) from error
    check_room(cluster, [node["Resources"] for node in ray.nodes() if node["Alive"]])


def _check_address(address: str) -> None:
    if not address:
        raise ClusterError(
            f"cluster of the resource 'gpu' is ray, but {ADDRESS} is not set: set it to the address of the head node, such as "
            "10.0.0.5:6379, or to auto on a node of the cluster"
        )
    if "://" in address:
        raise ClusterError(
            f"{ADDRESS} is {address!r}: the run has to be on a node of the cluster, where the address is that of the head node, "
            "such as 10.0.0.5:6379, or auto"
        )
    host, _, port = address.rpartition(":")
    if not host:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), SECONDS_TO_ANSWER).close()
    except (OSError, ValueError) as error:
        raise ClusterUnreachableError(
            f"{ADDRESS} is {address!r}, and nothing answers there ({error}): is the cluster up ('ray status')?"
        ) from error


def check_room(cluster: Cluster, nodes: list[Mapping[str, float]]) -> None:
    """Look whether all workers fit on the nodes.

    Args:
        cluster: how many workers, and what each needs.
        nodes: what each node has, by the names that Ray gives it.

    Raises:
        ClusterError: they do not, and the cluster does not grow.
    """
    asked = {"GPU": cluster.worker_gpus, "CPU": cluster.worker_cpus}
    room = sum(min(int(node.get(name, 0) / count + 1e-9) for name, count in asked.items() if count) for node in nodes)
    if room >= cluster.workers or cluster.grows:
        return
    kinds = Counter(in_words(node.get("GPU", 0), node.get("CPU", 0)) for node in nodes)
    have = "; ".join(f"{count} x {kind}" for kind, count in kinds.most_common())
    remedy = f"set workers to {room} or less, or ask for less with" if room else "ask for less with"
    raise ClusterError(
        f"workers of {in_words(cluster.worker_gpus, cluster.worker_cpus)}: {cluster.workers} do not fit on the cluster, "
        f"which has room for {room} (nodes: {have}): {remedy} worker_gpus and worker_cpus; if the cluster adds nodes by itself, "
        "set cluster_grows"
    )


def in_words(gpus: float, cpus: float) -> str:
    """What a node has, or a worker needs."""
    return " and ".join(f"{count:g} {name}{'' if count == 1 else 's'}" for count, name in ((gpus, "GPU"), (cpus, "CPU")))


@contextlib.contextmanager
def _signals_as_before() -> Iterator[None]:
    """Ray takes SIGTERM for itself; Dagster, and whoever else was first, keeps it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
