"""A table on disk for work that is finer than an artifact."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from embed_assets.artifacts.files import lock


class Memo:
    """A persistent key-value table for work that is finer than an artifact.

    One embedding per text and model, one answer per prompt: what is stored survives a crash and serves
    every later run. Safe for several processes at once.
    """

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        # SQLite does not wait when two processes change the journal mode at once.
        with lock(path.with_suffix(".lock")), self._connect() as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("CREATE TABLE IF NOT EXISTS memo (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.path, timeout=60)
        try:
            with connection:
                yield connection
        finally:
            connection.close()

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The values of those keys that are stored."""
        found: dict[str, bytes] = {}
        with self._connect() as connection:
            for start in range(0, len(keys), 500):
                block = keys[start : start + 500]
                marks = ",".join("?" * len(block))
                found.update(connection.execute(f"SELECT key, value FROM memo WHERE key IN ({marks})", block))
        return found

    def put_many(self, items: Iterable[tuple[str, bytes]]) -> None:
        """Store the items in one transaction."""
        with self._connect() as connection:
            connection.executemany("INSERT OR REPLACE INTO memo VALUES (?, ?)", items)
