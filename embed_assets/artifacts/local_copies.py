"""What this machine has of the artifacts of an object store: what is read stays, and what was not used for longest goes.

Other processes fetch, build and remove at the same time, so any file that is looked at may be gone.
"""

import fcntl
import glob
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from embed_assets.artifacts.files import is_locked, lock
from embed_assets.artifacts.prune import FINGERPRINT, remove
from embed_assets.artifacts.remote_folder import RemoteError
from embed_assets.artifacts.store import LOCKS, MANIFEST

CACHE_SIZE, DEFAULT_CACHE_SIZE = "EMBED_ASSETS_CACHE_GB", 100.0
LOOKED_EVERY = 180.0  # seconds, of all processes of this machine together: a look reads the sizes of all files
# Of those that a process asked for last no other one takes the files away. Each is an open file, of which a process may have
# as few as 1024.
MOST_IN_USE = 256
_in_use: OrderedDict[Path, IO[str]] = OrderedDict()  # path of the artifact → its lock file
_one_at_a_time = threading.Lock()


def lock_file(path: Path, what: str) -> Path:
    """A lock file of an artifact; its own name is that of the lock of who builds it."""
    locks = path.parent / LOCKS
    locks.mkdir(parents=True, exist_ok=True)
    return locks / f"{path.name}.{what}"


def use(path: Path) -> None:
    """Say that this process reads an artifact, and that it does so now, for the order of those that go first."""
    with _one_at_a_time:
        if path not in _in_use:
            handle = lock_file(path, "use").open("a")
            fcntl.flock(handle, fcntl.LOCK_SH)
            _in_use[path] = handle
        _in_use.move_to_end(path)
        while len(_in_use) > MOST_IN_USE:
            _in_use.popitem(last=False)[1].close()
    with suppress(FileNotFoundError):
        os.utime(path / MANIFEST)


def make_room(root: Path, is_stored: Callable[[Path], bool]) -> None:
    """Remove what was not used for longest, and is stored, while all takes more than it may; every few minutes.

    Args:
        root: of the store on this machine.
        is_stored: whether the object store has an artifact.
    """
    left, path = cache_size(), lock_file(root / "cache", "room")
    with suppress(FileNotFoundError):
        if time.time() - path.stat().st_mtime < LOOKED_EVERY or is_locked(path):
            return
    with lock(path):
        for _, folder in sorted(_artifacts(root), reverse=True):
            left -= _size(folder)
            if left < 0:
                _drop(folder, is_stored)


def cache_size() -> float:
    """How many bytes the artifacts of an object store may take on this machine.

    Raises:
        RemoteError: the environment variable is no number.
    """
    given = os.environ.get(CACHE_SIZE)
    try:
        return float(given or DEFAULT_CACHE_SIZE) * 1e9
    except ValueError:
        raise RemoteError(f"{CACHE_SIZE} is {given!r}: make it a number of gigabytes") from None


def _artifacts(root: Path) -> Iterator[tuple[float, Path]]:
    """When each was used, and its folder: those of collections, and one level deeper those of their trials."""
    for pattern in (f"*/*/*/{MANIFEST}", f"*/*/*/*/{MANIFEST}"):
        for name in glob.iglob(pattern, root_dir=root):  # noqa: PTH207, whose Path.glob fails where a folder goes meanwhile
            path = root / name
            if FINGERPRINT.fullmatch(path.parent.name):
                with suppress(FileNotFoundError):
                    yield path.stat().st_mtime, path.parent


def _size(folder: Path) -> int:
    total = 0
    for above, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += Path(above, name).stat().st_size
    return total


def _drop(path: Path, is_stored: Callable[[Path], bool]) -> None:
    with lock_file(path, "use").open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if is_stored(path):
            with suppress(FileNotFoundError):
                remove(path)
