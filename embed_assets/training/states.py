"""Where the states of a training are kept, so that another machine can go on with it.

Where the home is on an object store, the scratch folder is shared at an address, and each state is uploaded when it is saved:
its files first, and trainer_state.json, which says that it is complete, last. Each machine uploads to a folder of its own, so
two that train the same at once never write into one another's states; who begins takes those of whoever came furthest.
"""

import json
import logging
import shutil
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embed_assets.artifacts.files import files_below, unused_name, write_atomically
from embed_assets.artifacts.remote_folder import Listed, RemoteError, RemoteFolder, shared_at
from embed_assets.training.memory import least_of_all

if TYPE_CHECKING:
    import torch
    from transformers import TrainerCallback

logger = logging.getLogger(__name__)
# The state of the trainer in the scratch folder of a training.
STATE = "trainer"
COMPLETE = "trainer_state.json"
# As a plain disk takes them.
BYTES_PER_SECOND = 500e6
SAVING_SHARE = 0.1
# Names this machine among those that upload states of the same training; a file of the scratch folder.
UPLOADER = "uploader"
States = dict[str, list[Listed]]  # the objects of each state, by its name


def last_state(folder: Path) -> Path | None:
    """The newest complete training state: trainer_state.json is what the trainer writes last."""
    complete = []
    for path in folder.glob(f"checkpoint-*/{COMPLETE}"):
        try:
            complete.append((json.loads(path.read_text())["global_step"], path.parent))
        except (OSError, ValueError, KeyError):  # it is written, or removed, at this moment
            continue
    return max(complete)[1] if complete else None


def find_best_in(states: Path, place: Path) -> None:
    """Let each state, which comes from elsewhere, look for the best one beside it.

    Args:
        states: folder of the states.
        place: what this folder will be called.
    """
    for path in states.glob(f"checkpoint-*/{COMPLETE}"):
        state = json.loads(path.read_text(encoding="utf-8"))
        if best := state.get("best_model_checkpoint"):
            state["best_model_checkpoint"] = str(place / Path(best).name)
            path.write_text(json.dumps(state, indent=2), encoding="utf-8")


def fetch_states(scratch: Path) -> None:
    """Have the states of a training on this machine, if another one came further with it.

    What cannot be fetched, also because the other machine removes it meanwhile, leaves those that are here.

    Args:
        scratch: of the training; only one process may work in it.
    """
    address = shared_at(scratch)
    if address is None:
        return
    remote, folder = RemoteFolder(address), scratch / STATE
    for left in scratch.glob(f".{STATE}.*"):  # of a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    fetched = unused_name(folder)
    try:
        found = _uploaded(remote)
        uploader = max(found, key=lambda name: _newest(_complete(found[name])), default=None)
        theirs = _complete(found[uploader]) if uploader is not None else {}
        here = last_state(folder)
        if not theirs or (here is not None and _step(here.name) >= _newest(theirs)):
            return
        for name in sorted(theirs, key=_step):  # in their order: the trainer goes by the times of the folders
            logger.info("fetching the training state %s from %s", name, address)
            for it in theirs[name]:
                path = fetched / it.name.removeprefix(f"{STATE}/{uploader}/")
                path.parent.mkdir(parents=True, exist_ok=True)
                remote.download(it.name, path, it.size)
        find_best_in(fetched, folder)
        if folder.exists():
            folder.rename(unused_name(folder))
        fetched.rename(folder)
    except (RemoteError, FileNotFoundError) as error:
        logger.warning("no training state is fetched, the training goes on with what is here: %s", error)
    finally:
        for left in scratch.glob(f".{STATE}.*"):
            shutil.rmtree(left, ignore_errors=True)


def keep_states(scratch: Path) -> None:
    """Upload the states that are not kept yet, and remove there those that the trainer has removed here.

    So are all states of a machine that has not come as far. What cannot be reached now does not end the training: the next
    state is uploaded.
    """
    address = shared_at(scratch)
    if address is None:
        return
    remote, folder = RemoteFolder(address), scratch / STATE
    try:
        uploader = _name_of_uploader(scratch)
        found = _uploaded(remote)
        own = found.pop(uploader, {})
        here = {path.parent.name for path in folder.glob(f"checkpoint-*/{COMPLETE}")}
        kept = here & _complete(own).keys()
        for name in sorted(here - kept, key=_step):
            if _upload(remote, scratch, uploader, name):
                kept.add(name)
        newest = _newest(kept)
        _remove(remote, {name: it for name, it in own.items() if name not in here and _step(name) < newest})
        for others in found.values():
            if _newest(others) < newest:
                _remove(remote, others)
    except (RemoteError, OSError) as error:
        logger.warning("the training state is on this machine only: %s", error)


def states_callback(scratch: Path) -> "TrainerCallback":
    """Keeps each state when it is saved, and passes over a state that would take longer to save than it is worth.

    A state has the weights and the two moments of those that are trained (bytes_of_state): 15 GB of a model of 1.2 billion. At
    most a tenth of the time goes into writing them. Where the best state is looked for, all are saved.
    """
    from transformers import TrainerCallback

    class KeepStates(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
            self._seconds = bytes_of_state(model) / BYTES_PER_SECOND
            self._last = time.monotonic()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if control.should_save and not args.load_best_model_at_end:
                worth = time.monotonic() - self._last >= self._seconds / SAVING_SHARE
                control.should_save = bool(least_of_all(int(worth), args.device))

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.is_world_process_zero:
                keep_states(scratch)
            self._last = time.monotonic()

    return KeepStates()


def bytes_of_state(model: "torch.nn.Module") -> int:
    """What a state takes, about: the weights, and two moments of those that are trained; of a model with adapters, theirs alone.

    A divided model is saved whole, adapters or not.
    """
    from torch.distributed.tensor import DTensor

    with_adapters = getattr(getattr(model, "transformers_model", None), "_hf_peft_config_loaded", False)
    weights = list(model.parameters())
    frozen = 0 if with_adapters and not any(isinstance(weight, DTensor) for weight in weights) else 4
    return sum(weight.numel() * (12 if weight.requires_grad else frozen) for weight in weights)


def _name_of_uploader(scratch: Path) -> str:
    path = scratch / UPLOADER
    if not path.is_file():
        write_atomically(path, uuid.uuid4().hex)
    return path.read_text(encoding="utf-8")


def _upload(remote: RemoteFolder, scratch: Path, uploader: str, name: str) -> bool:
    """Upload a state; returns whether it is there now: not where it was removed here meanwhile."""
    state = scratch / STATE / name
    try:
        for path in sorted(files_below(state), key=lambda path: path.name == COMPLETE):
            remote.upload(f"{STATE}/{uploader}/{path.relative_to(scratch / STATE).as_posix()}", path)
    except (RemoteError, OSError):
        if (state / COMPLETE).is_file():
            raise
        return False
    return True


def _uploaded(remote: RemoteFolder) -> dict[str, States]:
    """The states of each uploader, trainer_state.json last among the objects of each."""
    found: dict[str, States] = {}
    for it in sorted(remote.objects(STATE), key=lambda it: it.name.endswith(f"/{COMPLETE}")):
        parts = it.name.split("/")
        if len(parts) > 3 and parts[2].startswith("checkpoint-"):
            found.setdefault(parts[1], {}).setdefault(parts[2], []).append(it)
    return found


def _complete(states: States) -> States:
    return {name: it for name, it in states.items() if it[-1].name.endswith(f"/{COMPLETE}")}


def _remove(remote: RemoteFolder, states: Mapping[str, list[Listed]]) -> None:
    for found in states.values():
        remote.delete(it.name for it in reversed(found))  # what says that it is complete goes first


def _newest(names: Iterable[str]) -> int:
    return max(map(_step, names), default=-1)


def _step(name: str) -> int:
    return int(name.rpartition("-")[2])
