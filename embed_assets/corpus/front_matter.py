"""What pages say about themselves in their front matter, as columns to filter on."""

import json
from collections.abc import Callable, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from embed_assets.artifacts.workspace import CollectionError

if TYPE_CHECKING:
    import pyarrow as pa


def check_keys(there: Set[str], keys: Sequence[str]) -> None:
    """Refuse keys that no page has.

    Args:
        there: the keys of all front matters.
        keys: what metadata_columns names.

    Raises:
        CollectionError: a key is in no front matter; those that are there are named.
    """
    for key in keys:
        if key not in there:
            raise CollectionError(
                f"no page has {key!r} in its front matter (documents.metadata_columns); "
                f"there are {', '.join(sorted(there)[:50]) or 'none'}"
            )


def front_matter_columns(corpus: Path, keys: Sequence[str]) -> Callable[[Sequence[str]], "pa.Table"] | None:
    """A reader of the values that the pages of chunks have for some keys; None if there are no keys.

    A column holds whole numbers, numbers or booleans where all pages agree, lists of texts where a page has a list, and
    texts otherwise.

    Args:
        corpus: the folder of corpus_chunks.
        keys: of the front matter.

    Returns:
        Takes chunk ids and returns a table with their rows in the same order.
    """
    if not keys:
        return None
    pages = pl.read_parquet(corpus / "documents.parquet", columns=["document_id", "metadata"])
    found = [json.loads(metadata) for metadata in pages["metadata"]]
    columns = {key: _column([page.get(key) for page in found]) for key in keys}
    values = pages.select("document_id", values=pl.struct(**columns))
    rows = pl.read_parquet(corpus / "chunks.parquet", columns=["chunk_id", "document_id"]).join(values, on="document_id")

    def read(chunk_ids: Sequence[str]) -> "pa.Table":
        wanted = pl.DataFrame({"chunk_id": chunk_ids}).join(rows, on="chunk_id", how="left", maintain_order="left")
        return wanted.select("values").unnest("values").to_arrow(compat_level=pl.CompatLevel.oldest())

    return read


def _column(values: list[Any]) -> pl.Series:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pl.Series(values, dtype=pl.Boolean)
    if kinds == {int} and all(abs(value) < 2**63 for value in values if value is not None):
        return pl.Series(values, dtype=pl.Int64)
    if float in kinds and kinds <= {int, float}:
        return pl.Series(values, dtype=pl.Float64)
    if list in kinds:
        lists = [value if isinstance(value, list) or value is None else [value] for value in values]
        return pl.Series(
            [None if value is None else [_text(item) for item in value] for value in lists], dtype=pl.List(pl.String)
        )
    return pl.Series([None if value is None else _text(value) for value in values], dtype=pl.String)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
