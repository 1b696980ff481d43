"""Where the states of a training are kept, so that another machine can go on with it.

Where the home is on an object store, the scratch folder is shared at an address, and each state is uploaded when it is saved:
its files first, and trainer_state.json, which says that it is complete, last.
"""

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embed_assets.artifacts.files import files_below
from embed_assets.artifacts.remote_folder import RemoteError, RemoteFolder, shared_at

if TYPE_CHECKING:
    from transformers import TrainerCallback

logger = logging.getLogger(__name__)
# The state of the trainer in the scratch folder of a training.
STATE = "trainer"
COMPLETE = "trainer_state.json"


def last_state(folder: Path) -> Path | None:
    """The newest complete training state: trainer_state.json is what the trainer writes last."""
    complete = []
    for path in folder.glob(f"checkpoint-*/{COMPLETE}"):
        try:
            complete.append((json.loads(path.read_text())["global_step"], path.parent))
        except (json.JSONDecodeError, KeyError):
            continue
    return max(complete)[1] if complete else None


def fetch_states(scratch: Path) -> None:
    """Have the states of a training on this machine, if another one came further with it.

    Args:
        scratch: of the training.
    """
    address = shared_at(scratch)
    if address is None:
        return
    remote, folder = RemoteFolder(address), scratch / STATE
    names = sorted(_complete(remote), key=_step)
    here = last_state(folder)
    if not names or (here is not None and _step(here.name) >= _step(names[-1])):
        return
    shutil.rmtree(folder, ignore_errors=True)
    for name in names:  # in their order: the trainer goes by the times of the folders
        logger.info("fetching the training state %s from %s", name, address)
        found = sorted(remote.objects(f"{STATE}/{name}"), key=lambda it: it.name.endswith(COMPLETE))
        for it in found:
            (scratch / it.name).parent.mkdir(parents=True, exist_ok=True)
            remote.download(it.name, scratch / it.name, it.size)
        path = folder / name / COMPLETE
        state = json.loads(path.read_text(encoding="utf-8"))
        if state.get("best_model_checkpoint"):
            state["best_model_checkpoint"] = str(folder / Path(state["best_model_checkpoint"]).name)
        path.write_text(json.dumps(state, indent=2), encoding="utf-8")


def keep_states(scratch: Path) -> None:
    """Upload the states that are not kept yet, and remove there those that the trainer has removed here.

    What cannot be reached now does not end the training: the next state is uploaded.
    """
    address = shared_at(scratch)
    if address is None:
        return
    remote, folder = RemoteFolder(address), scratch / STATE
    try:
        there = set(_complete(remote))
        here = {path.parent.name for path in folder.glob(f"checkpoint-*/{COMPLETE}")}
        for name in sorted(here - there, key=_step):
            for path in sorted(files_below(folder / name), key=lambda path: path.name == COMPLETE):
                remote.upload(path.relative_to(scratch).as_posix(), path)
        for name in there - here:
            found = sorted(remote.objects(f"{STATE}/{name}"), key=lambda it: not it.name.endswith(COMPLETE))
            remote.delete(it.name for it in found)
    except RemoteError as error:
        logger.warning("the training state is on this machine only: %s", error)


def states_callback(scratch: Path) -> "TrainerCallback":
    """Keeps each state when it is saved."""
    from transformers import TrainerCallback

    class KeepStates(TrainerCallback):
        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.is_world_process_zero:
                keep_states(scratch)

    return KeepStates()


def _complete(remote: RemoteFolder) -> Iterator[str]:
    """The names of the complete states of a training."""
    for it in remote.objects(STATE):
        folder, _, name = it.name.rpartition("/")
        if name == COMPLETE:
            yield folder.rpartition("/")[2]


def _step(name: str) -> int:
    return int(name.rpartition("-")[2])
