"""Files that are written whole or not at all, their digests, and locks."""

import fcntl
import functools
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def fingerprint_of(value: Any) -> str:
    """SHA-256 of a JSON value, 32 hexadecimal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:32]


def digest_of_files(root: Path, files: Iterable[Path]) -> str:
    """SHA-256 over names (relative to root) and bytes of the files, 32 hexadecimal digits."""
    total = hashlib.sha256()
    for path in sorted(files):
        status = path.stat()
        file_digest = _file_digest(path, status.st_size, status.st_mtime_ns)
        total.update(f"{path.relative_to(root).as_posix()}\0{file_digest}\n".encode())
    return total.hexdigest()[:32]


@functools.lru_cache(maxsize=1_000_000)
def _file_digest(path: Path, size: int, modified: int) -> str:
    """Hash of a file, computed again when its size or time of modification changes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_atomically(path: Path, text: str) -> None:
    """Replace the file in one step: a reader sees the old or the new text, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


@contextmanager
def write_folder_atomically(folder: Path) -> Iterator[Path]:
    """A folder beside this one to write to, which takes its name when all is written.

    Raises:
        FileExistsError: there is something in the folder.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is not empty: name a new folder")
    building = folder.with_name(f".{folder.name}.{os.getpid()}")
    building.mkdir(parents=True)
    try:
        yield building
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Only one process builds an asset of a collection; the kernel frees the lock of a process that died."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
