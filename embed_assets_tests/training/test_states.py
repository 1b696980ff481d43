"""States of trainings that several machines, or the trainer and who keeps its states, touch at once."""

import json
import logging
from pathlib import Path

import pytest

from embed_assets.artifacts.remote_folder import RemoteFolder, share
from embed_assets.training import states
from embed_assets.training.states import COMPLETE, STATE, fetch_states, keep_states, last_state


class Machine:
    """A scratch folder that is shared at an address, with the states that a trainer saves there."""

    def __init__(self, scratch: Path, address: str):
        self.scratch, self.states = scratch, scratch / STATE
        share(scratch, address)

    def save(self, step: int, best: int | None = None) -> None:
        """As the trainer saves a state, without those that it rotates out."""
        folder = self.states / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_text(f"{self.scratch.name} at {step}")
        state = {"global_step": step, "best_model_checkpoint": best and str(self.states / f"checkpoint-{best}")}
        (folder / COMPLETE).write_text(json.dumps(state))

    def drop(self, step: int) -> None:
        for path in (self.states / f"checkpoint-{step}").iterdir():
            path.unlink()
        (self.states / f"checkpoint-{step}").rmdir()

    def text(self, step: int) -> str:
        return (self.states / f"checkpoint-{step}" / "model.safetensors").read_text()


@pytest.fixture
def machines(tmp_path: Path, remote_address: str) -> tuple[Machine, Machine, Machine]:
    one, two, three = (Machine(tmp_path / name, remote_address) for name in ("one", "two", "three"))
    return one, two, three


def steps_there(address: str) -> list[list[str]]:
    """The names of the states of each machine."""
    remote = RemoteFolder(address)
    return sorted(sorted(remote.folders(f"{STATE}/{name}")) for name in remote.folders(STATE))


def test_a_machine_behind_leaves_the_states_of_one_ahead(machines, remote_address):
    slow, fast, third = machines
    fast.save(100, best=100)
    fast.save(200, best=100)
    keep_states(fast.scratch)
    slow.save(100)
    keep_states(slow.scratch)
    assert steps_there(remote_address) == [["checkpoint-100"], ["checkpoint-100", "checkpoint-200"]]
    fetch_states(third.scratch)
    assert (third.text(100), third.text(200)) == ("two at 100", "two at 200")
    best = json.loads((third.states / "checkpoint-200" / COMPLETE).read_text())["best_model_checkpoint"]
    assert best == str(third.states / "checkpoint-100")


def test_states_go_where_the_trainer_has_removed_them_and_where_a_machine_has_not_come_as_far(machines, remote_address):
    slow, fast, _ = machines
    slow.save(100)
    keep_states(slow.scratch)
    fast.save(100)
    fast.save(200)
    keep_states(fast.scratch)
    assert steps_there(remote_address) == [["checkpoint-100", "checkpoint-200"]]
    fast.save(300)
    fast.drop(100)
    keep_states(fast.scratch)
    assert steps_there(remote_address) == [["checkpoint-200", "checkpoint-300"]]


def test_a_state_that_is_removed_while_it_is_fetched_leaves_what_is_here(machines, monkeypatch, caplog):
    here, other, _ = machines
    here.save(50)
    other.save(100)
    other.save(200)
    keep_states(other.scratch)
    download = RemoteFolder.download

    def rotate_meanwhile(self: RemoteFolder, name: str, path: Path, size: int) -> str:
        self.delete([it.name for it in self.objects() if "checkpoint-200" in it.name])
        return download(self, name, path, size)

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "embed_assets"):
        patch.setattr(RemoteFolder, "download", rotate_meanwhile)
        fetch_states(here.scratch)
    assert "goes on with what is here" in caplog.text
    assert last_state(here.states) == here.states / "checkpoint-50" and here.text(50) == "one at 50"
    assert sorted(path.name for path in here.scratch.iterdir()) == ["shared_at", STATE]
    fetch_states(here.scratch)  # the state that is left is taken by the next one
    assert here.text(100) == "two at 100" and not (here.states / "checkpoint-50").exists()


def test_states_of_a_store_that_is_out_of_reach_are_not_waited_for(machines, monkeypatch, caplog):
    here, _, _ = machines
    here.save(50)
    monkeypatch.setattr(RemoteFolder, "objects", lambda *_: (_ for _ in ()).throw(states.RemoteError("no route")))
    with caplog.at_level(logging.WARNING, "embed_assets"):
        fetch_states(here.scratch)
        keep_states(here.scratch)
    assert caplog.text.count("no route") == 2 and last_state(here.states) == here.states / "checkpoint-50"


def test_a_state_that_is_removed_while_it_is_read_or_uploaded_counts_as_gone(machines, monkeypatch, remote_address):
    here, _, _ = machines
    here.save(100)
    here.save(200)
    read, below = Path.read_text, states.files_below

    def rotate_first(path: Path, *arguments: object, **more: object) -> str:
        if path.parent.name == "checkpoint-100" and path.exists():
            here.drop(100)
        return read(path, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", rotate_first)
        assert last_state(here.states) == here.states / "checkpoint-200"
    here.save(100)

    def rotate_meanwhile(folder: Path):
        if folder.name == "checkpoint-100":
            here.drop(100)
        return below(folder)

    monkeypatch.setattr(states, "files_below", rotate_meanwhile)
    keep_states(here.scratch)
    assert steps_there(remote_address) == [["checkpoint-200"]]
