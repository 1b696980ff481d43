"""Two nodes of Ray on this machine, with one CPU each."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psutil
import pytest

from embed_assets.cluster.workers import _Block
from embed_assets_tests.ports import free_port

MEMORY = 200_000_000  # bytes of the object store of a node
AGENT_PORT = "dashboard_agent_listen_port"  # of the agent that takes jobs; by default the same for all nodes and clusters


class TwoNodes:
    """A head node, and another one that can be killed.

    Args:
        of_the_head: further options of the head node.
        of_the_second: of the other one.
    """

    def __init__(self, of_the_head: Mapping[str, Any] = {}, of_the_second: Mapping[str, Any] = {}):
        from ray.cluster_utils import Cluster

        options = {"num_cpus": 1, "object_store_memory": MEMORY}
        # The dashboard is a dozen processes, which take longer to start than all else.
        head = options | {"include_dashboard": False, AGENT_PORT: free_port()} | of_the_head
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self._second: Any = self.cluster.add_node(**options | {AGENT_PORT: free_port()} | of_the_second)
        self.cluster.wait_for_nodes()

    def kill_second(self) -> None:
        self.cluster.remove_node(self._second, allow_graceful=False)
        self._second = None

    def mend(self) -> None:
        """Start the second node again, if it was killed."""
        if self._second is None:
            self._second = self.cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
            self.cluster.wait_for_nodes()


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoNodes]:
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        nodes = TwoNodes()
    yield nodes
    ray.shutdown()
    nodes.cluster.shutdown()


@pytest.fixture
def nodes(started: TwoNodes, monkeypatch: pytest.MonkeyPatch) -> TwoNodes:
    monkeypatch.setenv("RAY_ADDRESS", started.cluster.address)
    started.mend()
    return started


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many items were left of each block that a worker was given: more than there are, where some were asked of two."""
    hand_out, asked = _Block.hand_out, []

    def note(block: _Block) -> list[Any]:
        items = hand_out(block)
        asked.append(len(items))
        return items

    monkeypatch.setattr(_Block, "hand_out", note)
    return asked


def processes(name: str) -> list[psutil.Process]:
    """Processes of the cluster whose command has a name in it, such as ray::Actor."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if name in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def wait_until(true: Callable[[], object], seconds: float = 600) -> None:
    """Look until something holds; fail if it does not."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not true within {seconds} s"
        time.sleep(0.1)
