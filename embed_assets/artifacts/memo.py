"""A table on disk for work that is finer than an artifact."""

import hashlib
import json
import logging
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from embed_assets.artifacts.files import lock
from embed_assets.artifacts.remote_folder import RemoteError
from embed_assets.artifacts.shared_memo import table_of

logger = logging.getLogger(__name__)
KEYS_IN_A_QUERY = 500
# What is not sent when a machine is lost is computed again: so many rows, or those of so many seconds.
UNSENT, UNSENT_FOR = 1000, 60.0
SENT_AT_ONCE = 5000
OF_UNSENT = "SELECT key, value FROM memo JOIN unsent USING (key)"
DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
Result = TypeVar("Result")
# Those of this process with something that was not sent.
_unsent: "dict[Path, Memo]" = {}


class Memo:
    """A persistent key-value table for work that is finer than an artifact.

    One embedding per text and model, one answer per prompt: what is stored survives a crash and serves
    every later run. Safe for several processes at once. A file that is no database, or a damaged one, is set
    aside with a warning: what it held is computed again.

    Where the folder of memos is shared (see shared_memo.share), the file is what this machine knows of a table that all
    machines fill: what is new is sent to it in blocks, and what is missing here is asked of it.
    """

    def __init__(self, path: Path):
        self.path = path
        self._shared = table_of(path)
        self._sent = time.monotonic()
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._create()
        except sqlite3.DatabaseError as error:
            self._heal(error)

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The values of those keys that are stored."""
        found = self._get_here(keys)
        if self._shared is not None and (missing := [key for key in dict.fromkeys(keys) if key not in found]):
            elsewhere = self._shared.get_many(missing)
            self._put_here(elsewhere.items())
            found |= elsewhere
        return found

    def put_many(self, items: Iterable[tuple[str, bytes]]) -> None:
        """Store the items in one transaction."""
        rows = list(items)
        self._put_here(rows, unsent=self._shared is not None)
        if self._shared is not None:
            _unsent[self.path] = self
            if self._count_unsent() >= UNSENT or time.monotonic() - self._sent > UNSENT_FOR:
                self.send()

    def send(self) -> None:
        """Store what others do not know yet where they find it; what cannot be sent now is sent later."""
        self._sent = time.monotonic()
        if self._shared is None:
            return
        with lock(self.path.with_suffix(".send")):
            while rows := self._run(lambda it: it.execute(f"{OF_UNSENT} LIMIT {SENT_AT_ONCE}").fetchall()):
                try:
                    self._shared.put_many(rows)
                except RemoteError as error:
                    logger.warning("memo %s: %s: it is tried again later", self.path.stem, error)
                    return
                self._mark_sent([key for key, _ in rows])
        _unsent.pop(self.path, None)

    def _mark_sent(self, keys: Sequence[str]) -> None:
        self._run(lambda connection: connection.executemany("DELETE FROM unsent WHERE key = ?", [(key,) for key in keys]))

    def _count_unsent(self) -> int:
        return self._run(lambda connection: connection.execute("SELECT count(*) FROM unsent").fetchone()[0])

    def _get_here(self, keys: Sequence[str]) -> dict[str, bytes]:
        def read(connection: sqlite3.Connection) -> dict[str, bytes]:
            found: dict[str, bytes] = {}
            for block, marks in _blocks(keys):
                found.update(connection.execute(f"SELECT key, value FROM memo WHERE key IN ({marks})", block))
            return found

        return self._run(read)

    def _put_here(self, items: Iterable[tuple[str, bytes]], unsent: bool = False) -> None:
        rows = list(items)

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany("INSERT OR REPLACE INTO memo VALUES (?, ?)", rows)
            if unsent:
                connection.executemany("INSERT OR IGNORE INTO unsent VALUES (?)", [(key,) for key, _ in rows])

        self._run(write)

    def _run(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        try:
            with self._connect() as connection:
                return work(connection)
        except sqlite3.DatabaseError as error:
            self._heal(error)
        with self._connect() as connection:
            return work(connection)

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=60)) as connection, connection:
            yield connection

    def _create(self) -> None:
        # SQLite does not wait when two processes change the journal mode at once.
        with lock(lock_of(self.path)), self._connect() as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("CREATE TABLE IF NOT EXISTS memo (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")
            if self._shared is not None:
                connection.execute("CREATE TABLE IF NOT EXISTS unsent (key TEXT PRIMARY KEY) WITHOUT ROWID")

    def _heal(self, error: sqlite3.DatabaseError) -> None:
        if getattr(error, "sqlite_errorcode", None) not in DAMAGED:
            raise error
        set_aside_if_damaged(self.path)
        self._create()


def key_of(*parts: str | int) -> str:
    """The key of a result that all these parts tell from others: two different ones never have the same.

    Joined with a character between them, parts that contain it could be cut elsewhere and give the same text.
    """
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def stored_keys(path: Path, keys: Collection[str]) -> set[str]:
    """Those of the keys that the memo in a file holds; none where it cannot be read. Nothing is written."""
    found: set[str] = set()
    if path.is_file():
        try:
            # Not read-only: the files beside a database in this journal mode would stay behind.
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=60)) as connection:
                for block, marks in _blocks(list(keys)):
                    found.update(key for (key,) in connection.execute(f"SELECT key FROM memo WHERE key IN ({marks})", block))
        except sqlite3.Error as error:
            logger.warning("%s cannot be read: %s", path, error)
    if (missing := set(keys) - found) and (shared := table_of(path)) is not None:
        found |= shared.keys(missing)
    return found


def send_memos() -> None:
    """Send what the memos of this process have that others do not know yet."""
    for memo in list(_unsent.values()):
        memo.send()


def set_aside_if_damaged(path: Path) -> bool:
    """Rename a memo's file if it is no intact database, so that the next run begins a new one; whether it was one.

    Of several processes that find the damage, one does it.
    """
    with lock(lock_of(path)):
        if not path.is_file() or (problem := _problem(path)) is None:
            return False
        aside = path.with_name(f"{path.name}.damaged")
        logger.warning("%s is damaged (%s): it is now %s, and what it held is computed again", path, problem, aside.name)
        path.replace(aside)
        for companion in companions(path):
            companion.unlink(missing_ok=True)
    return True


def lock_of(path: Path) -> Path:
    """The lock of a memo's file, for those who create, replace or remove it."""
    return path.with_suffix(".lock")


def companions(path: Path) -> list[Path]:
    """The files that SQLite keeps beside a database that is in use."""
    return [path.with_name(f"{path.name}{ending}") for ending in ("-wal", "-shm")]


def _problem(path: Path) -> str | None:
    """What is wrong with a database; None where nothing is."""
    try:
        with closing(sqlite3.connect(path, timeout=60)) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", None) not in DAMAGED:
            raise
        return str(error)
    return None if found == "ok" else str(found)


def _blocks(keys: Sequence[str]) -> Iterator[tuple[Sequence[str], str]]:
    """Keys, as many as one query may name, and a mark for each."""
    for start in range(0, len(keys), KEYS_IN_A_QUERY):
        block = keys[start : start + KEYS_IN_A_QUERY]
        yield block, ",".join("?" * len(block))
