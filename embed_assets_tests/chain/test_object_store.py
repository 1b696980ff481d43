"""The whole chain with the home on an object store, from two machines: two folders that share nothing else."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from embed_assets.artifacts.remote_folder import RemoteFolder
from embed_assets.artifacts.workspace import open_workspace
from embed_assets.graph import DEFAULT_STAGES
from embed_assets.models.encoders import count_unencoded
from embed_assets.settings import read_settings
from embed_assets_tests.object_stores import SECRET_KEY
from embed_assets_tests.small_collections import write_small_collections

pytestmark = pytest.mark.slow
RUN = [sys.executable, "-m", "embed_assets.cli", "run", "routers"]


def environment(folder: Path, machine: str, home: str) -> dict[str, str]:
    own = {"EMBED_ASSETS_CACHE": str(folder / machine), "EMBED_ASSETS_HOME": home, "EMBED_ASSETS_DATA": str(folder / "data")}
    return {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"} | own


def run(folder: Path, machine: str, home: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(RUN, env=environment(folder, machine, home), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


def digests(folder: Path, home: str) -> dict[str, str]:
    store = open_workspace(str(folder / "data"), home).store
    return {name: store.current(name, "routers").digest for name in DEFAULT_STAGES}


def test_a_second_machine_finds_what_the_first_one_built(tmp_path: Path, remote_address: str, monkeypatch: pytest.MonkeyPatch):
    write_small_collections(tmp_path / "data")
    remote = RemoteFolder(remote_address)

    # It is killed while it uploads the model: of the checkpoint, nothing is seen.
    with subprocess.Popen(RUN, env=environment(tmp_path, "one", remote_address), stderr=subprocess.DEVNULL) as process:
        while not any("/scratch/" not in it.name for it in remote.objects("artifacts/checkpoint")):
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    monkeypatch.setenv("EMBED_ASSETS_CACHE", str(tmp_path / "two"))
    store = open_workspace(str(tmp_path / "data"), remote_address).store
    assert any(remote.objects("artifacts/checkpoint")) and list(store.artifacts("checkpoint", "routers")) == []
    assert store.current("triplets", "routers").digest

    healed = run(tmp_path, "one", remote_address).stderr
    assert "training on" not in healed, "it had trained already, and only not uploaded"

    second = run(tmp_path, "two", remote_address)
    assert "training on" not in second.stderr and "encoding" not in second.stderr
    # What the first one encoded, the second one has not to encode again.
    place = open_workspace(str(tmp_path / "data"), remote_address)
    passages = place.store.current("corpus_chunks", "routers").folder / "chunks.parquet"
    model = read_settings(place, "routers").base_model
    assert count_unencoded(model, place.memos, [], pl.read_parquet(passages)["passage"]) == 0
    plan = [sys.executable, "-m", "embed_assets.cli", "plan", "routers", "--json"]
    told = subprocess.run(plan, env=environment(tmp_path, "two", remote_address), capture_output=True, text=True, check=True)
    assert {json.loads(line)["outcome"] for line in told.stdout.splitlines()} == {"reused"}
    assert not list((tmp_path / "two").rglob("*.safetensors")), "a model was fetched for nothing"

    run(tmp_path, "local", str(tmp_path / "home"))
    assert digests(tmp_path, remote_address) == digests(tmp_path, str(tmp_path / "home"))
    texts = [healed, second.stderr, *(path.read_text(errors="replace") for path in tmp_path.rglob("*.json"))]
    stored = [remote.read(it.name) for it in remote.objects() if it.name.endswith("manifest.json")]
    assert not any(SECRET_KEY in text for text in texts)
    assert len(stored) > 8 and not any(SECRET_KEY.encode() in it.content for it in stored if it)
