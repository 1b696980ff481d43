"""Files that are written whole or not at all, their digests, and locks."""

import fcntl
import functools
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple


def fingerprint_of(value: Any) -> str:
    """SHA-256 of a JSON value, 32 hexadecimal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:32]


def files_below(folder: Path) -> Iterator[Path]:
    """All files in a folder and its folders, in no order; links to folders are not followed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from files_below(Path(entry.path))
            elif entry.is_file():
                yield Path(entry.path)


def is_below(name: str) -> bool:
    """Whether a name that came from elsewhere leads to something below the folder that it is relative to."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def digests_of_files(root: Path, files: Iterable[Path], anew: bool = False) -> dict[str, str]:
    """SHA-256 of each file by its name relative to root, sorted by name; 64 hexadecimal digits.

    Args:
        root: folder that the names are relative to.
        files: files below it.
        anew: read every file, also where its state says that it is known.
    """
    known = _file_digest if not anew else _file_digest.__wrapped__
    above = f"{root.as_posix().rstrip('/')}/"
    named = sorted((path.as_posix().removeprefix(above).split("/"), path) for path in files)
    digests = {}
    for parts, path in named:
        digests["/".join(parts)] = known(path, state_of(path))
    return digests


def digest_of_files(root: Path, files: Iterable[Path], anew: bool = False) -> str:
    """SHA-256 over names and bytes of the files, 32 hexadecimal digits; arguments as in digests_of_files."""
    return digest_of_hashes(digests_of_files(root, files, anew))


def digest_of_path(path: Path) -> str:
    """The same, of a file or of all files below a folder."""
    return digest_of_files(path.parent, [path]) if path.is_file() else digest_of_files(path, files_below(path))


def digest_of_hashes(hashes: Mapping[str, str]) -> str:
    """As digest_of_files, of what digests_of_files returns, in its order."""
    total = hashlib.sha256()
    for name, digest in hashes.items():
        # Names that are no UTF-8 count as the bytes that they are.
        total.update(f"{name}\0{digest}\n".encode(errors="surrogateescape"))
    return total.hexdigest()[:32]


class FileState(NamedTuple):
    """What is another after each change of a file; times in nanoseconds.

    The time of modification is not: archives and images give all of their files the same, such as 1970, and copies keep it.
    The time at which the entry of the file changed is set by the kernel alone.
    """

    size: int
    modified: int
    changed: int
    inode: int


def state_of(path: Path) -> FileState:
    """The state of a file."""
    status = path.stat()
    return FileState(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


@functools.lru_cache(maxsize=1_000_000)
def _file_digest(path: Path, state: FileState) -> str:
    """Hash of a file, computed again when its state changes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_atomically(path: Path, text: str) -> None:
    """Replace the file in one step: a reader sees the old or the new text, never a part, after a power cut too."""
    with write_file_atomically(path) as temporary, temporary.open("x", encoding="utf-8") as stream:
        stream.write(text)


@contextmanager
def write_file_atomically(path: Path) -> Iterator[Path]:
    """A file to write, which takes the place of this one in one step when all is written, for a reader and a power cut alike.

    Who may read and write it stays as it was; a link stays one, and leads to what was written.
    """
    path = path.resolve()
    temporary = unused_name(path)
    try:
        yield temporary
        with suppress(OSError):  # there was no such file, or its file system knows no rights
            shutil.copymode(path, temporary)
        sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def sync(path: Path) -> None:
    """Make a file, or the names in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unused_name(path: Path) -> Path:
    """A hidden name beside a file or folder that nobody else uses, on this machine or another."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}")


@contextmanager
def write_folder_atomically(folder: Path) -> Iterator[Path]:
    """A folder to write to, which takes the name of this one when all is written.

    A folder that is there and empty stays the one that it is: somebody may stand in it, or it may be a mount point.

    Raises:
        FileExistsError: there is something in the folder.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is not empty: name a new folder")
    folder = folder.resolve()  # "." has no name, and no folder beside it
    folder.parent.mkdir(parents=True, exist_ok=True)
    there = folder.exists()
    building = unused_name(folder / folder.name if there else folder)
    building.mkdir()
    try:
        yield building
        if there:
            for path in building.iterdir():
                path.rename(folder / path.name)
        else:
            building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


@contextmanager
def lock(path: Path, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Only one process at a time is within; the kernel frees the lock of a process that died.

    Args:
        path: the lock file.
        waiting: called once with who holds the lock, if it is not free at once.
    """
    with path.open("a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is not None:
                handle.seek(0)
                waiting(handle.read().strip() or "another process")
            fcntl.flock(handle, fcntl.LOCK_EX)
        handle.truncate(0)
        handle.write(f"process {os.getpid()}, since {datetime.now().astimezone().isoformat(timespec='seconds')}")
        handle.flush()
        yield


def is_locked(path: Path) -> bool:
    """Whether a process that lives holds the lock."""
    try:
        with path.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False
