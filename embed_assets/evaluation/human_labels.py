"""Labels by people: queries.jsonl, qrels/test.tsv and qrels/dev.tsv of a collection, in BEIR's format."""

import contextlib
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from embed_assets.artifacts.files import digest_of_files
from embed_assets.artifacts.workspace import CollectionError
from embed_assets.corpus.beir import QUERIES, find_file, find_qrels, read_qrels, read_queries, some_ids
from embed_assets.evaluation.evaluation_set import HUMAN, LABEL_SCHEMA, QUERY_SCHEMA, Split

logger = logging.getLogger(__name__)

# What is tested with comes first.
SPLITS: tuple[Split, ...] = ("test", "dev")
# Query id, document id and relevance, as read_qrels gives them.
Row = tuple[str, str, int]


def read_human_labels(folder: Path, document_ids: Collection[str]) -> tuple[pl.DataFrame, pl.DataFrame, list[str]]:
    """Read the human-labelled queries of a collection (queries.jsonl, qrels/test.tsv and qrels/dev.tsv, BEIR format).

    Args:
        folder: the collection's folder.
        document_ids: ids of its documents.

    Returns:
        Queries in QUERY_SCHEMA, labels in LABEL_SCHEMA (start and end are null: the whole document), and what
        is odd about them, in words. All are empty where there are no labels. A query with test labels has no dev
        labels: what is tested with does not choose.

    Raises:
        CollectionError: a file is malformed, or no label points to a document; the file and the line are named.
    """
    path, of_splits = find_file(folder, QUERIES), _human_qrels(folder)
    if path is None or not of_splits:
        notes = _without_counterpart(folder, path, of_splits)
        _tell(folder, notes)
        return pl.DataFrame(schema=QUERY_SCHEMA), pl.DataFrame(schema=LABEL_SCHEMA), notes
    queries, known = read_queries(path), set(document_ids)
    rows = {split: read_qrels(qrels, queries, known) for split, qrels in of_splits.items()}
    relevant = {split: _relevant(of_splits[split], found, queries, known) for split, found in rows.items()}
    splits = {query_id: split for split in SPLITS[::-1] for query_id, _, _ in relevant.get(split, ())}
    labels = [
        (query_id, document_id, None, None, None, relevance)
        for split, found in relevant.items()
        for query_id, document_id, relevance in found
        if splits[query_id] == split
    ]
    asked = [(name, text, style, HUMAN, splits[name]) for name, (text, style) in queries.items() if name in splits]
    notes = [f"{of_splits[split].name} names no relevant document yet" for split in of_splits if not relevant[split]]
    notes += _of_unknown(
        {row[0] for found in rows.values() for row in found} - queries.keys(), {row[1] for row in labels} - known
    )
    if twice := {row[0] for split, found in relevant.items() for row in found if splits[row[0]] != split}:
        notes.append(f"{len(twice)} queries of qrels/dev.tsv have test labels too, and are tested with alone")
    if lost := queries.keys() - splits.keys() - _labelled_elsewhere(folder, of_splits.values(), queries):
        notes.append(f"{len(lost)} of {len(queries)} queries have no relevant document and are left out")
    _tell(folder, notes)
    return pl.DataFrame(asked, schema=QUERY_SCHEMA, orient="row"), pl.DataFrame(labels, schema=LABEL_SCHEMA, orient="row"), notes


def _relevant(path: Path, rows: Sequence[Row], queries: Collection[str], known: Collection[str]) -> list[Row]:
    """The rows that name a relevant document of a query that is there; none where nothing is labelled as relevant yet."""
    named = [row for row in rows if row[2] > 0]
    found = [row for row in named if row[0] in queries]
    if named and not found:
        raise CollectionError(
            f"{path}: no query of {QUERIES} has a relevant document here: compare their ids: "
            f"{some_ids({row[0] for row in named})} here, {some_ids(queries)} there"
        )
    if found and all(row[1] not in known for row in found):
        raise CollectionError(
            f"{path}: no label points to a document of the collection: it names {some_ids({row[1] for row in found})}; "
            f"documents that are there: {some_ids(known)}"
        )
    return found


def _of_unknown(queries: Collection[str], documents: Collection[str]) -> Iterator[str]:
    if queries:
        yield f"{len(queries)} labelled queries have no text in {QUERIES}, such as {some_ids(queries)}, and are left out"
    if documents:
        yield f"{len(documents)} labelled documents are not in the collection, such as {some_ids(documents)}"


def _without_counterpart(folder: Path, queries: Path | None, qrels: Mapping[Split, Path]) -> list[str]:
    """What is said where there are queries or labels alone; queries of own pairs need none."""
    trained = queries if find_qrels(folder, "train") else None
    only = next((path.name for path in (queries, *qrels.values()) if path and path != trained), None)
    return [f"{only} has no counterpart: human labels need queries.jsonl and qrels/test.tsv"] if only else []


def _tell(folder: Path, notes: Sequence[str]) -> None:
    for note in notes:
        logger.warning("%s: %s", folder.name, note)


def check_labels(folder: Path) -> None:
    """Read the human labels of a collection for their form alone, so that a slip is told before hours of writing questions.

    Raises:
        CollectionError: a file is malformed; the file and the line are named.
    """
    for path in _human_qrels(folder).values():
        read_qrels(path)
    if queries := find_file(folder, QUERIES):
        read_queries(queries)


def human_labels_digest(folder: Path, anew: bool = False) -> str:
    """Hash of the human label files of a collection; ``anew`` as in digests_of_files."""
    files = [path for path in (find_file(folder, QUERIES), *_human_qrels(folder).values()) if path]
    return digest_of_files(folder, files, anew)


def _labelled_elsewhere(folder: Path, read: Collection[Path], queries: Collection[str]) -> set[str]:
    """The queries of the other splits, which are asked about for a note alone: what cannot be read does not matter."""
    found: set[str] = set()
    for path in folder.glob("qrels/*.tsv*"):
        if path not in read:
            with contextlib.suppress(CollectionError):
                found |= {query_id for query_id, _, _ in read_qrels(path, queries)}
    return found


def _human_qrels(folder: Path) -> dict[Split, Path]:
    """The label files that there are."""
    return {split: path for split in SPLITS if (path := find_qrels(folder, split))}
