"""QA pairs that users bring: real queries, and the documents that were clicked or marked right.

They lie in the collection's folder, in any or all of pairs.jsonl, pairs.parquet, and queries.jsonl with
qrels/train.tsv (BEIR format). A row of pairs may also be a record of sdg_records.
"""

import functools
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from embed_assets.artifacts.files import digest_of_files
from embed_assets.artifacts.workspace import CollectionError
from embed_assets.corpus.beir import (
    QUERIES,
    KnownIds,
    as_id,
    files_of_rows,
    find_file,
    find_qrels,
    read_qrels,
    read_queries,
    read_rows,
    require_unicode,
    some_ids,
)
from embed_assets.corpus.encodings import composed
from embed_assets.corpus.spans import SpanIndex, language_of
from embed_assets.models.encoders import Encoder
from embed_assets.queries.pairs import OWN_WRITER, PAIR_SCHEMA, make_pairs
from embed_assets.queries.quotes import Quoted, same_words
from embed_assets.queries.sdg_records import DocumentNames, is_record, pairs_of_record
from embed_assets.retrieval.bm25 import bm25_index
from embed_assets.retrieval.ranking import blocks_of_queries
from embed_assets.text.near_duplicates import normalize_query

logger = logging.getLogger(__name__)
OWN_STYLE = "own"
PAIRS = "pairs"  # .jsonl and .parquet
COLUMNS = ("query", "document_id", "start", "end", "passage", "style", "answer")
GRADES = ("relevance", "label")  # of rows that say whether the document answers
BM25_WEIGHT = 0.5


class _OwnPair(NamedTuple):
    """One pair as the user gave it; its place is the file and the line."""

    place: str
    query: str
    document_id: str
    start: int | None
    end: int | None
    passage: str | None
    style: str
    answer: str | None = None


def read_own_pairs(
    folder: Path, documents: pl.DataFrame | pl.LazyFrame, chunks: pl.DataFrame, encoder: Encoder
) -> tuple[pl.DataFrame, list[str]]:
    """Read the QA pairs that the user brings.

    A pair with a span or a passage gets the chunk that covers most of it. Any other pair gets the chunk of its
    document that answers the query best by BM25 and the encoder.

    Args:
        folder: the collection's folder.
        documents: ``document_id`` and ``text``; only the texts of those that a pair names are read.
        chunks: the chunks of the documents.
        encoder: the base model; not used where no pair has several chunks to choose from.

    Returns:
        The pairs in PAIR_SCHEMA, one row for each query and chunk, all rows of a query with the same id (no row where the
        folder has no such files), and what was left out or not read, in words.

    Raises:
        CollectionError: a file is malformed, or no pair is left; the file and the line (or row) are named.
    """
    files = _pair_files(folder)
    if not files:
        return pl.DataFrame(schema=PAIR_SCHEMA), []
    documents = documents.lazy()
    names = DocumentNames(documents.select("document_id").collect()["document_id"].to_list())
    queries, unknown = _read_queries(folder), set[str]()
    rows, passed_over = _with_answers(_read_rows(folder, queries, unknown, names))
    known = set(chunks["document_id"])
    ids = KnownIds(known)
    pairs = [_check(place, row, ids) for place, row in rows]
    named = documents.filter(pl.col("document_id").is_in([pair.document_id for pair in pairs]))
    texts = dict(named.select("document_id", "text").collect(engine="streaming").iter_rows())
    kept, notes = _usable(pairs, texts, known, _test_queries(folder, queries or {}))
    notes = passed_over + notes
    if unknown:
        some = some_ids(unknown)
        notes.insert(0, f"{len(unknown)} labelled queries have no text in queries.jsonl, such as {some}, and are left out")
    if unread := {column for _, row in rows for column in row} - {*COLUMNS, *GRADES}:
        notes.append(f"columns that are not read: {_some(unread)}")
    if not kept:
        there = ", ".join(map(str, files))
        raise CollectionError(f"{there}: no pair is left ({'; '.join(notes) or 'there is none'}): correct or remove the file")
    found, repeated = _joined(kept, chunks, encoder)
    if repeated:
        notes.append(f"{repeated} pairs repeat the query and the chunk of another one")
    for note in notes:
        logger.warning("%s: %s", folder.name, note)
    return pl.DataFrame(found, schema=PAIR_SCHEMA), notes


def _with_answers(rows: Iterable[tuple[str, dict[str, Any]]]) -> tuple[list[tuple[str, dict[str, Any]]], list[str]]:
    """The rows with a query and an answer, and in words how many have a blank query or say that the document is no answer."""
    kept, blank, refused = [], [], []
    for place, row in rows:
        query = row.get("query")
        if "query" in row and (query is None or query != query or (isinstance(query, str) and not composed(query).strip())):
            blank.append(place)
        elif any(_is_refusal(row.get(name)) for name in GRADES):
            refused.append(place)
        else:
            kept.append((place, row))
    told = (blank, "pairs have a blank query"), (refused, f"pairs have a {' or a '.join(GRADES)} of 0 or less")
    return kept, [f"{len(places)} {words}, such as {_some(places)}, and are left out" for places, words in told if places]


def _is_refusal(grade: Any) -> bool:
    """Whether a grade is a number of 0 or less; exports of tables write numbers as text."""
    try:
        return isinstance(grade, int | float | str | Decimal) and float(grade) <= 0
    except (ValueError, OverflowError):  # words, or a number of hundreds of digits
        return False


def _usable(
    pairs: Sequence[_OwnPair], texts: Mapping[str, str], known: Collection[str], tested: Collection[str]
) -> tuple[list[_OwnPair], list[str]]:
    """The pairs that can be used, with the spans of their answers, and in words what is odd about the others.

    Args:
        pairs: as they were given.
        texts: of the documents that they name.
        known: ids of the documents that have chunks.
        tested: normalized queries that are tested or chosen by.
    """
    quoted = functools.lru_cache(maxsize=100)(Quoted)
    lost, stale, leaks, kept, moved = [], [], [], [], []
    for pair in pairs:
        if pair.document_id not in known:
            lost.append(pair)
        elif normalize_query(pair.query) in tested:
            leaks.append(pair)
        elif (located := _locate(pair, texts[pair.document_id], quoted)) is None:
            stale.append(pair)
        else:
            kept.append(located)
            if pair.start is not None and located.start != pair.start:
                moved.append(pair)
    beyond, stale = ([pair for pair in stale if bool(pair.passage) == named] for named in (False, True))
    told = (
        (lost, "pairs point to documents that are not in the collection", some_ids({pair.document_id for pair in lost})),
        (beyond, "spans are not within the text of their documents as read", _some(pair.place for pair in beyond)),
        (stale, "passages do not occur in their documents any more", _some(pair.place for pair in stale)),
        (leaks, "pairs have a query of qrels/test.tsv or qrels/dev.tsv", some_ids({pair.query for pair in leaks})),
    )
    notes = [f"{len(pairs)} {words}, such as {some}, and are left out" for pairs, words, some in told if pairs]
    if moved:
        some = _some(pair.place for pair in moved)
        notes.append(f"{len(moved)} passages do not stand where 'start' and 'end' say, such as {some}, and were looked for")
    return kept, notes


def _joined(kept: Sequence[_OwnPair], chunks: pl.DataFrame, encoder: Encoder) -> tuple[list[dict[str, Any]], int]:
    """Rows in PAIR_SCHEMA, those of a query together, and how many pairs repeat another one."""
    queries: dict[str, _OwnPair] = {}
    rows_of_query: dict[str, dict[int, None]] = {}
    for pair, row in zip(kept, _chunk_rows(kept, chunks, encoder), strict=True):
        name = normalize_query(pair.query)
        queries.setdefault(name, pair)
        rows_of_query.setdefault(name, {})[row] = None
    spans = chunks.select("document_id", "start", "end").rows(named=True)
    found = [
        row
        for name, pair in queries.items()
        for row in make_pairs(
            pair.query, pair.style, [spans[number] for number in rows_of_query[name]], OWN_WRITER, answer=pair.answer
        )
    ]
    return found, len(kept) - len(found)


def own_pairs_digest(folder: Path, anew: bool = False) -> str | None:
    """Hash of the files that the pairs of a collection are read from, and of the human labels, whose queries are left out.

    None if the user brings no pairs; ``anew`` as in digests_of_files.
    """
    files = _pair_files(folder)
    labels = [*filter(None, [find_file(folder, QUERIES)]), *_held_out_qrels(folder)]
    return digest_of_files(folder, [*files, *labels], anew) if files else None


def _some(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)[:5])


def _pair_files(folder: Path) -> list[Path]:
    return [*files_of_rows(folder, PAIRS), *filter(None, [find_qrels(folder, "train")])]


def _read_queries(folder: Path) -> Mapping[str, tuple[str, str]] | None:
    """The text and the style of each labelled query; None where there is no file of them."""
    path = find_file(folder, QUERIES)
    return read_queries(path) if path else None


def _read_rows(
    folder: Path, queries: Mapping[str, tuple[str, str]] | None, unknown: set[str], names: DocumentNames
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The pairs of all files, not yet checked, each with its place; the queries of qrels that are missing go to ``unknown``."""
    for place, row in read_rows(folder, PAIRS):
        yield from ((place, pair) for pair in (pairs_of_record(place, row, names) if is_record(row) else (row,)))
    if qrels := find_qrels(folder, "train"):
        if queries is None:
            raise CollectionError(f"{qrels}: its queries are missing: put them into {folder / QUERIES}")
        for query_id, document_id, relevance in read_qrels(qrels, queries):
            if query_id not in queries:
                unknown.add(query_id)
            elif relevance > 0:
                text, style = queries[query_id]
                yield f"{qrels}, query {query_id}", {"query": text, "document_id": document_id, "style": style}


def _held_out_qrels(folder: Path) -> list[Path]:
    return [path for path in (find_qrels(folder, "test"), find_qrels(folder, "dev")) if path]


def _test_queries(folder: Path, queries: Mapping[str, tuple[str, str]]) -> set[str]:
    """The normalized queries that are tested or chosen by."""
    labelled = {query_id for path in _held_out_qrels(folder) for query_id, _, _ in read_qrels(path, queries)} if queries else ()
    return {normalize_query(queries[query_id][0]) for query_id in labelled if query_id in queries}


def _check(place: str, row: dict[str, Any], ids: KnownIds) -> _OwnPair:
    row = {name: None if value != value else value for name, value in row.items()}  # the NaN of pandas
    row |= {"document_id": as_id(row["document_id"])} if "document_id" in row else {}
    for name in ("query", "document_id"):
        if not isinstance(row.get(name), str) or not composed(row[name]).strip():
            there = "" if name in row else f": its columns are {', '.join(map(ascii, list(row)[:10]))}; rename the right one"
            raise CollectionError(f"{place}: every pair needs {name!r}, a non-empty string; found {row.get(name)!a:.80}{there}")
    for name in ("passage", "style", "answer"):
        if not isinstance(row.get(name), str | None):
            raise CollectionError(f"{place}: {name!r} must be a string, or be left out; found {row[name]!a:.80}")
    whole = "".join(row.get(name) or "" for name in ("query", "document_id", "passage", "style", "answer"))
    require_unicode(place, whole, f"{row!a:.200}")
    start, end = (_whole_number(place, name, row.get(name)) for name in ("start", "end"))
    if (start is None) != (end is None):
        raise CollectionError(f"{place}: 'start' and 'end' belong together: give both or neither; found {start} and {end}")
    if start is not None and end is not None and not 0 <= start < end:
        raise CollectionError(
            f"{place}: the span from {start} to {end} is none: 'start' counts from 0, and 'end' is behind the last character"
        )
    texts = {name: composed(row.get(name) or "").strip() for name in ("query", "passage", "style", "answer")}
    return _OwnPair(
        place,
        texts["query"],
        ids.find(row["document_id"]),
        start,
        end,
        texts["passage"] or None,
        texts["style"] or OWN_STYLE,
        texts["answer"] or None,
    )


def _whole_number(place: str, name: str, value: Any) -> int | None:
    """The number; pandas makes 12.0 of 12 in a column in which a number is missing."""
    if value is None:
        return None
    if isinstance(value, bool) or not (isinstance(value, int) or (isinstance(value, float) and value.is_integer())):
        raise CollectionError(f"{place}: {name!r} must be a whole number, or be left out; found {value!a:.80}")
    return int(value)


def _chunk_rows(pairs: Sequence[_OwnPair], chunks: pl.DataFrame, encoder: Encoder) -> list[int]:
    """Row of the chunk that answers each pair."""
    groups = chunks.with_row_index("row").group_by("document_id").agg("row")
    rows_of = {document_id: np.array(rows) for document_id, rows in groups.iter_rows()}
    spans = SpanIndex(chunks)
    found: list[int | None] = []
    for pair in pairs:
        if pair.start is not None and pair.end is not None:
            row = spans.best(pair.document_id, pair.start, pair.end)
        else:
            row = int(rows_of[pair.document_id][0]) if len(rows_of[pair.document_id]) == 1 else None
        found.append(row)
    undecided = [pair for pair, row in zip(pairs, found, strict=True) if row is None]
    chosen = iter(_best_rows(undecided, rows_of, chunks, encoder) if undecided else [])
    return [next(chosen) if row is None else row for row in found]


def _locate(pair: _OwnPair, text: str, quoted: Callable[[str], Quoted]) -> _OwnPair | None:
    """The pair with the span of its answer, if it names one; None if the document's text has neither its span nor its passage.

    Where the span is not that of the passage, as after an edit, or where bytes were counted, the passage is looked for.
    """
    if pair.start is not None and pair.end is not None:
        is_there = 0 <= pair.start < pair.end <= len(text) and not text[pair.start : pair.end].isspace()
        if is_there and (not pair.passage or same_words(pair.passage, text[pair.start : pair.end])):
            return pair
        if pair.passage is None:
            return None
    if pair.passage is None:
        return pair
    span = quoted(text).find(pair.passage)
    return span and pair._replace(start=span[0], end=span[1])


def _best_rows(pairs: Sequence[_OwnPair], rows_of: dict[str, np.ndarray], chunks: pl.DataFrame, encoder: Encoder) -> list[int]:
    """Row of the chunk, among those of its document, that answers each query best.

    A chunk scores its cosine, and BM25_WEIGHT times its share of the best BM25 score in the document. Ranks
    would tie whenever BM25 and the encoder disagree about two chunks.
    """
    queries, passages = [pair.query for pair in pairs], chunks["passage"].to_list()
    candidates = {pair.document_id: rows_of[pair.document_id] for pair in pairs}
    passage_vectors = encoder.encode_passages([passages[row] for rows in candidates.values() for row in rows])
    ends = np.cumsum([len(rows) for rows in candidates.values()])
    vectors_of = dict(zip(candidates, np.split(passage_vectors, ends[:-1]), strict=True))
    query_vectors = encoder.encode_queries(queries)
    index = bm25_index(passages, language_of(chunks))
    best = []
    for block in blocks_of_queries(len(pairs), len(passages)):
        for number, bm25 in enumerate(index.scores(queries[block]), start=block.start):
            rows = candidates[pairs[number].document_id]
            cosines = vectors_of[pairs[number].document_id] @ query_vectors[number]
            share = bm25[rows] / max(bm25[rows].max(), np.finfo(np.float32).tiny)
            best.append(int(rows[np.argmax(cosines + BM25_WEIGHT * share)]))
    return best
