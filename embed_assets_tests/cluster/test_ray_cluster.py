"""What is refused before a cluster is asked, and folders that are sent to its nodes; no cluster is started."""

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from embed_assets.cluster.files import DriverFiles
from embed_assets.cluster.ray_cluster import Cluster, ClusterError, ClusterUnreachableError, check_room, connect
from embed_assets_tests.ports import free_port

FOUR_GPUS, NO_GPU = {"GPU": 4.0, "CPU": 16.0, "memory": 1e9}, {"CPU": 64.0}


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("", "RAY_ADDRESS is not set: set it to the address of the head node"),
        ("ray://head:10001", "RAY_ADDRESS is 'ray://head:10001': the run has to be on a node of the cluster"),
        ("localhost:many", "nothing answers there"),
    ],
)
def test_an_address_that_does_not_do_is_refused_with_advice(address: str, words: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ClusterError, match=words):
        connect(Cluster())


def test_a_cluster_that_is_down_is_named_at_once_and_may_come_back(monkeypatch: pytest.MonkeyPatch):
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ClusterUnreachableError, match=rf"RAY_ADDRESS is '{address}'.*is the cluster up \('ray status'\)"):
        connect(Cluster())


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ray" else find(name))
    with pytest.raises(ClusterError, match=r"pip install 'embed-assets\[ray\]'"):
        connect(Cluster())


@pytest.mark.parametrize(
    ("cluster", "nodes", "words"),
    [
        (
            Cluster(9, 1, 1),
            [FOUR_GPUS, FOUR_GPUS, NO_GPU],
            r"9 do not fit .* room for 8 \(nodes: 2 x 4 GPUs and 16 .*8 or less",
        ),
        (Cluster(2, 2, 12), [FOUR_GPUS], "workers of 2 GPUs and 12 CPUs: 2 do not fit .* set workers to 1 or less"),
        (Cluster(1, 1, 1), [NO_GPU], r"room for 0 \(nodes: 1 x 0 GPUs and 64 CPUs\): ask for less with worker_gpus"),
    ],
)
def test_workers_without_room_are_refused_with_what_there_is(cluster: Cluster, nodes: list, words: str):
    with pytest.raises(ClusterError, match=words):
        check_room(cluster, nodes)
    check_room(Cluster(cluster.workers, cluster.worker_gpus, cluster.worker_cpus, grows=True), nodes)


@pytest.mark.parametrize("cluster", [Cluster(8, 1, 1), Cluster(16, 0.5, 2), Cluster(96, 0, 1), Cluster(40, 0.2, 0.4)])
def test_workers_that_fit_are_taken(cluster: Cluster):
    check_room(cluster, [FOUR_GPUS, FOUR_GPUS, NO_GPU])


def test_a_folder_arrives_on_a_node_that_has_not_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("embed_assets.cluster.files.BYTES_IN_A_PART", 4)
    folder = tmp_path / "model"
    (folder / "1_Pooling").mkdir(parents=True)
    contents = {"model.safetensors": b"0123456789", "1_Pooling/config.json": b"{}", "empty": b""}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    files = DriverFiles.of(folder)
    assert files.on_this_node() == folder
    parts = list(files.parts())
    assert max(len(part) for _, part in parts) == 4
    shutil.rmtree(folder)
    assert files.on_this_node() is None
    received = files.receive(parts)
    assert {
        path.relative_to(received).as_posix(): path.read_bytes() for path in received.rglob("*") if path.is_file()
    } == contents
    assert files.on_this_node() == received
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"of another model")
    assert files.on_this_node() == received


def test_a_single_file_keeps_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model = tmp_path / "models" / "writer.gguf"
    model.parent.mkdir()
    model.write_bytes(b"GGUF")
    model.with_name("other.gguf").write_bytes(b"another model")
    files = DriverFiles.of(model)
    parts = list(files.parts())
    model.unlink()
    received = files.receive(parts)
    assert received.name == "writer.gguf" and received.read_bytes() == b"GGUF" and len(list(received.parent.iterdir())) == 1


def test_what_was_not_used_for_long_goes_when_something_is_received(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def sent(name: str) -> tuple[DriverFiles, Path]:
        path = tmp_path / name
        path.write_text(name)
        files, parts = DriverFiles.of(path), list(DriverFiles.of(path).parts())
        path.unlink()
        return files, files.receive(parts)

    (old, old_path), (used, used_path) = sent("old"), sent("used")
    half = used_path.parent.parent / ".half.0123"  # of a worker that was killed
    half.mkdir()
    long_ago = time.time() - 31 * 24 * 3600
    for path in (half, *half.parent.glob(".*.lock")):
        os.utime(path, (long_ago, long_ago))
    assert used.on_this_node() == used_path and used_path.exists()
    _, new_path = sent("new")
    assert old.on_this_node() is None and not old_path.exists() and not half.exists()
    assert used_path.read_text() == "used" and new_path.read_text() == "new"


def test_the_code_location_and_the_encoder_do_not_import_ray():
    code = "import sys, embed_assets.definitions, embed_assets.models.encoders; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "embed_assets.cluster.workers" in modules and not {"ray", "dagster_ray"} & set(modules)
