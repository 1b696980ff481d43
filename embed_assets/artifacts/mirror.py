"""A data folder on an object store, as a folder of this machine that follows it.

A file is fetched when its ETag is another than before: a document that changed is one file to fetch. The documents of a
collection, which may be many, are listed and fetched only where a step reads them.
"""

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePosixPath

from embed_assets.artifacts.files import fingerprint_of, is_below, lock, unused_name, write_atomically
from embed_assets.artifacts.remote_folder import Listed, RemoteError, RemoteFolder, ReplacedError

logger = logging.getLogger(__name__)
DOCUMENTS = "documents"
FRESH_FOR = 30.0  # seconds in which a process looks once
FILES_AT_ONCE = 16
LISTINGS = 3  # of files that are replaced between a listing and the fetch
TOLD_EVERY = 1000  # files: what was fetched until then is not fetched again
_looked: dict[Path, float] = {}


class Mirror:
    """A folder of an object store, and what this machine has of it.

    Args:
        remote: the folder of the object store.
        folder: the one of this machine; nothing else writes there. What is known of its files lies beside it, where no
            object can be put.
    """

    def __init__(self, remote: RemoteFolder, folder: Path):
        self.remote, self.folder = remote, folder
        self.states = folder.with_name(f"{folder.name}.mirror")

    def follow(self) -> None:
        """Bring up to date all but the documents of collections, of which there is a folder without them."""
        self._follow("", partial(self._beside_documents, ""))

    def follow_documents(self, collection: Path) -> None:
        """Bring up to date the documents of a collection, given its folder on this machine."""
        place = (collection / DOCUMENTS).relative_to(self.folder).as_posix()
        if (collection / DOCUMENTS).is_dir():
            self._follow(place, partial(self.remote.objects, place))

    def _beside_documents(self, below: str) -> Iterator[Listed]:
        """The files, and for each folder of documents an entry with a slash at its end; LanceDB opens its tables by itself."""
        files, folders = self.remote.level(below)
        yield from files
        for name in folders:
            if name.rpartition("/")[2] == DOCUMENTS:
                yield Listed(f"{name}/", 0, "folder")
            elif not name.endswith(".lance"):
                yield from self._beside_documents(name)

    def _follow(self, place: str, look: Callable[[], Iterable[Listed]]) -> None:
        path = self.states / f"{fingerprint_of(place)}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        with lock(path.with_suffix(".lock")):
            if time.monotonic() - _looked.get(path, float("-inf")) < FRESH_FOR:
                return
            for _ in range(LISTINGS):
                replaced = self._follow_once(path, place, look)
                if not replaced:
                    _looked[path] = time.monotonic()
                    return
        raise ReplacedError(f"{self.remote.url}/{replaced[0]}: is replaced again and again: wait until its writer has ended")

    def _follow_once(self, path: Path, place: str, look: Callable[[], Iterable[Listed]]) -> list[str]:
        """Returns the names of files that were replaced or removed between the listing and the fetch."""
        known = _read(path)
        there = {it.name: it for it in _usable(look())}
        for name in known.keys() - there.keys():
            self._remove(name)
        state = {name: etag for name, etag in known.items() if name in there}
        changed = [it for it in there.values() if state.get(it.name) != it.etag or not self._is_here(it)]
        replaced: list[str] = []
        with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
            for start in range(0, len(changed), TOLD_EVERY):
                block = changed[start : start + TOLD_EVERY]
                fetched = list(pool.map(self._fetch, block))
                state |= {it.name: it.etag for it, done in zip(block, fetched, strict=True) if done}
                replaced += [it.name for it, done in zip(block, fetched, strict=True) if not done]
                write_atomically(path, json.dumps(state))
        if state.keys() != known.keys() and not changed:
            write_atomically(path, json.dumps(state))
        if changed:
            count = len(changed) - len(replaced)
            logger.info("%s/%s: fetched %d of %d files, which are new or changed", self.remote.url, place, count, len(there))
        return replaced

    def _is_here(self, it: Listed) -> bool:
        path = self.folder / it.name
        return path.is_dir() if it.name.endswith("/") else path.is_file() and path.stat().st_size == it.size

    def _fetch(self, it: Listed) -> bool:
        """Returns whether it was there as listed."""
        path = self.folder / it.name
        if it.name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            return True
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = unused_name(path)
        try:
            self.remote.download(it.name, temporary, it.size, it.etag)
            temporary.replace(path)
        except (FileNotFoundError, ReplacedError):
            return False
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def _remove(self, name: str) -> None:
        path = self.folder / name
        if not is_below(name) or not path.parent.resolve().is_relative_to(self.folder.resolve()):
            raise RemoteError(f"{path}: is not below {self.folder}: it is not removed")
        if name.endswith("/"):
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        for above in path.relative_to(self.folder).parents[:-1]:
            folder = self.folder / above
            if folder.name == DOCUMENTS or not folder.is_dir() or any(folder.iterdir()):
                break
            folder.rmdir()


def _usable(objects: Iterable[Listed]) -> Iterator[Listed]:
    """Those that can be files of a folder: tools also write objects without bytes that stand for folders."""
    found = list(objects)
    folders = {above.as_posix() for it in found for above in PurePosixPath(it.name).parents}
    folders |= {it.name.rstrip("/") for it in found if it.name.endswith("/")}
    for it in found:
        if it.name not in folders and is_below(it.name):
            yield it


def _read(path: Path) -> dict[str, str]:
    try:
        known = dict(json.loads(path.read_text(encoding="utf-8")))
        return {name: etag for name, etag in known.items() if is_below(name)}
    except (OSError, ValueError, TypeError):
        return {}
