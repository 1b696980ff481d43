"""Files as their readers see them: from the memo, or read in this process or in processes of their own."""

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from embed_assets.artifacts.memo import Memo
from embed_assets.corpus.readers.conversion import LARGEST_IN_PLACE, READ_IN_PLACE, READERS_VERSION, convert
from embed_assets.corpus.readers.converted import Converted
from embed_assets.corpus.readers.pool import Outcome, ReaderPool
from embed_assets.corpus.settings import DocumentsSettings
from embed_assets.progress import track

# Files that the memo is asked for, or told of, at once.
BLOCK = 100
# Files that may be ready behind one that its reader is still at.
MOST_READY = 500


class _Reading(NamedTuple):
    """A file, the key that the memo does not have yet, and what gives, or waits for, what its reader makes of it."""

    name: str
    key: str
    outcome: Callable[[], Outcome]


def convert_files(
    files: Mapping[str, Path], settings: DocumentsSettings, memos: Path | None
) -> Iterator[tuple[str, Converted | str]]:
    """What the readers make of files, or why they cannot read them, in the order of the files; few are held at a time.

    Args:
        files: name → place.
        settings: what a reader may take.
        memos: folder of what was converted before, by the bytes of the file; None: convert all.
    """
    memo = Memo(memos / "documents.sqlite") if memos else None
    new: list[tuple[str, bytes]] = []
    with ReaderPool(settings, sum(1 for it in files.items() if not _is_read_here(*it))) as readers:
        begun = _some_ahead(_begin(files, memo, readers), readers)
        for name, key, outcome in track(begun, "reading documents", len(files)):
            page, final = outcome()
            yield name, page
            if memo and key and final:
                new.append((key, _dumped(page)))
            if memo and len(new) >= BLOCK:
                memo.put_many(new)
                new = []
    if memo and new:
        memo.put_many(new)


def ending_of(name: str) -> str:
    """The ending of the name of a file, in small letters, with its dot."""
    return PurePosixPath(name).suffix.lower()


def _is_read_here(name: str, path: Path) -> bool:
    return ending_of(name) in READ_IN_PLACE and path.stat().st_size <= LARGEST_IN_PLACE


def _begin(files: Mapping[str, Path], memo: Memo | None, readers: ReaderPool) -> Iterator[_Reading]:
    """Look files up in the memo, and begin to read those that are not there."""
    names = list(files)
    for start in range(0, len(names), BLOCK):
        block = names[start : start + BLOCK]
        keys = {name: _key(name, files[name].read_bytes()) for name in block} if memo else {}
        stored = memo.get_many(sorted(set(keys.values()))) if memo else {}
        for name in block:
            if (value := stored.get(keys.get(name, ""))) is not None and (page := _loaded(value)) is not None:
                yield _Reading(name, "", partial(_known, page))
                continue
            content = files[name].read_bytes()
            # It may have changed since it was looked up.
            key = _key(name, content) if memo else ""
            if _is_read_here(name, files[name]):
                yield _Reading(name, key, partial(_read, content, ending_of(name)))
            else:
                yield _Reading(name, key, readers.begin(content, ending_of(name)))


def _known(page: Converted | str) -> Outcome:
    return page, True


def _read(content: bytes, extension: str) -> Outcome:
    return convert(content, extension), True


def _some_ahead(begun: Iterator[_Reading], readers: ReaderPool) -> Iterator[_Reading]:
    """The same, with as many files begun as keep the processes at work."""
    ready: deque[_Reading] = deque()
    for reading in begun:
        ready.append(reading)
        if not readers.may_idle or len(ready) > MOST_READY:
            yield ready.popleft()
    yield from ready


def _key(name: str, content: bytes) -> str:
    return f"{READERS_VERSION}{ending_of(name)}:{sha256(content).hexdigest()}"


def _dumped(page: Converted | str) -> bytes:
    return json.dumps(page if isinstance(page, str) else asdict(page)).encode()


def _loaded(value: bytes) -> Converted | str | None:
    """What the memo holds; None if it is damaged: then the file is converted again."""
    try:
        page: Any = json.loads(value)
        if isinstance(page, str):
            return page
        return Converted(**page | {"notes": tuple(page["notes"]), "links": tuple(page["links"])})
    except (ValueError, TypeError, KeyError):
        return None
