"""The index that search reads, in LanceDB.

Every candidate is a table of its own, written beside the one in use. A second table of one row, the pointer,
names the one in use. A commit of LanceDB is atomic on a disk and on an object store alike, so a reader who
resolves the pointer gets the old table or the new one as a whole. The commit is conditional on the pointer's
generation, so of two publishers one wins and the other is told.
"""

import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from embed_assets.artifacts.errors import UserError
from embed_assets.corpus.production_rows import ROWS_IN_A_BATCH, connect, is_missing
from embed_assets.corpus.spans import language_of
from embed_assets.models.encoders import TextEncoder
from embed_assets.production.published_tokens import COLUMN as TOKEN_COLUMN
from embed_assets.production.published_tokens import Tokens, create_token_index
from embed_assets.production.published_vectors import StoredVectors
from embed_assets.progress import track
from embed_assets.text.languages import full_text_options

if TYPE_CHECKING:
    import pyarrow as pa
    from lancedb.table import Table


logger = logging.getLogger(__name__)
POINTER = "__published"
METADATA = "embed_assets"
SHARED = "shares_rows_with"
COLUMNS = ("chunk_id", "document_id", "start", "end", "text", "passage")


class PublishingError(UserError, RuntimeError):
    """Nothing was published or rolled back; what is in production stays. The message says what to do."""


class OvertakenError(PublishingError):
    """Somebody else wrote to the same database meanwhile: another try looks at what is there now."""


@dataclass(frozen=True)
class Pointer:
    """What is in production.

    Args:
        generation: number of swaps so far.
        current: table that readers get; empty: none.
        previous: table that a rollback brings back; empty: none.
        withdrawn: table that was rolled back; empty: none.
        reason: why the last swap was made, in words.
        swapped_at: when, in ISO 8601.
    """

    generation: int = 0
    current: str = ""
    previous: str = ""
    withdrawn: str = ""
    reason: str = ""
    swapped_at: str = ""

    @property
    def tables(self) -> list[str]:
        """All tables that it names."""
        return [name for name in (self.current, self.previous, self.withdrawn) if name]


class PublishedIndex:
    """The published index of a collection.

    Args:
        uri: database, as LanceDB opens it.
        name: what readers ask for.
    """

    def __init__(self, uri: str, name: str):
        self.uri = uri
        self.name = name

    def table_name(self, fingerprint: str) -> str:
        """The table of the candidate with this fingerprint."""
        return f"{self.name}__{fingerprint[:12]}"

    @property
    def pointer_name(self) -> str:
        """The table that says which one readers get."""
        return f"{self.name}{POINTER}"

    def candidates(self) -> list[str]:
        """The tables that were ever written for it and are still there, sorted."""
        if is_missing(self.uri):
            return []
        database = connect(self.uri)
        page = database.list_tables()
        names = list(page.tables)
        while page.page_token:
            page = database.list_tables(page_token=page.page_token)
            names += page.tables
        return sorted(name for name in names if re.fullmatch(rf"{re.escape(self.name)}__[0-9a-f]{{12}}", name))

    def drop(self, name: str) -> None:
        """Delete a table that no reader asks for, if it is there."""
        connect(self.uri).drop_table(name, ignore_missing=True)

    def pointer(self) -> Pointer:
        """What is in production now.

        Raises:
            PublishingError: the table that should say so is of somebody else.
        """
        if is_missing(self.uri):
            return Pointer()
        table = self._open(self.pointer_name)
        if table is None:
            return Pointer()
        rows, names = table.search().to_list(), asdict(Pointer())
        if len(rows) != 1 or not names.keys() <= rows[0].keys():
            raise PublishingError(
                f"{self.uri}, table {table.name!r}: it does not say what is published, as its name promises: "
                "rename it, or set publishing.table"
            )
        return Pointer(**{name: rows[0][name] for name in names})

    def open(self) -> "Table":
        """The table in production, at its latest version.

        Open it anew for every batch of queries: the table before the last two swaps is deleted.

        Raises:
            PublishingError: there is none.
        """
        for _ in range(3):
            current = self.pointer().current
            if current and (table := self._open(current)) is not None:
                return table
        what = f"the table {current!r} is gone" if current else "nothing is published yet"
        raise PublishingError(f"{self.uri}, {self.name!r}: {what}: materialize published_index, as 'embed-assets run' does")

    def metadata(self, name: str) -> dict[str, Any]:
        """What a table is made of; empty where there is no such table."""
        table = self._open(name) if name else None
        return metadata_of(table) if table is not None else {}

    def written(self, name: str) -> datetime | None:
        """When a table was written to last; None where there is no such table."""
        table = self._open(name)
        if table is None:
            return None
        return max(version["timestamp"].astimezone(UTC) for version in table.list_versions())

    def write(
        self,
        name: str,
        chunks: Path,
        encoder: TextEncoder,
        metadata: dict[str, Any],
        vectors: StoredVectors = StoredVectors(),
        columns: Callable[[Sequence[str]], "pa.Table"] | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        """Write the table of a candidate, or what is missing of it after a crash.

        Args:
            name: the table.
            chunks: Parquet file with the chunks.
            encoder: gives the vectors.
            metadata: what it is made of, kept in the schema.
            vectors: how vectors are stored.
            columns: gives more columns for chunk ids, one row for each, in the same order.
            tokens: gives the vectors of the tokens, if they are published too.

        Raises:
            PublishingError: somebody else wrote to the table at the same time, or a column has the name of the tokens.
        """
        from lancedb.index import FTS

        database = connect(self.uri)
        table, there = self._begun(name)
        rows = pl.scan_parquet(chunks).select(pl.len()).collect().item()
        batches = track(_batches(chunks), f"publishing {rows} chunks, in blocks", total=-(-rows // ROWS_IN_A_BATCH))
        for batch in batches:
            missing = batch.filter(~pl.col("id").is_in(there.implode()))
            if len(missing):
                block = _with_vectors(missing, encoder, metadata, vectors, columns, tokens)
                if table is None:
                    table = database.create_table(name, schema=block.schema)
                table.add(block)
        if table is None:
            raise PublishingError(f"{self.uri}: there is no chunk to publish in {name!r}")
        ids = _ids(table)
        if len(ids) != rows or ids.n_unique() != rows:
            database.drop_table(name)
            raise OvertakenError(
                f"{self.uri}, table {name!r}: {len(ids)} rows where {rows} were expected, so somebody else wrote to it: "
                "it was deleted; materialize again, in one place at a time"
            )
        # Those that are there are written anew: a removal that was killed may have left their names alone.
        table.create_index("passage", config=FTS(**full_text_options(_language(chunks))))
        if rows >= vectors.index_rows:
            vectors.create_index(table)
        if tokens is not None and rows >= tokens.index_rows:
            create_token_index(table)

    def _begun(self, name: str) -> "tuple[Table | None, pl.Series]":
        """What a publisher that was killed has written of a table, and its ids.

        What a removal that was killed has left of one is removed.
        """
        table, nothing = self._open(name), pl.Series(dtype=pl.String)
        try:
            return table, nothing if table is None else _ids(table)
        except RuntimeError as error:
            if "not found" not in str(error).lower() or name in self.in_use(self.pointer().tables):
                raise
            logger.warning("%s, table %r: some of its files are gone: it is written anew", self.uri, name)
            self.drop(name)
            return None, nothing

    def clone(self, name: str, source: str, metadata: dict[str, Any]) -> None:
        """Make the table of a candidate that shares rows, vectors and indexes with another one, and copies nothing of them.

        Args:
            name: the table.
            source: the other one, or one that shares with it.
            metadata: what it is made of.
        """
        if name in self.in_use(self.pointer().tables):
            return  # it is whole, and others may share with it
        shared = self._shared(source)
        root = self._open(shared)
        if root is None:
            raise OvertakenError(f"{self.uri}: the table {shared!r} is gone: materialize again")
        self.drop(name)  # what a killed publisher has left of it
        if name not in root.tags.list():
            root.tags.create(name, root.version)  # so that no cleaning of old versions takes what is shared
        table = connect(self.uri).clone_table(name, root.uri, source_tag=name)
        _note(table, metadata | {SHARED: shared})

    def note(self, name: str, metadata: dict[str, Any]) -> None:
        """Change what a table says of itself, in one commit; its rows stay as they are.

        Args:
            name: the table.
            metadata: what is new; the rest stays.
        """
        table = self._open(name)
        if table is not None:
            _note(table, metadata_of(table) | metadata)

    def _shared(self, name: str) -> str:
        """The table whose files a table shares; itself if it has its own."""
        return self.metadata(name).get(SHARED, name)

    def in_use(self, names: Iterable[str]) -> set[str]:
        """These tables, and those whose files they share."""
        named = set(names) - {""}
        return named | {self._shared(name) for name in named}

    def swap(self, before: Pointer, current: str, reason: str) -> None:
        """Put a table into production, in one step; the one in production becomes the previous one.

        Args:
            before: the pointer as it was when the decision was made.
            current: the table.
            reason: why, in words.

        Raises:
            PublishingError: the pointer was moved meanwhile.
        """
        previous = before.current if before.current != current else before.previous
        self._move(before, Pointer(before.generation + 1, current, previous, "", reason, _now()))
        for name in self.in_use([before.previous]) - self.in_use([current, previous]):
            self.drop(name)

    def rollback(self) -> Pointer:
        """Bring the previous table, and with it its model, back into production, in one step.

        A second rollback undoes the first.

        Returns:
            The pointer after it.

        Raises:
            PublishingError: there is no previous table, or the pointer was moved meanwhile.
        """
        before = self.pointer()
        if not before.previous or self._open(before.previous) is None:
            raise PublishingError(f"{self.uri}, {self.name!r}: there is no previous table to go back to")
        withdrawn = "" if before.withdrawn == before.previous else before.current
        reason = f"rolled back from {before.current}"
        after = Pointer(before.generation + 1, before.previous, before.current, withdrawn, reason, _now())
        self._move(before, after)
        return after

    def _move(self, before: Pointer, after: Pointer) -> None:
        table = self._open(self.pointer_name)
        if table is None:
            # Of two publishers that come first, one creates it and the other opens what is there.
            table = connect(self.uri).create_table(self.pointer_name, [asdict(Pointer())], exist_ok=True)
        done = table.update(where=f"generation = {before.generation}", values=asdict(after))
        if done.rows_updated != 1:
            raise PublishingError(
                f"{self.uri}, {self.name!r}: somebody else published or rolled back meanwhile, so nothing was changed: "
                "look at what is in production, then materialize again"
            )

    def _open(self, name: str) -> "Table | None":
        try:
            return connect(self.uri).open_table(name)
        except ValueError as error:
            if "not found" in str(error):
                return None
            raise


def metadata_of(table: "Table") -> dict[str, Any]:
    """What a published table is made of, from its schema; one that shares its rows with another has it beside its ids."""
    schema = table.schema
    own = schema.field("id").metadata or {} if "id" in schema.names else {}
    return json.loads(own.get(METADATA.encode()) or (schema.metadata or {}).get(METADATA.encode(), b"{}"))


def _note(table: "Table", metadata: dict[str, Any]) -> None:
    table.update_field_metadata({"path": "id", "metadata": {METADATA: json.dumps(metadata)}})


def _ids(table: "Table") -> pl.Series:
    return pl.DataFrame(table.search().select(["id"]).to_arrow())["id"]


def _language(chunks: Path) -> str:
    scanned = pl.scan_parquet(chunks).head(1)
    return language_of(scanned.collect())


def _batches(chunks: Path) -> Iterator[pl.DataFrame]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(chunks) as file:
        for batch in file.iter_batches(ROWS_IN_A_BATCH, columns=list(COLUMNS)):
            yield pl.DataFrame(batch).rename({"chunk_id": "id"})


def _with_vectors(
    rows: pl.DataFrame,
    encoder: TextEncoder,
    metadata: dict[str, Any],
    vectors: StoredVectors,
    columns: Callable[[Sequence[str]], "pa.Table"] | None,
    tokens: Tokens | None,
) -> "pa.Table":
    # LanceDB's clients read plain strings; Polars hands over string views.
    table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
    for name, column in vectors.columns(encoder.encode_passages(rows["passage"].to_list())).items():
        table = table.append_column(name, column)
    if tokens is not None:
        table = table.append_column(TOKEN_COLUMN, tokens.column(rows["passage"].to_list()))
    more = columns(rows["id"].to_list()) if columns else None
    if more is not None:
        for field in more.schema:
            if field.name in table.schema.names:
                raise PublishingError(f"{field.name!r} is a column of the index already: leave it out of metadata_columns")
            table = table.append_column(field, more[field.name])
    return table.replace_schema_metadata({METADATA: json.dumps(metadata)})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
