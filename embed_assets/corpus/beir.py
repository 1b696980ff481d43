"""Files in BEIR form: ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/<split>.tsv``, read as they are found, and written.

Each may end in ``.gz``, begin with a byte order mark, and have whole numbers as ids.
"""

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl

from embed_assets.artifacts.workspace import CollectionError
from embed_assets.corpus.encodings import byte_order_mark, composed

CORPUS, QUERIES = "corpus.jsonl", "queries.jsonl"
QRELS_HEADER = ["query-id", "corpus-id", "score"]
_QUOTED = re.compile(r'^"(.*)"$')
_RELEVANCE, _ITERATION = re.compile(r"[-+]?[0-9]+(\.0*)?"), re.compile(r"Q?[0-9]+")
_WHOLE = re.compile(r"(\d+)\.0+")
NAMES_OF_TEXT = ("contents", "content", "body", "passage", "abstract", "document")  # in corpora of other tools
LONGEST_LINE = 50_000_000  # characters
# Text shrinks to a third or a tenth; what grows more when it is unpacked was made to fill memory and disks.
MOST_UNPACKED, UNPACKED_AT_LEAST = 200, 100_000_000
BYTES_OF_A_VALUE = 16  # of a table in memory, whatever is in it


def find_file(folder: Path, name: str) -> Path | None:
    """The file of that name in a folder, or the one with ``.gz`` behind it; None if there is neither."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def find_qrels(folder: Path, split: str) -> Path | None:
    """The qrels of a split; None if there are none."""
    return find_file(folder / "qrels", f"{split}.tsv")


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbers and texts of the lines of a file that are not blank, without byte order mark and line end.

    It is in UTF-8, or in what its byte order mark says: PowerShell writes UTF-16.

    Raises:
        CollectionError: it is in another encoding, not gzip for all its name, or a line or the whole is too long.
    """
    limit = max(UNPACKED_AT_LEAST, MOST_UNPACKED * path.stat().st_size)
    read = 0
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as stream:
            _, encoding = byte_order_mark(stream.read(4)) or (b"", "utf-8")
        with opener(path, "rt", encoding=encoding, newline=None) as stream:
            number = 0
            while line := stream.readline(LONGEST_LINE):
                line = line.removeprefix("\ufeff")  # where files with marks were put together
                number += 1
                read += len(line)
                if len(line) >= LONGEST_LINE:
                    raise CollectionError(f"{path}:{number}: longer than {LONGEST_LINE:,} characters")
                if read > limit:
                    raise CollectionError(f"{path}:{number}: more than {MOST_UNPACKED} times as long as the packed file")
                if line.strip():
                    yield number, line.rstrip("\n")
    except UnicodeDecodeError as error:
        raise CollectionError(f"{path}: not UTF-8: {error}: save it as UTF-8") from None
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise CollectionError(f"{path}: not a whole gzip file: {error}") from None


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers and objects of a JSON Lines file; blank lines are passed over.

    Raises:
        CollectionError: a line is not a JSON object.
    """
    for number, line in read_lines(path):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:  # a number of 5000 digits is no JSONDecodeError
            raise CollectionError(f"{path}:{number}: not JSON: {error}: each line has to be one JSON object by itself") from None
        if not isinstance(row, dict):
            raise CollectionError(
                f"{path}:{number}: expected a JSON object, found {type(row).__name__}: each line has to be one by itself"
            )
        yield number, row


def read_parquet(path: Path) -> pl.DataFrame:
    """A table in a Parquet file.

    Raises:
        CollectionError: it is none, or unpacks to far more.
    """
    import pyarrow as pa

    content = path.read_bytes()
    limit = max(UNPACKED_AT_LEAST, MOST_UNPACKED * len(content))
    try:
        # A value that repeats is packed once: what all of them take is seen in the table itself.
        if _unpacked(content) > limit or (table := pl.read_parquet(content)).estimated_size() > limit:
            raise CollectionError(f"{path}: more than {MOST_UNPACKED} times as long as the packed file")
        return table
    except (pl.exceptions.PolarsError, pa.ArrowException, OSError) as error:
        raise CollectionError(f"{path}: not a Parquet file: {error}") from None


def _unpacked(content: bytes) -> int:
    """What the values of a Parquet file take at least, as its footer tells, without reading one: a cell may be a long list."""
    import pyarrow.parquet as pq

    footer = pq.ParquetFile(io.BytesIO(content)).metadata
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    columns = [group.column(place) for group in groups for place in range(group.num_columns)]
    return sum(max(BYTES_OF_A_VALUE * column.num_values, column.total_uncompressed_size) for column in columns)


def files_of_rows(folder: Path, name: str) -> list[Path]:
    """Those of NAME.jsonl, which may end in ``.gz``, and NAME.parquet that are there."""
    parquet = folder / f"{name}.parquet"
    return [path for path in (find_file(folder, f"{name}.jsonl"), parquet if parquet.is_file() else None) if path]


def read_rows(folder: Path, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of files_of_rows, each with its place: the file, and the line or the row."""
    for path in files_of_rows(folder, name):
        if path.suffix == ".parquet":
            rows = enumerate(read_parquet(path).iter_rows(named=True), start=1)
            yield from ((f"{path}, row {number} (counted from 1)", row) for number, row in rows)
        else:
            yield from ((f"{path}:{number}", row) for number, row in read_jsonl(path))


def is_unicode(text: str) -> bool:
    """Whether the text has no half of a surrogate pair, which JSON can hold and UTF-8 cannot."""
    return not re.search("[\ud800-\udfff]", text)


def require_unicode(place: str, text: str, shown: str) -> None:
    """Refuse a text that is not is_unicode.

    Args:
        place: where it stands.
        text: the text.
        shown: what the message shows, without such halves.

    Raises:
        CollectionError: there is half of a surrogate pair in it.
    """
    if not is_unicode(text):
        raise CollectionError(f"{place}: half of a surrogate pair, which is no character, in {shown}")


def read_corpus(path: Path) -> Iterator[tuple[str, str, str]]:
    """Id, title and text of the documents of a BEIR corpus; titles and texts that are missing or null are "".

    Raises:
        CollectionError: a line cannot be used; it is named.
    """
    seen: set[str] = set()
    for number, row in read_jsonl(path):
        document_id = _id_of(path, number, row, seen)
        if "text" not in row and (name := next((name for name in NAMES_OF_TEXT if isinstance(row.get(name), str)), None)):
            raise CollectionError(f"{path}:{number}: the text of {document_id!r} is called {name!r}: rename it 'text'")
        title, text = (value if value == value else "" for value in (row.get("title") or "", row.get("text") or ""))  # NaN
        if not isinstance(text, str) or not isinstance(title, str):
            raise CollectionError(f"{path}:{number}: 'text' and 'title' of {document_id!r} must be strings")
        require_unicode(f"{path}:{number}", title + text, ascii(document_id))
        yield document_id, title.strip(), text


def read_queries(path: Path) -> dict[str, tuple[str, str]]:
    """Id → text and style of the queries in a BEIR queries.jsonl, without those whose text is empty or null.

    Errors name the file and the line.
    """
    queries: dict[str, tuple[str, str]] = {}
    seen: set[str] = set()
    for number, row in read_jsonl(path):
        query_id, text = _id_of(path, number, row, seen), row.get("text")
        if "text" in row and (text is None or (isinstance(text, str) and not composed(text).strip())):
            continue
        if not isinstance(text, str):
            there = "" if "text" in row else f"; the keys of this line are {', '.join(map(ascii, list(row)[:10]))}"
            raise CollectionError(f"{path}:{number}: 'text' of the query {query_id!r} must be a non-empty string{there}")
        require_unicode(f"{path}:{number}", text, ascii(query_id))
        metadata = row.get("metadata")
        queries[query_id] = composed(text), str((metadata.get("style") if isinstance(metadata, dict) else None) or "")
    return queries


def _id_of(path: Path, number: int, row: dict[str, Any], seen: set[str]) -> str:
    found = as_id(row.get("_id"))
    if not isinstance(found, str) or not found:
        there = (
            "" if "_id" in row else f"; the keys of this line are {', '.join(map(ascii, list(row)[:10]))}: rename that of the id"
        )
        raise CollectionError(f"{path}:{number}: '_id' must be a non-empty string or a whole number, found {found!a:.80}{there}")
    require_unicode(f"{path}:{number}", found, ascii(found))
    if found in seen:
        raise CollectionError(f"{path}:{number}: the _id {found!r} stands twice: keep one of the lines, or give it another id")
    seen.add(found)
    return found


def as_id(name: Any) -> Any:
    """The id that a whole number stands for: pandas writes 12 as 12.0 where the column has an empty place. Else what it is."""
    if isinstance(name, int | float) and not isinstance(name, bool) and name % 1 == 0:
        return str(int(name))
    return name


class KnownIds:
    """Ids, and how other programs write them: decomposed, with blanks around them, as 12.0 where they are 12, or as paths
    of Windows or of the collection's folder."""

    def __init__(self, ids: Collection[str]):
        self._ids = ids if isinstance(ids, set | dict) else set(ids)
        self._by_key: dict[str, str | None] | None = None

    def find(self, name: str) -> str:
        """The id that is meant, if there is one alone; else the name itself."""
        if name in self._ids:
            return name
        if self._by_key is None:
            self._by_key = {}
            for known in self._ids:
                key = self._key(known)
                self._by_key[key] = None if key in self._by_key else known
        return self._by_key.get(self._key(name)) or name

    @staticmethod
    def _key(name: str) -> str:
        name = composed(name).strip().replace("\\", "/").removeprefix("./").removeprefix("documents/")
        return whole[1] if (whole := _WHOLE.fullmatch(name)) else name


def read_qrels(path: Path, queries: Collection[str] = (), documents: Collection[str] = ()) -> list[tuple[str, str, int]]:
    """(query id, document id, relevance) of the rows of a qrels file.

    Read are BEIR's three columns, separated by tabs, in quotes or not, with a header (whose last column is no number, and which
    may name more columns) or without one; and the four of TREC (query, iteration, document, relevance), separated by white
    space. Relevance may be written as 1.0. Of two labels of a query and a document the later one holds, as in BEIR.

    Args:
        path: the file.
        queries, documents: the ids that there are; those of the rows are taken for them as KnownIds.find does.

    Raises:
        CollectionError: a row is neither; it is named.
    """
    labels: dict[tuple[str, str], int] = {}
    asked, there = KnownIds(queries), KnownIds(documents)
    columns: tuple[int, int, int] | None = None
    for place, (number, line) in enumerate(read_lines(path)):
        split = (_cells(line), line.split())
        if place == 0 and (columns := _columns_of(split[0]) or _columns_of(split[1])):
            continue
        row = _picked(split, columns)
        if place == 0 and row and not re.match(r"[-+]?\.?[0-9]", row[-1]):
            continue
        query_id, document_id, relevance = row or ("", "", "")
        if not _RELEVANCE.fullmatch(relevance) or not query_id or not document_id:
            raise CollectionError(
                f"{path}:{number}: expected query-id, corpus-id and a whole number, separated by tabs (or the four columns of "
                f"TREC qrels); found {line!a:.120}"
            )
        labels[asked.find(query_id), there.find(document_id)] = int(float(relevance))
    if not labels:
        raise CollectionError(f"{path}: there is no label in it: add rows of query-id, corpus-id and score, or remove the file")
    return [(*pair, relevance) for pair, relevance in labels.items()]


def _cells(line: str) -> list[str]:
    """The cells of a line between tabs, without the quotes around them."""
    cells = [_QUOTED.sub(lambda quoted: quoted[1].replace('""', '"'), cell.strip()) for cell in line.split("\t")]
    return cells if cells[-1] else cells[:-1]  # a spreadsheet may end its rows with a tab


def _picked(split: Iterable[Sequence[str]], columns: tuple[int, int, int] | None) -> list[str] | None:
    """Query, document and relevance of a line that was split in several ways; None if it is no row.

    Below the header of BEIR there may be rows of TREC, whose second cell counts iterations.
    """
    if columns is None:
        return next(([cells[0], *cells[-2:]] for cells in split if len(cells) in (3, 4)), None)
    named = next(([cells[place] for place in columns] for cells in split if len(cells) > max(columns)), None)
    if columns == (0, 1, 2) and not (named and _RELEVANCE.fullmatch(named[2])):
        return next(([cells[0], *cells[-2:]] for cells in split if len(cells) == 4 and _ITERATION.fullmatch(cells[1])), named)
    return named


def _columns_of(header: Sequence[str]) -> tuple[int, int, int] | None:
    """Where query, document and relevance stand, if a header names each of them in one column, or each id in one."""
    roles = (r"quer|q_?id\b", r"corpus|doc|passage|p?id\b", r"score|relevan|rel\b|label|grade|judg")
    places = []
    for role in roles:
        named = [place for place, name in enumerate(header) if re.match(role, name.strip("#"), re.IGNORECASE)]
        ids = [place for place in named if re.search(r"(id|no)$", header[place], re.IGNORECASE)]
        if len(named) > 1:
            named = ids if role != roles[-1] else [place for place in named if place not in ids]
        places.append(named)
    return (places[0][0], places[1][0], places[2][0]) if all(len(found) == 1 for found in places) else None


def some_ids(ids: Collection[str]) -> str:
    """The first of them, with what cannot be seen in them."""
    return ", ".join(f"{name!r:.80}" for name in sorted(ids)[:5]) or "none"


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write objects as JSON Lines."""
    with path.open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write_qrels(path: Path, rows: Iterable[tuple[str, str, int]]) -> None:
    """Write (query id, document id, relevance) as BEIR qrels."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None, lineterminator="\n")
        writer.writerow(QRELS_HEADER)
        writer.writerows((without_spaces(name), without_spaces(unit), relevance) for name, unit, relevance in rows)


def without_spaces(name: str) -> str:
    """An id with its white space as in URLs: qrels and runs cannot hold it."""
    return re.sub(r"\s", lambda space: quote(space.group(0)), name)
