"""Spreadsheets and files of separated values, as Markdown tables."""

import csv
import datetime
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from embed_assets.corpus.encodings import decode
from embed_assets.corpus.readers.converted import Converted, UnreadableError
from embed_assets.corpus.readers.office import open_zip, table
from embed_assets.corpus.readers.plain import encoding_notes

if TYPE_CHECKING:
    from openpyxl.cell.read_only import ReadOnlyCell

MOST_CELLS = 2_000_000
ROWS_ABOVE_NAMES = 3  # a title and remarks
# The likeliest one first. What tells them apart stands in the first rows, and in so many characters.
SEPARATORS = ",;\t|"
ROWS_LOOKED_AT, SAMPLE = 50, 100_000
LEAST_EVENNESS = 0.5  # share of the rows; with less, the commas are those of sentences in a single column
NOWHERE = "\x1f"
# The cell of a formula that no program computed: libraries write formulas without their values. An empty text is one.
_NOT_COMPUTED = re.compile(
    rb"""<c\b(?![^<>]*\bt="str")[^<>]*>\s*(?:<f\b[^<>]*/>|<f\b[^<>]*>[^<>]*</f>)\s*(?:<v\s*/>|<v></v>)?\s*</c>"""
)


def read_csv(content: bytes) -> Converted:
    """A file of separated values; its first row names the columns. The separator is that of its first lines."""
    text, encoding = decode(content)
    # The limit is the process's: whoever reads after this one must not find a smaller one.
    csv.field_size_limit(max(len(text) + 1, csv.field_size_limit()))
    stated = re.match(r"sep=(.)\r?\n", text)  # for Excel
    text = text[stated.end() :] if stated else text
    separator = stated[1] if stated else _separator(text)
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True) if any(row)]
    except csv.Error as error:
        raise UnreadableError(f"not a table: {error}") from None
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    _check_size(len(rows), max((len(row) for row in rows), default=0))
    return Converted(_with_captions(rows), notes=encoding_notes(encoding))


def _separator(text: str) -> str:
    """The character that cuts most of the first rows into the same number of cells, the more cells the better.

    (csv.Sniffer counts characters, and takes the comma of 1,50 for the separator of a file that is separated by semicolons.)
    """
    lines = io.StringIO(text[:SAMPLE], newline="")

    def evenness(separator: str) -> tuple[float, int]:
        lines.seek(0)
        try:
            rows = [len(row) for row in itertools.islice(csv.reader(lines, delimiter=separator), ROWS_LOOKED_AT) if row]
        except csv.Error:
            return 0, 0
        counts = Counter(width for width in rows if width > 1)
        width, number = max(counts.items(), key=lambda item: (item[1], item[0]), default=(0, 0))
        return round(number / max(1, len(rows)), 1), width

    best = max(SEPARATORS, key=evenness)
    return best if evenness(best)[0] >= LEAST_EVENNESS else NOWHERE


def _with_captions(rows: list[list[str]]) -> str:
    """Rows as a table, below what stands above the names of its columns: its title, and remarks of the program that wrote it."""
    widths = Counter(map(len, rows))
    width = max(widths, key=lambda width: (widths[width], width), default=0)

    def is_caption(row: list[str]) -> bool:
        shorter, filled = len(row) < width, sum(map(bool, row))
        named = filled == 2 and width > 3 and all(row[:2])  # Account:;DE12;;
        return (shorter and row[0].startswith("#")) or (filled == 1 and (shorter or width > 2)) or named

    above = list(itertools.takewhile(is_caption, rows if width > 1 else ()))
    captions = [" ".join(filter(None, row)).lstrip("# ") for row in above]
    return "\n\n".join([*filter(None, captions), table(_with_joined_names(rows[len(above) :]))])


def _with_joined_names(rows: list[list[str]]) -> list[list[str]]:
    """Rows whose first one has the names of both first rows, where groups of columns have a name above their own.

    The second row has then no cell below the first name, words alone, and one below each gap of the first row.
    """
    if len(rows) < 3:
        return rows
    groups, below = ([*row, *[""] * (len(rows[1]) - len(row))] for row in rows[:2])
    is_pair = groups[0] and not below[0] and all(map(any, itertools.zip_longest(groups, below)))
    if not is_pair or all(groups) or any(re.match(r"[-+]?[\d.,]", name) for name in below):
        return rows
    names, group = [], ""
    for above, own in itertools.zip_longest(groups, below, fillvalue=""):
        group = above or group
        names.append(f"{group} {own}".strip() if own else above)
    return [names, *rows[2:]]


def read_xlsx(content: bytes) -> Converted:
    """The sheets of a workbook, each below its name, with the values that formulas had when it was saved."""
    import openpyxl

    archive = open_zip(content)
    book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True, keep_links=False)
    parts, cells = [], 0
    shown = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
    for sheet in shown:
        # Between empty rows; each row with whether it may be the names of columns.
        parts_of_sheet: list[list[tuple[list[str], bool]]] = [[]]
        for line in sheet.iter_rows():
            row = [_cell(cell.value, getattr(cell, "number_format", "")) for cell in line]
            cells += len(row)
            _check_size(cells, 1)
            while row and not row[-1]:
                row.pop()
            if row:
                last = parts_of_sheet[-1]
                last.append((row, len(last) < ROWS_ABOVE_NAMES and _is_bold(line)))
            elif parts_of_sheet[-1]:
                parts_of_sheet.append([])
        if tables := _tables(parts_of_sheet):
            parts.append("\n\n".join([f"## {sheet.title}", *map(_with_captions, tables)]))
    names = archive.namelist()
    comments = [name for name in names if re.fullmatch(r"xl/(?:comments/comment|comments)\d*\.xml", name)]
    sheets = [name for name in names if re.fullmatch(r"xl/worksheets/[^/]+\.xml", name)]
    drawings = [name for name in names if re.fullmatch(r"xl/drawings/drawing\d*\.xml", name)]
    counts = (
        (len(book.worksheets) - len(shown), "hidden sheets"),
        (sum(archive.read(name).count(b"<comment ") for name in comments), "comments"),
        (sum(name.startswith("xl/charts/chart") for name in names), "charts"),
        (sum(b"<a:t>" in archive.read(name) for name in drawings), "drawings with text"),
        (sum(len(_NOT_COMPUTED.findall(archive.read(name))) for name in sheets), "formulas without a value"),
    )
    notes = tuple(f"{count} {what} left out" for count, what in counts if count)
    return Converted("\n\n".join(parts), book.properties.title or "", notes=notes)


def _is_bold(line: "Sequence[ReadOnlyCell]") -> bool:
    """Whether a row of a sheet looks like the names of columns: several cells, all words in bold. (A sum has a number.)"""
    filled = [cell for cell in line if cell.value is not None]
    return len(filled) > 1 and all(isinstance(cell.value, str) and cell.font.b for cell in filled)


def _tables(parts: Iterable[Sequence[tuple[list[str], bool]]]) -> list[list[list[str]]]:
    """The rows of each table of a sheet: another one begins below an empty row with names in bold, or with a title above them."""
    tables: list[list[list[str]]] = []
    titles: list[list[str]] = []
    for part in parts:
        first = next((may_be_names for row, may_be_names in part if sum(map(bool, row)) > 1), None)
        if first is None:
            titles += [row for row, _ in part]
            continue
        if first or not tables:
            tables.append([])
        tables[-1] += [*titles, *(row for row, _ in part)]
        titles = []
    if titles and not tables:
        return [titles]
    if titles:  # a remark below the last table
        tables[-1] += titles
    return tables


def _cell(value: object, number_format: str) -> str:
    """A value as the sheet shows it; of the formats of numbers, those that make other words: 25%, and numbers such as 00123."""
    if value is None:
        return ""
    if isinstance(value, int | float) and (percent := re.match(r"0(?:\.(0+))?%", number_format)):
        return f"{100 * value:.{len(percent[1] or '')}f}%"
    if isinstance(value, int) and re.fullmatch("0{2,}", number_format):
        return str(value).zfill(len(number_format))
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat(" ") if isinstance(value, datetime.datetime) else value.isoformat()
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _check_size(rows: int, columns: int) -> None:
    if rows * columns > MOST_CELLS:
        raise UnreadableError(f"more than {MOST_CELLS} cells")
