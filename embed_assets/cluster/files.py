"""Folders of the driver on nodes of a cluster that have no folder in common with it."""

import contextlib
import logging
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from embed_assets.artifacts.cache import cache_folder
from embed_assets.artifacts.files import (
    digest_of_path,
    files_below,
    fingerprint_of,
    is_locked,
    lock,
    unused_name,
    write_folder_atomically,
)

logger = logging.getLogger(__name__)
BYTES_IN_A_PART = 64 * 2**20
DAYS_KEPT = 30.0


@dataclass(frozen=True)
class DriverFiles:
    """A folder of the driver, or a single file.

    Args:
        path: where the driver has it.
        digest: of its files, as digest_of_path makes it.
        is_file: whether it is a single file.
        stamp: sizes and times of the files, to know them without reading them on a node that shares the folder.
    """

    path: Path
    digest: str
    is_file: bool
    stamp: str

    @classmethod
    def of(cls, path: Path) -> "DriverFiles":
        """What is at a path of this machine."""
        return cls(path, digest_of_path(path), path.is_file(), _stamp(path))

    def on_this_node(self) -> Path | None:
        """Where this node has the same files: at the same path, or received before; None if it has not."""
        if self.path.exists() and (_stamp(self.path) == self.stamp or digest_of_path(self.path) == self.digest):
            return self.path
        if not self._received().exists():
            return None
        self._use()
        return self._received()

    def parts(self) -> Iterator[tuple[str, bytes]]:
        """The files in parts that fit in memory, each with the name of its file."""
        root = self.path.parent if self.is_file else self.path
        for file in [self.path] if self.is_file else sorted(files_below(self.path)):
            yield from ((file.relative_to(root).as_posix(), part) for part in parts_of(file))

    def receive(self, parts: Iterable[tuple[str, bytes]]) -> Path:
        """Write the parts of all files to the cache of this node, unless it has them; returns where.

        What was not used there for DAYS_KEPT goes.
        """
        folder = self._folder()
        folder.parent.mkdir(parents=True, exist_ok=True)
        with lock(_lock_of(folder)):
            if not folder.exists():
                with write_folder_atomically(folder) as building:
                    for name, part in parts:
                        append(building / name, part)
            self._use()
        _remove_unused(folder.parent)
        return self._received()

    def _use(self) -> None:
        """Note that it is used now; its lock file is what tells that."""
        with contextlib.suppress(OSError):  # another user's cache can be read, too
            _lock_of(self._folder()).touch()

    def _folder(self) -> Path:
        return cache_folder("received") / self.digest

    def _received(self) -> Path:
        return self._folder() / self.path.name if self.is_file else self._folder()


def parts_of(path: Path) -> Iterator[bytes]:
    """The bytes of a file in parts that fit in memory; of an empty file, an empty one."""
    with path.open("rb") as stream:
        yield stream.read(BYTES_IN_A_PART)
        while part := stream.read(BYTES_IN_A_PART):
            yield part


def append(path: Path, part: bytes, anew: bool = False) -> None:
    """Write a part behind those that a file has, or in their place; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb" if anew else "ab") as stream:
        stream.write(part)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lock")


def _remove_unused(received: Path) -> None:
    """Remove what was received here and not used for long, and what a process began to receive that was killed.

    A process that has it open keeps the files that it reads.
    """
    oldest = time.time() - DAYS_KEPT * 24 * 3600
    for folder in [path for path in received.iterdir() if path.is_dir()]:
        used = _lock_of(folder)
        with contextlib.suppress(FileNotFoundError):  # another process removes it at the same time
            if (used if used.exists() else folder).stat().st_mtime < oldest and not is_locked(used):
                logger.info("removing %s, which was not used for %g days", folder, DAYS_KEPT)
                aside = unused_name(folder)
                folder.rename(aside)
                shutil.rmtree(aside, ignore_errors=True)


def _stamp(path: Path) -> str:
    files = [path] if path.is_file() else files_below(path)
    return fingerprint_of(sorted((file.as_posix(), file.stat().st_size, file.stat().st_mtime_ns) for file in files))
