"""Two nodes of Ray on this machine, with one CPU each."""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

MEMORY = 200_000_000  # bytes of the object store of a node


class TwoNodes:
    """A head node, and another one that can be killed."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        options = {"num_cpus": 1, "object_store_memory": MEMORY}
        self.cluster = Cluster(initialize_head=True, head_node_args=options)
        self._second: Any = self.cluster.add_node(**options)
        self.cluster.wait_for_nodes()

    def kill_second(self) -> None:
        self.cluster.remove_node(self._second, allow_graceful=False)
        self._second = None

    def mend(self) -> None:
        """Start the second node again, if it was killed."""
        if self._second is None:
            self._second = self.cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
            self.cluster.wait_for_nodes()


@pytest.fixture(scope="module")
def started() -> Iterator[TwoNodes]:
    import ray

    nodes = TwoNodes()
    before = os.environ.get("RAY_ADDRESS")
    os.environ["RAY_ADDRESS"] = nodes.cluster.address
    yield nodes
    ray.shutdown()
    nodes.cluster.shutdown()
    del os.environ["RAY_ADDRESS"]
    if before is not None:
        os.environ["RAY_ADDRESS"] = before


@pytest.fixture
def nodes(started: TwoNodes) -> TwoNodes:
    started.mend()
    return started


def processes(name: str) -> list[psutil.Process]:
    """Processes of the cluster whose command begins with a name, such as ray::Actor."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if " ".join(process.cmdline()).startswith(name):
                found.append(process)
        except psutil.Error:
            continue
    return found


def wait_until(true: Callable[[], object], seconds: float = 60) -> None:
    """Look until something holds; fail if it does not."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not true within {seconds} s"
        time.sleep(0.1)
