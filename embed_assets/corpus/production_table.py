"""The table of a vector database as a source: its rows are the chunks, as production has them.

LanceDB raises the version of a table for every commit, be it an index build, ``optimize()`` or a merge that
changes nothing. So the version only tells that nothing happened; whether the content changed is told by a
digest over ids and texts. Other columns are read only to be published.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from embed_assets.artifacts.files import fingerprint_of, unused_name
from embed_assets.artifacts.store import Artifact
from embed_assets.artifacts.workspace import CollectionError, Workspace
from embed_assets.corpus.files import SkippedDocument
from embed_assets.corpus.settings import ProductionSettings
from embed_assets.corpus.spans import CHUNK_SCHEMA

if TYPE_CHECKING:
    import pyarrow as pa
    from lancedb.table import Table
    from tokenizers import Tokenizer


ROWS_IN_A_BATCH = 1024
BETWEEN_ROWS = "\n\n"
SOURCE = "production table"
ROWS_FILE = "report/production_rows.parquet"


@dataclass(frozen=True)
class Snapshot:
    """What a table held at one version: a Parquet file with ``chunk_id`` and ``content`` (a hash) of each row.

    Args:
        path: the file.
        version: version of the table.
        digest: hash of ids and texts, whatever the order of the rows.
        rows: number of rows.
    """

    path: Path
    version: int
    digest: str
    rows: int


@dataclass(frozen=True)
class Change:
    """How two snapshots differ, in rows."""

    added: int
    changed: int
    removed: int
    rows: int

    @property
    def total(self) -> int:
        return self.added + self.changed + self.removed

    def __str__(self) -> str:
        return f"{self.added:,} added, {self.changed:,} changed, {self.removed:,} removed of {self.rows:,} rows"


def look(workspace: Workspace, collection: str, settings: ProductionSettings) -> Snapshot:
    """The production table of a collection as it is now.

    Its rows are read only if there was a commit since the last look; the snapshot is kept with the memos.

    Args:
        workspace: databases and memos.
        collection: name of the collection.
        settings: name the table and its columns.

    Raises:
        CollectionError: the table is missing, lacks a column, or has rows that cannot be used (id and column are named).
    """
    uri = workspace.database(settings.uri)
    table = _open(uri, settings)
    state = _state(table, uri, settings)
    path = workspace.memos / "production" / f"{collection}.parquet"
    seen = pl.read_parquet_metadata(path) if path.is_file() else {}
    if seen.get("state") != state:
        rows = _hash_rows(table, uri, settings)
        digest = hashlib.sha256(b"".join(rows["content"].sort())).hexdigest()[:32]
        seen = {"state": state, "version": str(table.version), "digest": digest, "rows": str(len(rows))}
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = unused_name(path)
        rows.write_parquet(temporary, metadata=seen)
        temporary.replace(path)
    return Snapshot(path, int(seen["version"]), seen["digest"], int(seen["rows"]))


def change_since_built(built: Artifact, now: Snapshot) -> Change:
    """How the table differs from what the chunks of an artifact were made of.

    Raises:
        CollectionError: they were made of files.
    """
    digest = built.manifest["sources"].get(SOURCE)
    if digest is None:
        raise CollectionError(f"{built.folder.parent.name}: its chunks were made of files: materialize corpus_chunks once")
    return Change(0, 0, 0, now.rows) if digest == now.digest else compare(built.folder / ROWS_FILE, now.path)


def compare(before: Path, after: Path) -> Change:
    """Tell added, changed and removed rows of two snapshots, each given by its file."""
    old, new = pl.read_parquet(before), pl.read_parquet(after)
    both = old.join(new, on="chunk_id", suffix="_now")
    changed = both.filter(pl.col("content") != pl.col("content_now")).height
    return Change(len(new) - len(both), changed, len(old) - len(both), len(new))


def read_chunks(
    workspace: Workspace, collection: str, settings: ProductionSettings, digest: str, tokenizer: "Tokenizer", rows_file: Path
) -> tuple[pl.DataFrame, list[SkippedDocument], pl.DataFrame]:
    """Read the rows of a production table as chunks.

    The text of a document is that of its rows, in the order of their ids, with a blank line between them.

    Args:
        workspace: databases and memos.
        collection: name of the collection.
        settings: name the table and its columns.
        digest: content that is expected.
        tokenizer: counts the tokens; that of the base model.
        rows_file: gets the snapshot that was read, for compare().

    Returns:
        Documents (``document_id``, ``title``, ``text``), rows that were skipped, and chunks in CHUNK_SCHEMA.

    Raises:
        CollectionError: as look(); or the content is no longer the expected one.
    """
    uri = workspace.database(settings.uri)
    shutil.copy(look(workspace, collection, settings).path, rows_file)
    seen = pl.read_parquet_metadata(rows_file)
    if seen["digest"] != digest:
        raise CollectionError(f"{_place(uri, settings)}: it changed a moment ago: materialize again")
    table = _open(uri, settings)
    # Rows that are committed while this reads belong to the next look.
    table.checkout(int(seen["version"]))
    schema = dict.fromkeys(("chunk_id", "document_id", "title", "text"), pl.String)
    whole = pl.concat([pl.DataFrame(schema=schema), *_batches(table, uri, settings)])
    reason = (
        pl.when(pl.col("text").str.len_chars() > settings.max_characters)
        .then(pl.format("{} characters are more than {}", pl.col("text").str.len_chars(), settings.max_characters))
        .when(pl.col("text").str.strip_chars() == "")
        .then(pl.lit("no text"))
        .when(pl.col("text").str.contains("\0", literal=True))
        .then(pl.lit("binary data"))
    )
    whole = whole.with_columns(reason=reason)
    skipped = [SkippedDocument(*row) for row in whole.drop_nulls("reason").select("chunk_id", "reason").iter_rows()]
    rows = whole.filter(pl.col("reason").is_null()).sort("document_id", "chunk_id")
    if rows.is_empty():
        raise CollectionError(f"{_place(uri, settings)}: no row has a text that can be used")
    characters = pl.col("text").str.len_chars().cast(pl.Int64)
    rows = rows.with_columns(end=characters.cum_sum().over("document_id") + _breaks_before()).with_columns(
        start=pl.col("end") - characters,
        passage=pl.when(pl.col("title") == "").then("text").otherwise(pl.concat_str("title", "text", separator="\n")),
    )
    tokens = [count for block in rows.iter_slices(1000) for count in _token_counts(block["passage"].to_list(), tokenizer)]
    documents = rows.group_by("document_id", maintain_order=True).agg(
        pl.col("title").first(), pl.col("text").str.join(BETWEEN_ROWS)
    )
    return documents, skipped, rows.with_columns(tokens=pl.Series(tokens, dtype=pl.Int64)).select(*CHUNK_SCHEMA)


def metadata_columns(workspace: Workspace, settings: ProductionSettings) -> Callable[[Sequence[str]], "pa.Table"] | None:
    """A reader of the columns that are published beside the chunks, as they are now; None if there are none.

    Args:
        workspace: databases.
        settings: name the table and its columns.

    Returns:
        Takes chunk ids and returns a table with their rows in the same order, of the same types as in production;
        where a row is gone by now, its values are null.

    Raises:
        CollectionError: the table or a column is missing.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if not settings.uri or not settings.metadata_columns:
        return None
    uri = workspace.database(settings.uri)
    table = _open(uri, settings)
    # Row ids hold for one version only.
    table.checkout(table.version)
    ids = table.search().select([settings.id_column]).with_row_id(True).to_arrow()
    rows = pl.DataFrame(ids).select(pl.col(settings.id_column).cast(pl.String).alias("chunk_id"), "_rowid")
    rows = rows.unique("chunk_id", keep="last")

    def read(chunk_ids: Sequence[str]) -> "pa.Table":
        wanted = pl.DataFrame({"chunk_id": chunk_ids}).join(rows, on="chunk_id", how="left", maintain_order="left")["_rowid"]
        query = table.take_row_ids(wanted.drop_nulls().to_list()).select(list(settings.metadata_columns)).with_row_id()
        try:
            found = query.to_arrow()
        except (RuntimeError, OSError) as error:
            raise CollectionError(f"{_place(uri, settings)}: cannot be read: {error}") from None
        found = found.take(pc.index_in(wanted.to_arrow(), value_set=found["_rowid"])).select(list(settings.metadata_columns))
        return found.cast(pa.schema([field.with_nullable(True) for field in found.schema]))

    return read


def _breaks_before() -> pl.Expr:
    return len(BETWEEN_ROWS) * pl.int_range(pl.len()).over("document_id")


def _token_counts(passages: list[str], tokenizer: "Tokenizer") -> list[int]:
    return [len(encoding) for encoding in tokenizer.encode_batch_fast(passages, add_special_tokens=False)]


def open_database(uri: str):
    """Connect to a LanceDB database.

    Raises:
        CollectionError: it is a local path, and there is no such folder.
    """
    import lancedb

    if "://" not in uri and not Path(uri).is_dir():
        raise CollectionError(f"{uri}: there is no such folder with a LanceDB database")
    return lancedb.connect(uri)


def _place(uri: str, settings: ProductionSettings) -> str:
    return f"{uri}, table {settings.table!r}"


def _open(uri: str, settings: ProductionSettings) -> "Table":
    """The table at its latest version: an open handle would stay at the version at which it was opened."""
    database = open_database(uri)
    try:
        table = database.open_table(settings.table)
        schema = table.schema
    except (ValueError, RuntimeError, OSError) as error:
        raise CollectionError(f"{_place(uri, settings)}: cannot be opened: {error}") from None
    there = ", ".join(f"{field.name} ({field.type})" for field in schema)
    metadata = [("metadata_columns", column) for column in settings.metadata_columns]
    for setting, column in [*_columns(settings).items(), *metadata]:
        if column not in schema.names:
            raise CollectionError(
                f"{_place(uri, settings)}: there is no column {column!r} (production.{setting}); there are {there}"
            )
        if setting == "metadata_columns" and _is_vector(schema.field(column).type):
            raise CollectionError(
                f"{_place(uri, settings)}: the column {column!r} (production.metadata_columns) holds vectors, which a search "
                "could not tell from those of the index"
            )
    for setting, column in _columns(settings).items():
        kind = schema.field(column).type
        if not _is_text(kind) and not (setting in ("id_column", "document_column") and _is_whole_number(kind)):
            raise CollectionError(
                f"{_place(uri, settings)}: the column {column!r} (production.{setting}) holds {kind}, not text; there are {there}"
            )
    return table


def _is_text(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _is_whole_number(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return pa.types.is_integer(kind)


def _is_vector(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return pa.types.is_fixed_size_list(kind)


def _columns(settings: ProductionSettings) -> dict[str, str]:
    """Setting → column, for those that are used."""
    settings_of_columns = ("id_column", "text_column", "document_column", "title_column")
    return {name: getattr(settings, name) for name in settings_of_columns if getattr(settings, name)}


def _state(table: "Table", uri: str, settings: ProductionSettings) -> str:
    """What stays the same only while there is no commit, nor another table of the same name with as many commits."""
    folder = Path(uri) / f"{settings.table}.lance" / "_versions"
    committed = folder.stat().st_mtime_ns if "://" not in uri and folder.is_dir() else 0
    stats = table.stats()
    return fingerprint_of(
        [uri, settings.model_dump(mode="json"), table.version, committed, stats["num_rows"], stats["total_bytes"]]
    )


def _batches(table: "Table", uri: str, settings: ProductionSettings) -> Iterator[pl.DataFrame]:
    """The rows as ``chunk_id``, ``document_id``, ``title`` and ``text``, some thousands at a time."""
    columns = list(dict.fromkeys(_columns(settings).values()))
    try:
        for batch in table.search().select(columns).to_batches(ROWS_IN_A_BATCH):
            frame = pl.DataFrame(batch)
            frame = frame.select(
                pl.col(settings.id_column).cast(pl.String).alias("chunk_id"),
                pl.col(settings.document_column or settings.id_column).cast(pl.String).alias("document_id"),
                (pl.col(settings.title_column).fill_null("") if settings.title_column else pl.lit("")).alias("title"),
                pl.col(settings.text_column).cast(pl.String).alias("text"),
            )
            _check_rows(frame, uri, settings)
            yield frame
    except (RuntimeError, OSError) as error:
        raise CollectionError(f"{_place(uri, settings)}: cannot be read: {error}") from None


def _check_rows(frame: pl.DataFrame, uri: str, settings: ProductionSettings) -> None:
    names = {"chunk_id": settings.id_column, "document_id": settings.document_column, "text": settings.text_column}
    for name, column in names.items():
        missing = frame.filter(pl.col(name).is_null())
        if len(missing):
            row = missing["chunk_id"][0]
            which = f"the row {row!r} has" if row is not None else f"a row has (text: {missing['text'][0]!r:.60})"
            raise CollectionError(f"{_place(uri, settings)}: {which} no value in the column {column!r}")


def _hash_rows(table: "Table", uri: str, settings: ProductionSettings) -> pl.DataFrame:
    # Polars' own hash differs between its versions: an upgrade would look like a change of every row.
    hashed = [
        frame.select("chunk_id", pl.Series("content", list(map(_content, *frame.get_columns())), pl.Binary))
        for frame in _batches(table, uri, settings)
    ]
    rows = pl.concat(hashed) if hashed else pl.DataFrame(schema={"chunk_id": pl.String, "content": pl.Binary})
    twice = rows.filter(pl.col("chunk_id").is_duplicated())
    if len(twice):
        raise CollectionError(
            f"{_place(uri, settings)}: the id {twice['chunk_id'][0]!r} in the column {settings.id_column!r} stands "
            f"in more than one row ({len(twice)} rows share an id with another one)"
        )
    return rows


def _content(chunk_id: str, document_id: str, title: str, text: str) -> bytes:
    lengths = f"{len(chunk_id)} {len(document_id)} {len(title)} "
    return hashlib.blake2b(f"{lengths}{chunk_id}{document_id}{title}{text}".encode(), digest_size=16).digest()
