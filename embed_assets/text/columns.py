"""Texts in the columns of tables."""

from collections.abc import Iterator, Sequence
from typing import overload

import polars as pl


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
