"""Spreadsheets and files of separated values, as Markdown tables."""

import csv
import datetime
import io

from embed_assets.corpus.encodings import decode
from embed_assets.corpus.readers.converted import Converted, UnreadableError
from embed_assets.corpus.readers.office import open_zip, table
from embed_assets.corpus.readers.plain import encoding_notes

MOST_CELLS = 2_000_000


def read_csv(content: bytes) -> Converted:
    """A file of separated values; its first row names the columns. The separator is that of its first lines."""
    text, encoding = decode(content)
    # The limit is the process's: whoever reads after this one must not find a smaller one.
    csv.field_size_limit(max(len(text) + 1, csv.field_size_limit()))
    lines = text.splitlines()[:20]
    try:
        dialect: type[csv.Dialect] | csv.Dialect = csv.Sniffer().sniff("\n".join(lines)[:8192], ",;\t|")
    except csv.Error:
        dialect = csv.excel_tab if lines and "\t" in lines[0] else csv.excel
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), dialect) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise UnreadableError(f"not a table: {error}") from None
    _check_size(len(rows), max((len(row) for row in rows), default=0))
    return Converted(table(rows), notes=encoding_notes(encoding))


def read_xlsx(content: bytes) -> Converted:
    """The sheets of a workbook, each below its name, with the values that formulas had when it was saved."""
    import openpyxl

    open_zip(content)
    book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True, keep_links=False)
    parts, cells = [], 0
    for sheet in book.worksheets:
        rows = []
        for values in sheet.iter_rows(values_only=True):
            row = [_cell(value) for value in values]
            cells += len(row)
            _check_size(cells, 1)
            while row and not row[-1]:
                row.pop()
            if row:
                rows.append(row)
        if rows:
            parts.append(f"## {sheet.title}\n\n{table(rows)}")
    return Converted("\n\n".join(parts), book.properties.title or "")


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat(" ") if isinstance(value, datetime.datetime) else value.isoformat()
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _check_size(rows: int, columns: int) -> None:
    if rows * columns > MOST_CELLS:
        raise UnreadableError(f"more than {MOST_CELLS} cells")
