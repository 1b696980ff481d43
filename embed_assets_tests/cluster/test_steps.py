"""A run and its steps as jobs on a Ray cluster."""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance, DagsterRunStatus
from ruamel.yaml import YAML

from embed_assets.artifacts.files import files_below
from embed_assets.artifacts.remote_folder import RemoteFolder
from embed_assets.artifacts.workspace import open_workspace
from embed_assets.defs.partitions import PARTITION_TAG, collections
from embed_assets.defs.placement import GIB
from embed_assets.graph import DEFAULT_STAGES
from embed_assets_tests.cluster.conftest import TwoNodes, wait_until
from embed_assets_tests.ports import free_port
from embed_assets_tests.small_collections import write_small_collections
from embed_assets_tests.test_documentation import block_of

ON_THE_SECOND = ("qa_pairs", "triplets", "checkpoint")
AT_ONCE = {
    "module": "dagster._core.run_coordinator",
    "class": "DefaultRunCoordinator",
}  # without a daemon that takes runs from a queue


@pytest.mark.slow
def test_a_run_and_its_steps_on_two_nodes_make_what_one_machine_makes(
    tmp_path: Path, remote_address: str, monkeypatch: pytest.MonkeyPatch
):
    """The whole chain, by the launcher of docs/deployment.md. The nodes share an object store and Dagster's records."""
    data, home, records, port = tmp_path / "data", tmp_path / "home", tmp_path / "records", free_port()
    remote = RemoteFolder(remote_address)
    write_small_collections(data)
    for path in files_below(data):
        remote.upload(f"data/{path.relative_to(data).as_posix()}", path)
    variables = {
        "EMBED_ASSETS_GPU": "device=cpu",
        # Ray places these where there is a GPU, and the others where there is none.
        "EMBED_ASSETS_STEPS": " ".join(f"{step}.gpus=1" for step in ON_THE_SECOND),
        "OMP_NUM_THREADS": "1",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-m", "embed_assets.cli", "run", "routers", "--data", str(data), "--home", str(home)]
    here = subprocess.Popen(command, env=os.environ | {"DAGSTER_HOME": str(home)})
    variables = {
        "EMBED_ASSETS_EXECUTOR": "ray",
        "EMBED_ASSETS_DATA": f"{remote_address}/data",
        "EMBED_ASSETS_HOME": f"{remote_address}/home",
        "DAGSTER_HOME": str(records),
        "RAY_DASHBOARD": f"http://127.0.0.1:{port}",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # the job of the run is "dagster api execute_run ..."
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    write_instance(records)
    # Not the memory that is free here at the moment: steps ask for 8 GiB, and take less. The run itself takes a core, too.
    head, second = ({"env_vars": {"EMBED_ASSETS_CACHE": str(tmp_path / name)}, "memory": 16 * GIB} for name in ("head", "second"))
    nodes = TwoNodes(head | {"include_dashboard": True, "dashboard_port": port, "num_cpus": 2}, second | {"num_gpus": 1})
    try:
        wait_until(lambda: jobs(port, {"entrypoint": "true"}))
        with DagsterInstance.get() as instance:
            instance.add_dynamic_partitions(collections.name, ["routers"])
            location = ["-m", "embed_assets.definitions", "-j", "run_collection"]
            tags = ["--tags", json.dumps({PARTITION_TAG: "routers"})]
            subprocess.run([sys.executable, "-m", "dagster", "job", "launch", *location, *tags], check=True)
            (run,) = instance.get_runs()
            # Its job comes to its end before the run does where it could not even begin.
            wait_until(lambda: not {"PENDING", "RUNNING"} & {job["status"] for job in jobs(port)}, 1800)
            assert instance.get_run_by_id(run.run_id).status == DagsterRunStatus.SUCCESS
        done = {job["metadata"].get("dagster/op", "run"): job["status"] for job in jobs(port) if job["metadata"]}
        assert set(done.values()) == {"SUCCEEDED"} and {*DEFAULT_STAGES, "run"} <= done.keys()
        assert here.wait() == 0
        assert digests(f"{remote_address}/data", f"{remote_address}/home") == digests(str(data), str(home))
        # Triplets were mined on the second node, and scores made on the head: neither needed the other's.
        for node, other, file in (("second", "head", "triplets.parquet"), ("head", "second", "runs.parquet")):
            assert any((tmp_path / node).rglob(file)) and not any((tmp_path / other).rglob(file))
    finally:
        here.kill()
        nodes.cluster.shutdown()


def write_instance(folder: Path) -> None:
    """Write the dagster.yaml of docs/deployment.md, but for what needs a server of its own."""
    written = YAML(typ="safe").load(block_of("deployment.md", "storage:"))
    del written["storage"]
    folder.mkdir()
    (folder / "dagster.yaml").write_text(json.dumps(written | {"run_coordinator": AT_ONCE}))


def jobs(port: int, new: dict[str, Any] | None = None) -> Any:
    """The jobs of the cluster, or the answer to a new one; nothing where the head node is not so far."""
    body = None if new is None else json.dumps(new).encode()
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/api/jobs/", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(asked) as answer:
            return json.load(answer)
    except OSError:
        return None


def digests(data: str, home: str) -> dict[str, str]:
    store = open_workspace(data, home).store
    return {stage: store.current(stage, "routers").digest for stage in DEFAULT_STAGES}
