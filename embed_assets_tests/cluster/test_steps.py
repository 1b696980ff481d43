"""The steps of a run as jobs on a Ray cluster."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from embed_assets.artifacts.workspace import open_workspace
from embed_assets_tests.cluster.conftest import TwoNodes
from embed_assets_tests.ports import free_port
from embed_assets_tests.small_collections import BAKERY, SETTINGS, write_collection

UNTIL = ("evaluation_set", "triplets")


@pytest.mark.slow
def test_each_step_is_a_job_on_the_cluster_and_makes_what_one_machine_makes(
    workspace_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    data = workspace_folder / "data"
    write_collection(data / "collections" / "bakery", BAKERY)
    (data / "settings.yaml").write_text(json.dumps(SETTINGS))
    monkeypatch.setenv("EMBED_ASSETS_GPU", "device=cpu")
    here = run(workspace_folder, "here", os.environ.copy())
    nodes = TwoNodes(include_dashboard=True, dashboard_port=free_port())
    try:
        address = {"RAY_ADDRESS": nodes.cluster.address, "EMBED_ASSETS_EXECUTOR": "ray"}
        there = run(workspace_folder, "there", os.environ | address)
        assert there == here and set(there) == {"corpus_chunks", "qa_pairs", *UNTIL}
        jobs = json.loads(subprocess.check_output([sys.executable, "-c", JOBS], env=os.environ | address))
        assert jobs == dict.fromkeys(there, "SUCCEEDED")
    finally:
        nodes.cluster.shutdown()


# In a process of its own: this one has joined the cluster of the other tests.
JOBS = """
import json
from ray.job_submission import JobSubmissionClient
print(json.dumps({job.metadata["dagster/op"]: job.status.value for job in JobSubmissionClient().list_jobs()}))
"""


def run(folder: Path, home: str, environment: dict[str, str]) -> dict[str, str]:
    """Run the command; returns the digest of each asset."""
    until = [word for asset in UNTIL for word in ("--until", asset)]
    command = [sys.executable, "-m", "embed_assets.cli", "run", "bakery", "--home", str(folder / home), *until]
    environment |= {"DAGSTER_HOME": str(folder / home)}
    subprocess.run(command, env=environment, check=True)
    store = open_workspace(str(folder / "data"), str(folder / home)).store
    return {asset: store.current(asset, "bakery").digest for asset in ("corpus_chunks", "qa_pairs", *UNTIL)}
