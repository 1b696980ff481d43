"""A table that is too large for the memory, collected part by part."""

from pathlib import Path

import polars as pl


class Parts:
    """The rows of a table in files, as they come; what is made of them is read part by part too.

    Args:
        folder: of these files; it is made.
    """

    def __init__(self, folder: Path):
        folder.mkdir()
        self._folder = folder
        self._files: list[Path] = []

    def add(self, rows: pl.DataFrame) -> None:
        """Put rows behind those that are there."""
        self._files.append(self._folder / f"{len(self._files)}.arrow")
        rows.write_ipc(self._files[-1], compression="lz4")

    def rows(self) -> pl.LazyFrame:
        """All rows, in their order; there has to be a part."""
        return pl.scan_ipc(self._files)
