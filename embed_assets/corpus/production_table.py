"""The table of a vector database as a source: its rows are the chunks, as production has them.

LanceDB raises the version of a table for every commit, be it an index build, ``optimize()`` or a merge that
changes nothing. So the version only tells that nothing happened; whether the content changed is told by a
digest over ids and texts. Other columns are read only to be published.
"""

import hashlib
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import polars as pl

from embed_assets.artifacts.files import fingerprint_of, write_file_atomically
from embed_assets.artifacts.inputs import ChangedWhileReadError
from embed_assets.artifacts.store import Artifact
from embed_assets.artifacts.workspace import CollectionError, Workspace
from embed_assets.corpus.files import SkippedDocument
from embed_assets.corpus.heading_paths import below_title
from embed_assets.corpus.production_rows import (
    READ_AS,
    ROW_ID,
    ROW_SCHEMA,
    UNREADABLE,
    content_of,
    in_order,
    name_of_table,
    open_table,
    order_is_number,
    read_rows,
    unreadable,
)
from embed_assets.corpus.settings import ProductionSettings
from embed_assets.corpus.spans import CHUNK_SCHEMA
from embed_assets.models.token_counts import TokenCounter

if TYPE_CHECKING:
    import pyarrow as pa
    from lancedb.table import Table
    from tokenizers import Tokenizer


logger = logging.getLogger(__name__)
BETWEEN_ROWS = "\n\n"
FEW_VERSIONS = 10
SOURCE = "production table"
REPEATED = "the same as another row"
ROWS_FILE = "report/production_rows.parquet"


@dataclass(frozen=True)
class Snapshot:
    """What a table held at one version: a Parquet file with ``chunk_id`` and ``content`` (a hash) of each row that can be used.

    Args:
        path: the file.
        version: version of the table.
        digest: hash of ids and texts of all rows, whatever their order.
        rows: number of rows that can be used.
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
        CollectionError: the table is missing, lacks a column, has different rows with the same id, or more rows that
            cannot be used than ``max_left_out`` (ids and reasons are named).
    """
    uri = workspace.database(settings.uri)
    table = open_table(uri, settings)
    state = _state(table, uri, settings)
    path = workspace.memos / "production" / f"{collection}.parquet"
    seen = _seen(path)
    if seen.get("state") != state:
        rows, digest = _hash_rows(table, uri, settings)
        seen = {"state": state, "version": str(table.version), "digest": digest, "rows": str(len(rows))}
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_file_atomically(path) as temporary:
            rows.write_parquet(temporary, metadata=seen)
    return Snapshot(path, int(seen["version"]), seen["digest"], int(seen["rows"]))


def _seen(path: Path) -> dict[str, str]:
    """What is noted of a snapshot; nothing where there is none, or it is damaged, as after a power cut."""
    try:
        return pl.read_parquet_metadata(path) if path.is_file() else {}
    except (pl.exceptions.PolarsError, OSError) as error:
        logger.warning("%s cannot be read (%s): the table is read anew", path, error)
        return {}


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

    The text of a document is that of its rows, by the order column or by their ids (numbers in these by their value),
    with a blank line between them.

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
        ChangedWhileReadError: the content is no longer the expected one.
        CollectionError: as look().
    """
    uri = workspace.database(settings.uri)
    shutil.copy(look(workspace, collection, settings).path, rows_file)
    seen = pl.read_parquet_metadata(rows_file)
    if seen["digest"] != digest:
        raise ChangedWhileReadError(f"{name_of_table(uri, settings)}: it changed a moment ago: materialize again")
    # Rows that are committed while this reads belong to the next look.
    table = open_table(uri, settings, int(seen["version"]))
    whole = pl.concat([pl.DataFrame(schema=ROW_SCHEMA), *read_rows(table, uri, settings)])
    whole = in_order(whole, order_is_number(table, uri, settings))
    repeated = pl.col("reason").is_null() & pl.col("chunk_id").is_first_distinct().over("reason").not_()
    whole = whole.with_columns(pl.when(repeated).then(pl.lit(REPEATED)).otherwise("reason").alias("reason"))
    skipped = [
        SkippedDocument(chunk_id or f"a row without an id: {text or ''!r:.60}", reason)
        for chunk_id, text, reason in whole.drop_nulls("reason").select("chunk_id", "text", "reason").iter_rows()
    ]
    rows = whole.filter(pl.col("reason").is_null())
    if rows.is_empty():
        raise CollectionError(f"{name_of_table(uri, settings)}: no row has a text that can be used")
    characters = pl.col("text").str.len_chars().cast(pl.Int64)
    rows = rows.with_columns(
        pl.Series("passage", (below_title(*row) for row in rows.select("title", "text").iter_rows()), pl.String),
        end=characters.cum_sum().over("document_id") + len(BETWEEN_ROWS) * pl.int_range(pl.len()).over("document_id"),
    )
    rows = rows.with_columns(
        pl.col("passage").map_elements(TokenCounter(tokenizer).of, pl.Int64).alias("tokens"), start=pl.col("end") - characters
    )
    documents = rows.group_by("document_id", maintain_order=True).agg(
        pl.col("title").first(), pl.col("text").str.join(BETWEEN_ROWS)
    )
    return documents, skipped, rows.select(*CHUNK_SCHEMA)


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
    table = open_table(uri, settings)
    # Row ids hold for one version only.
    table.checkout(table.version)
    known = [
        frame.filter(pl.col("reason").is_null()).select("chunk_id", ROW_ID) for frame in read_rows(table, uri, settings, True)
    ]
    rows = pl.concat([pl.DataFrame(schema={"chunk_id": pl.String, ROW_ID: pl.UInt64}), *known]).unique("chunk_id", keep="first")
    columns = list(settings.metadata_columns)

    def read(chunk_ids: Sequence[str]) -> "pa.Table":
        wanted = pl.DataFrame({"chunk_id": chunk_ids}).join(rows, on="chunk_id", how="left", maintain_order="left")[ROW_ID]
        query = table.take_row_ids(wanted.drop_nulls().to_list()).select(columns).with_row_id()
        try:
            found = query.to_arrow()
        except UNREADABLE as error:
            raise unreadable(table, uri, settings, error) from None
        found = found.take(pc.index_in(wanted.to_arrow(), value_set=found[ROW_ID])).select(columns)
        return _nested(found.cast(pa.schema([field.with_nullable(True) for field in found.schema])))

    return read


def _nested(table: "pa.Table") -> "pa.Table":
    """The same with fields, such as metadata.source, below their columns again, so that filters are those of production."""
    import pyarrow as pa

    names = dict.fromkeys(name.partition(".")[0] for name in table.column_names)
    columns = {}
    for name in names:
        if name in table.column_names:
            columns[name] = table[name]
        else:
            fields = [field for field in table.column_names if field.startswith(f"{name}.")]
            below = _nested(table.select(fields).rename_columns([field.removeprefix(f"{name}.") for field in fields]))
            columns[name] = below.to_struct_array()
    return pa.table(columns)


def _state(table: "Table", uri: str, settings: ProductionSettings) -> str:
    """What stays the same only while there is no commit, nor another table of the same name with as many commits."""
    stats = table.stats()
    size = [stats["num_rows"], stats["total_bytes"]]
    return fingerprint_of([READ_AS, uri, settings.model_dump(mode="json"), table.version, *_committed(table), *size])


def _committed(table: "Table") -> tuple[int, str]:
    """When the last commit of a table was made, as its folder and as its versions tell; 0 and nothing where they do not."""
    place = table.uri  # a path; a URL where the table is in a namespace
    folder = Path(unquote(place.removeprefix("file://")) if place.startswith("file://") else place, "_versions")
    modified = folder.stat().st_mtime_ns if folder.is_dir() else 0
    # An object store has no folders, and a copy may have any time. Each version is a file to read; a table made anew has few.
    few = table.version <= FEW_VERSIONS
    return modified, str(max(table.list_versions(), key=lambda it: it["version"])["timestamp"]) if few else ""


def _hash_rows(table: "Table", uri: str, settings: ProductionSettings) -> tuple[pl.DataFrame, str]:
    """``chunk_id`` and ``content`` of the rows that can be used, and the digest of all rows.

    Raises:
        CollectionError: two rows with the same id differ, or more rows than the settings allow cannot be used.
    """
    # Polars' own hash differs between its versions: an upgrade would look like a change of every row.
    hashed = [
        frame.select(
            "chunk_id",
            "reason",
            pl.Series("content", [content_of(*row) for row in frame.drop("reason").iter_rows()], pl.Binary),
        )
        for frame in read_rows(table, uri, settings)
    ]
    whole = pl.concat([pl.DataFrame(schema={"chunk_id": pl.String, "reason": pl.String, "content": pl.Binary}), *hashed])
    digest = hashlib.sha256(b"".join(whole["content"].sort())).hexdigest()[:32]
    usable = whole.filter(pl.col("reason").is_null()).drop("reason")
    rows = usable.unique(maintain_order=True)
    twice = rows.filter(pl.col("chunk_id").is_duplicated())
    if len(twice):
        raise CollectionError(
            f"{name_of_table(uri, settings)}: the id {twice['chunk_id'][0]!r} in the column {settings.id_column!r} stands "
            f"in more than one row ({len(twice)} rows share an id with another one)"
        )
    reasons = Counter(whole["reason"].drop_nulls()) + Counter({REPEATED: len(usable) - len(rows)})
    _check_share(reasons, whole, name_of_table(uri, settings), settings)
    return rows, digest


def _check_share(reasons: Mapping[str, int], rows: pl.DataFrame, place: str, settings: ProductionSettings) -> None:
    left_out = sum(reasons.values())
    if left_out <= settings.max_left_out * len(rows):
        return
    named = rows.filter(pl.col("reason").is_not_null())["chunk_id"].drop_nulls().head(3).to_list()
    words = "; ".join(f"{count:,} rows: {reason}" for reason, count in Counter(reasons).most_common(5))
    raise CollectionError(
        f"{place}: {left_out:,} of {len(rows):,} rows cannot be used ({words}"
        f"{f'; such as {named}' if named else ''}); production.max_left_out is {settings.max_left_out:g}: mend the rows, "
        "or raise it"
    )
