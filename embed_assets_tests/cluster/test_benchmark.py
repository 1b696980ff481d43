"""What workers bring and take, as `embed-assets benchmark cluster` tells it."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from embed_assets.benchmarks.cluster import DIMENSIONS, benchmark_cluster, searching
from embed_assets.cli.main import main
from embed_assets_tests.cluster.conftest import TwoNodes
from embed_assets_tests.cluster.test_writing import ON_TWO
from embed_assets_tests.small_collections import write_small_collections


@pytest.mark.slow
def test_searching_is_measured_here_and_in_one_and_two_workers(nodes: TwoNodes):
    table = benchmark_cluster(searching(512), 512, ON_TWO)
    assert table["way"].to_list() == ["this process", "workers: 1", "workers: 2"]
    assert table["items"].to_list() == [512] * 3 and table["ratio"][0] == 1 and table["ratio"].min() > 0
    here, *there = table["sent_mb"]
    # All vectors go to the worker on the other node; the driver and the first one share the memory of theirs.
    assert max(there) - here > 65536 * DIMENSIONS * 4 / 2 / 1e6 / 2
    started_here, *started_there = table["start_seconds"]
    assert min(started_there) > started_here


def test_without_workers_the_options_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EMBED_ASSETS_GPU", "device=cpu")
    write_small_collections(tmp_path / "data")
    folders = ["--data", str(tmp_path / "data"), "--home", str(tmp_path / "home")]
    refused = CliRunner().invoke(main, ["benchmark", "cluster", "searching", "bakery", *folders])
    assert refused.exit_code == 2 and "--gpu cluster=ray --gpu workers=N" in refused.output
