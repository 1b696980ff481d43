"""The rows of a LanceDB table, whatever its layout: the columns that the settings name, and which rows can be used."""

import contextlib
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from embed_assets.artifacts.inputs import ChangedWhileReadError
from embed_assets.artifacts.remote_folder import is_remote
from embed_assets.artifacts.secrets import hide_secrets, without_secrets
from embed_assets.artifacts.workspace import CollectionError
from embed_assets.corpus.encodings import composed, is_binary
from embed_assets.corpus.settings import ProductionSettings

if TYPE_CHECKING:
    import pyarrow as pa
    from lancedb.db import DBConnection
    from lancedb.table import Table

ROWS_IN_A_BATCH = 1024
FAR_TOO_LONG = 10  # times max_characters: no text is, without what nobody sees, a tenth of what it was
# Of LanceDB, and of Polars, whose panic at a type that it does not know is no Exception.
UNREADABLE = (RuntimeError, OSError, ValueError, pl.exceptions.PolarsError, pl.exceptions.PanicException)
READ_AS = 6  # raised where rows are read otherwise than before
ROW_ID = "_rowid"
BETWEEN_TITLES, BETWEEN_PARAGRAPHS = " > ", "\n\n"
# 16 bytes in hexadecimal digits.
UUID = "^(.{8})(.{4})(.{4})(.{4})(.{12})$"
ROW_SCHEMA = dict.fromkeys(("chunk_id", "document_id", "title", "text", "order", "reason"), pl.String)


class DatabaseUnreachableError(CollectionError):
    """The object store of a database does not answer; it may a moment later."""


class Place(NamedTuple):
    """Where the values of a setting are: a column or a field of one, and below it keys of JSON that stands there as text."""

    column: str
    keys: tuple[str, ...]
    kind: "pa.DataType"


def is_missing(uri: str) -> bool:
    """Whether a database is a local path where there is no folder."""
    return not is_remote(uri) and not Path(uri).is_dir()


def open_database(uri: str) -> "DBConnection":
    """As connect, where a database has to be there.

    Raises:
        CollectionError: it is a local path, and there is no such folder; or as connect.
    """
    if is_missing(uri):
        raise CollectionError(f"{uri}: there is no such folder with a LanceDB database")
    return connect(uri)


def connect(uri: str) -> "DBConnection":
    """Connect to a LanceDB database.

    Raises:
        DatabaseUnreachableError: it is on an object store, which does not answer, or refuses.
    """
    import lancedb

    try:
        return lancedb.connect(uri)
    except (ValueError, RuntimeError, OSError) as error:
        if not is_remote(uri):
            raise
        raise DatabaseUnreachableError(
            f"{uri}: the database cannot be reached: see that the object store answers, and that it takes the credentials in the "
            f"environment ({without_secrets(error)})"
        ) from None


def name_of_table(uri: str, settings: ProductionSettings) -> str:
    """The table as error messages name it."""
    return f"{uri}, table {settings.table!r}"


def open_table(uri: str, settings: ProductionSettings, version: int | None = None) -> "Table":
    """The table at its latest version, or at one: an open handle would stay at the version at which it was opened.

    Raises:
        ChangedWhileReadError: the version was cleaned up.
        CollectionError: it cannot be opened, or a column that the settings name is missing or of another kind.
    """
    from lance_namespace.errors import LanceNamespaceError
    from lancedb.util import is_vector_column

    database = open_database(uri)
    try:
        *namespaces, name = settings.table.split("/")
        table = database.open_table(name, namespace_path=namespaces)
        schema = table.schema
    except (ValueError, RuntimeError, OSError, LanceNamespaceError) as error:
        there = _tables_there(database)
        raise CollectionError(f"{name_of_table(uri, settings)}: cannot be opened: {hide_secrets(error)}{there}") from None
    if version is not None:
        try:
            table.checkout(version)
        except (ValueError, RuntimeError, OSError) as error:
            raise ChangedWhileReadError(f"{name_of_table(uri, settings)}: {hide_secrets(error)}: materialize again") from None
    places = _places(schema, uri, settings)
    for column in settings.metadata_columns:
        place = _find(schema, uri, settings, "metadata_columns", column)
        if place.keys:
            raise _no_column(schema, uri, settings, "metadata_columns", column)
        if is_vector_column(place.kind):
            raise CollectionError(
                f"{name_of_table(uri, settings)}: the column {column!r} (production.metadata_columns) holds vectors, which a "
                "search could not tell from those of the index"
            )
    for setting, place in places.items():
        if not _fits(setting, place):
            raise CollectionError(
                f"{name_of_table(uri, settings)}: the column {getattr(settings, setting)!r} (production.{setting}) holds "
                f"{place.kind}, not text; there are {_columns_there(schema)}"
            )
    return table


def _tables_there(database: "DBConnection") -> str:
    """The first tables of a database, for a message about one that is not there."""
    with contextlib.suppress(Exception):  # whatever is wrong with the database is told already
        names = database.table_names(limit=10)
        return f"; tables that are there: {', '.join(map(repr, names)) or 'none'}"
    return ""


def read_rows(table: "Table", uri: str, settings: ProductionSettings, row_ids: bool = False) -> Iterator[pl.DataFrame]:
    """The rows of a table in ROW_SCHEMA, some thousands at a time; titles and texts as ``composed`` has them.

    ``reason`` says why a row cannot be used, ``order`` is the value of the order column. A table without ids gets a
    hash of each row's document, title and text as its id.

    Args:
        table: from open_table.
        uri: for messages.
        settings: name the columns.
        row_ids: whether a column with LanceDB's row id comes as well.

    Raises:
        CollectionError: the table cannot be read; a ChangedWhileReadError where somebody wrote to it meanwhile.
    """
    places = _places(table.schema, uri, settings)
    columns = list(dict.fromkeys(place.column for place in places.values()))
    values = {setting.removesuffix("_column"): _values(setting, place) for setting, place in places.items()}
    nothing = pl.lit(None, pl.String)
    try:
        for batch in table.search().select(columns).with_row_id(row_ids).to_batches(ROWS_IN_A_BATCH):
            frame = pl.DataFrame(batch)
            frame = frame.select(
                values.get("id", nothing).alias("chunk_id"),
                values.get("document", values.get("id", nothing)).alias("document_id"),
                values.get("title", nothing).fill_null("").alias("title"),
                values["text"].alias("text"),
                values.get("order", nothing).alias("order"),
                *([ROW_ID] if row_ids else []),
            )
            frame = _cut(frame, settings)
            yield _with_reasons(frame if settings.id_column else _with_ids(frame, settings), settings)
    except UNREADABLE as error:
        raise unreadable(table, uri, settings, error) from None


def unreadable(table: "Table", uri: str, settings: ProductionSettings, error: BaseException) -> CollectionError:
    """What is told of an error of reading a table: where there is a newer version, the one that was read may be cleaned up."""
    with contextlib.suppress(CollectionError):
        if open_table(uri, settings).version != table.version:
            return ChangedWhileReadError(
                f"{name_of_table(uri, settings)}: it changed while it was read: {hide_secrets(error)}: materialize again"
            )
    return CollectionError(f"{name_of_table(uri, settings)}: cannot be read: {hide_secrets(error)}")


def in_order(rows: pl.DataFrame, order_is_number: bool) -> pl.DataFrame:
    """Rows by document, and in a document by ``order``, then by id; numbers in a text count by their value."""
    number = pl.col("order").cast(pl.Float64, strict=False) if order_is_number else pl.lit(None, pl.Float64)
    keyed = rows.with_columns(
        number.alias("number"),
        *(
            pl.col(name).map_elements(_natural, pl.String).alias(f"natural {name}")
            for name in ("document_id", "order", "chunk_id")
        ),
    )
    keys = ["natural document_id", "document_id", "number", "natural order", "natural chunk_id", "chunk_id"]
    return keyed.sort(keys, nulls_last=True).select(rows.columns)


def order_is_number(table: "Table", uri: str, settings: ProductionSettings) -> bool:
    """Whether there is a column that orders the rows, and it holds numbers. (Ids are ordered as text with numbers in it.)"""
    import pyarrow as pa

    place = _places(table.schema, uri, settings).get("order_column")
    if place is None or place.keys:
        return False
    return pa.types.is_integer(place.kind) or pa.types.is_floating(place.kind) or pa.types.is_decimal(place.kind)


def content_of(chunk_id: str | None, document_id: str | None, title: str, text: str | None, order: str | None) -> bytes:
    """Hash of what counts as the content of a row, 16 bytes."""
    parts = [chunk_id, document_id, title, text]
    lengths = " ".join("-" if part is None else str(len(part)) for part in parts[:3])
    whole = f"{lengths} {''.join(part or '' for part in parts)}" + ("" if text is not None else "\0")
    # Without an order column nothing is added: the hash is then that of the four parts.
    return hashlib.blake2b((whole if order is None else f"{whole}\0{order}").encode(), digest_size=16).digest()


def _natural(text: str) -> str:
    """The text with its whole numbers written so long that their order is that of their values."""
    if re.fullmatch(r"-[0-9]{1,23}", text):
        return f"-{10**24 + int(text)}"
    return re.sub(r"[0-9]+", lambda digits: digits[0].zfill(24), text)


def _with_ids(frame: pl.DataFrame, settings: ProductionSettings) -> pl.DataFrame:
    columns = frame.select("document_id", "title", "text").rows()
    ids = [None if text is None else content_of(None, document, title, text, None).hex() for document, title, text in columns]
    own = pl.Series("chunk_id", ids, pl.String)
    return frame.with_columns(own, *([] if settings.document_column else [own.alias("document_id")]))


def _cut(frame: pl.DataFrame, settings: ProductionSettings) -> pl.DataFrame:
    """Rows whose texts are cut where they are far too long, a few of which and their copies fill a memory.

    ``characters`` is then the length that such a text had; null of all others.
    """
    most, length = FAR_TOO_LONG * settings.max_characters, pl.col("text").str.len_chars()
    return frame.with_columns(text=pl.col("text").str.head(most), characters=pl.when(length > most).then(length))


def _with_reasons(frame: pl.DataFrame, settings: ProductionSettings) -> pl.DataFrame:
    names = {"chunk_id": settings.id_column, "document_id": settings.document_column, "text": settings.text_column}
    binary = frame["text"].map_elements(is_binary, pl.Boolean)
    frame = frame.with_columns(pl.col("title", "text").map_elements(composed, pl.String))
    reason = pl.when(pl.lit(False)).then(pl.lit(None, pl.String))
    for name, column in names.items():
        if column:
            missing = pl.col(name).is_null() if name == "text" else pl.col(name).fill_null("").str.strip_chars() == ""
            reason = reason.when(missing).then(pl.lit(f"no value in the column {column!r}"))
    text = pl.col("text")
    characters = pl.coalesce("characters", text.str.len_chars())
    reason = (
        reason.when(binary)
        .then(pl.lit("binary data"))
        .when(text.str.strip_chars() == "")
        .then(pl.lit("no text"))
        .when(characters > settings.max_characters)
        .then(pl.format("{} characters are more than {}", characters, settings.max_characters))
    )
    return frame.with_columns(reason=reason).drop("characters")


def _places(schema: "pa.Schema", uri: str, settings: ProductionSettings) -> dict[str, Place]:
    """Setting → where its values are, for those that are used."""
    names = ("id_column", "text_column", "document_column", "title_column", "order_column")
    used = {name: getattr(settings, name) for name in names}
    return {name: _find(schema, uri, settings, name, column) for name, column in used.items() if column}


def _find(schema: "pa.Schema", uri: str, settings: ProductionSettings, setting: str, name: str) -> Place:
    import pyarrow as pa

    first, *rest = name.split(".")
    if first not in schema.names:
        raise _no_column(schema, uri, settings, setting, name)
    column, kind = first, schema.field(first).type
    while rest and pa.types.is_struct(kind) and kind.get_field_index(rest[0]) >= 0:
        kind = kind.field(rest[0]).type
        column += f".{rest.pop(0)}"
    if rest and not _is_text(kind):
        raise _no_column(schema, uri, settings, setting, name)
    return Place(column, tuple(rest), kind)


def _no_column(schema: "pa.Schema", uri: str, settings: ProductionSettings, setting: str, name: str) -> CollectionError:
    there = _columns_there(schema)
    hint = '; a table without ids takes production.id_column: ""' if setting == "id_column" else ""
    return CollectionError(
        f"{name_of_table(uri, settings)}: there is no column {name!r} (production.{setting}); there are {there}{hint}"
    )


def _columns_there(schema: "pa.Schema") -> str:
    import pyarrow as pa

    def names(field: "pa.Field", above: str) -> list[str]:
        if pa.types.is_struct(field.type):
            return [name for inner in field.type for name in names(inner, f"{above}{field.name}.")]
        return [f"{above}{field.name} ({field.type})"]

    return ", ".join(name for field in schema for name in names(field, ""))[:2000]


def _fits(setting: str, place: Place) -> bool:
    import pyarrow as pa

    kind = place.kind
    if _is_text(kind):
        return True
    if setting in ("text_column", "title_column"):
        return (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and _is_text(kind.value_type)
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return number or (pa.types.is_temporal(kind) if setting == "order_column" else _is_bytes(kind))


def _values(setting: str, place: Place) -> pl.Expr:
    """What stands in a place, as text."""
    import pyarrow as pa

    values = pl.col(place.column)
    if place.keys:
        path = "".join(f"[{key}]" if key.isdecimal() else f"['{key}']" for key in place.keys)
        return values.cast(pl.String).str.json_path_match(f"${path}")
    if pa.types.is_list(place.kind) or pa.types.is_large_list(place.kind):
        between = BETWEEN_TITLES if setting == "title_column" else BETWEEN_PARAGRAPHS
        parts = values.cast(pl.List(pl.String))
        return parts.list.eval(pl.element().filter(pl.element() != "")).list.join(between)
    if pa.types.is_floating(place.kind) and setting != "order_column":
        # A table of pandas with an empty place in it has 12.0 for 12, and NaN there.
        whole = pl.when(values == values.floor()).then(values.cast(pl.Int64, strict=False).cast(pl.String))
        return pl.when(values.is_finite()).then(pl.coalesce(whole, values.cast(pl.String)))
    if _is_bytes(place.kind):
        digits = values.bin.encode("hex")
        return digits.str.replace(UUID, "$1-$2-$3-$4-$5")
    return values.cast(pl.String)


def _is_bytes(kind: "pa.DataType") -> bool:
    """Whether it holds bytes, such as those of a UUID, which are written as people write those."""
    import pyarrow as pa

    kind = kind.storage_type if isinstance(kind, pa.ExtensionType | pa.BaseExtensionType) else kind
    return pa.types.is_fixed_size_binary(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _is_text(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
