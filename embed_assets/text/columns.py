"""Texts in the columns of tables."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import TypeVar, overload

import polars as pl

from embed_assets.text.section_numbers import identifiers_in, section_numbers

IDENTIFIERS = "identifiers"
NEGATIVES = pl.col(r"^negative_\d+$")  # the hard negatives of a table of triplets
Name = TypeVar("Name", bound=Hashable)


class Texts(Sequence[str]):
    """The texts of a column, each made when it is asked for: a list of those of a million chunks takes their memory twice.

    Args:
        column: of texts, without nulls.
    """

    def __init__(self, column: pl.Series):
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    def __iter__(self) -> Iterator[str]:
        return iter(self._column)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        return self._column[row].to_list() if isinstance(row, slice) else self._column[row]


def rows_of(names: Iterable[Name]) -> dict[Name, list[int]]:
    """The rows that each name stands in, names and rows in their order."""
    found: dict[Name, list[int]] = {}
    for row, name in enumerate(names):
        found.setdefault(name, []).append(row)
    return found


def with_identifiers(chunks: pl.DataFrame, patterns: Sequence[str]) -> pl.DataFrame:
    """The chunks with a column that identifiers_of gives from then on: of a million passages, they take minutes to find."""
    return chunks.with_columns(pl.Series(IDENTIFIERS, identifiers_of(chunks, patterns), dtype=pl.List(pl.String)))


def identifiers_of(chunks: pl.DataFrame, patterns: Sequence[str]) -> Iterable[list[str]]:
    """The identifiers of each passage, as find_identifiers finds them, but for the numbers of sections.

    Args:
        chunks: with ``document_id`` and ``passage``.
        patterns: what an identifier looks like; those of with_identifiers, if the chunks come from there.
    """
    if IDENTIFIERS in chunks.columns:
        return (found.to_list() for found in chunks[IDENTIFIERS])
    counted = section_numbers(chunks["document_id"], chunks["passage"])
    return (
        identifiers_in(passage, patterns, counted.get(document, ()))
        for document, passage in chunks.select("document_id", "passage").iter_rows()
    )
