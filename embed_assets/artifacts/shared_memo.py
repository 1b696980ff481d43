"""What memos hold, for several machines: a LanceDB table for each memo, beside the artifacts on an object store.

LanceDB looks up the keys that are asked for, of millions, by an index, so no machine needs to hold all of a memo. Two that
store the same key at once may both do so: either value is right.
"""

import logging
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embed_assets.artifacts.files import fingerprint_of
from embed_assets.artifacts.remote_folder import RemoteError, RemoteFolder, shared_at
from embed_assets.artifacts.secrets import without_secrets

if TYPE_CHECKING:
    from lancedb.table import Table

logger = logging.getLogger(__name__)
KEYS_IN_A_QUERY = 5000
TIDY_EVERY = 100  # commits: small fragments are joined, and new rows get into the index
KEPT_VERSIONS = timedelta(days=1)  # for those who read them at the moment


def table_of(path: Path) -> "SharedTable | None":
    """The table of the memo in a file; None where its folder is shared nowhere."""
    for above in (path.parent, path.parent.parent):
        if (address := shared_at(above)) is not None:
            return SharedTable(address, path.relative_to(above).with_suffix("").as_posix())
    return None


class SharedTable:
    """Keys and values that several machines store.

    Args:
        address: of the memos on an object store.
        name: of the memo, such as ``embeddings/MODEL``.
    """

    def __init__(self, address: str, name: str):
        folder, _, table = name.rpartition("/")
        self.uri = RemoteFolder(f"{address}/{folder}" if folder else address).url
        # LanceDB allows these characters; names of models on a hub have others.
        safe = re.sub(r"[^A-Za-z0-9_.-]", "-", table)
        self.name = safe if safe == table else f"{safe}-{fingerprint_of(table)[:8]}"
        self._opened: Table | None = None

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The values of those keys that are stored."""
        found: dict[str, bytes] = {}
        for rows in self._find(keys, ["key", "value"]):
            found.update(zip(rows["key"].to_pylist(), rows["value"].to_pylist(), strict=True))
        return found

    def keys(self, keys: Collection[str]) -> set[str]:
        """Those of the keys that are stored."""
        return {key for rows in self._find(list(keys), ["key"]) for key in rows["key"].to_pylist()}

    def put_many(self, items: Iterable[tuple[str, bytes]]) -> None:
        """Store the items in one commit; of keys that are stored, the value stays."""
        import pyarrow as pa

        columns = list(zip(*items, strict=True))
        if not columns:
            return
        with self._explained():
            table = self._table(create=True)
            rows = pa.table({"key": columns[0], "value": pa.array(columns[1], pa.binary())})
            table.merge_insert("key").when_not_matched_insert_all().execute(rows)
            if table.version % TIDY_EVERY == 0:
                table.optimize(cleanup_older_than=KEPT_VERSIONS)

    def _find(self, keys: Sequence[str], columns: list[str]) -> "Iterator[Any]":
        with self._explained():
            table = self._table()
            if table is None:
                return
            table.checkout_latest()
            for start in range(0, len(keys), KEYS_IN_A_QUERY):
                asked = keys[start : start + KEYS_IN_A_QUERY]
                named = ", ".join("'" + key.replace("'", "''") + "'" for key in asked)
                # Keys that two machines stored at once are there twice.
                yield table.search().where(f"key IN ({named})").select(columns).limit(10 * len(asked)).to_arrow()

    def _table(self, create: bool = False) -> Any:
        """The table; None where there is none, and none is to be made."""
        if self._opened is None:
            import lancedb
            import pyarrow as pa
            from lancedb.index import BTree

            database = lancedb.connect(self.uri)
            if create:
                schema = pa.schema([pa.field("key", pa.string(), False), pa.field("value", pa.binary(), False)])
                self._opened = database.create_table(self.name, schema=schema, exist_ok=True)
                if not self._opened.list_indices():
                    self._opened.create_index("key", config=BTree())
            elif f"{self.name}.lance" in RemoteFolder(self.uri).folders():
                self._opened = database.open_table(self.name)
        return self._opened

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, OSError, ValueError) as error:
            what = without_secrets(str(error).partition("\n")[0])
            raise RemoteError(f"{self.uri}/{self.name}: {type(error).__name__}: {what}") from None
