"""A disk that fills up at any step of a build, and clocks that jump: nothing is half, and the next run goes on."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from embed_assets.artifacts.store import ArtifactStore

# The write that would make the disk too full fails, whichever it is: the result, the manifest or the pointer.
PROGRAM = """
import errno, os, sys
from pathlib import Path
import embed_assets.artifacts.files as files
from embed_assets.artifacts.store import ArtifactStore

left = int(sys.argv[2])
really = os.fsync

def fsync(descriptor):
    global left
    left -= 1
    if left == 0:
        raise OSError(errno.ENOSPC, "No space left on device")
    really(descriptor)

os.fsync = fsync

def write(folder, scratch):
    (scratch / "state").write_text("state")
    (folder / "text.txt").write_text("new")

ArtifactStore(Path(sys.argv[1])).build("checkpoint", "ferry", {"seed": 2}, write)
"""
LIMITED = """
import resource, signal, sys
from pathlib import Path
from embed_assets.artifacts.store import ArtifactStore

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)

def write(folder, scratch):
    (folder / "text.txt").write_text("new" * 20)

ArtifactStore(Path(sys.argv[1])).build("checkpoint", "ferry", {"seed": 2}, write)
"""


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    store = ArtifactStore(tmp_path / "artifacts")
    store.build("checkpoint", "ferry", {"seed": 1}, write)
    return store


def write(folder: Path, scratch: Path) -> None:
    (folder / "text.txt").write_text("old")


def run(program: str, store: ArtifactStore, argument: int) -> int:
    arguments = [sys.executable, "-c", program, str(store.root), str(argument)]
    return subprocess.run(arguments, capture_output=True).returncode


@pytest.mark.parametrize(("program", "steps"), [(PROGRAM, range(1, 12)), (LIMITED, (0, 1, 59, 61, 200))], ids=["disk", "file"])
def test_a_full_disk_leaves_the_artifact_before_it(store, program, steps):
    """At every step what is current is whole: the old one, or the new one where only the very last step failed."""
    outcomes = set()
    for step in steps:
        outcomes.add(run(program, store, step) == 0)
        current = store.current("checkpoint", "ferry")
        assert (current.folder / "text.txt").read_text() in ("old", "new" if program is PROGRAM else "new" * 20)
        for path in (store.root / "checkpoint" / "ferry").glob("*/manifest.json"):
            json.loads(path.read_text())
    assert False in outcomes
    assert run(program, store, 10_000) == 0
    assert (store.current("checkpoint", "ferry").folder / "text.txt").read_text().startswith("new")


def test_a_clock_that_jumps_changes_nothing(store, monkeypatch):
    """Years back and ahead: what is found, what is current and what it is made of do not depend on the clock."""
    before = store.current("checkpoint", "ferry")
    for year in (1970, 2199):
        monkeypatch.setattr("embed_assets.artifacts.store.datetime", clock_of(year))
        assert store.build("checkpoint", "ferry", {"seed": 1}, write).reused
        later = store.build("checkpoint", "ferry", {"seed": year}, write)
        assert later.manifest["built_at"].startswith(str(year))
        assert store.current("checkpoint", "ferry").fingerprint == later.fingerprint
        assert later.digest == before.digest


def clock_of(year: int):
    from datetime import datetime

    class Clock(datetime):
        @classmethod
        def now(cls, zone=None):
            return super().now(zone).replace(year=year, day=1)

    return Clock
