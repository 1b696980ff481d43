"""Human labels, one mark at a time: BEIR qrels in the collection's folder, as the evaluation set reads them.

Every mark is on disk before the next page is shown.
"""

import json
from collections.abc import Collection, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Literal

from embed_assets.artifacts.files import lock, write_atomically
from embed_assets.artifacts.workspace import CollectionError
from embed_assets.corpus.beir import QRELS_HEADER, QUERIES, find_file, find_qrels, read_lines, read_qrels, read_queries
from embed_assets.corpus.encodings import composed
from embed_assets.evaluation.evaluation_set import place_of
from embed_assets.evaluation.settings import EvaluationSetSettings
from embed_assets.text.near_duplicates import normalize_query

LabelSplit = Literal["dev", "test"]
SPLITS: tuple[LabelSplit, ...] = ("test", "dev")
Rows = list[tuple[str, str, int]]


class Labels:
    """The human labels of a collection.

    Args:
        folder: the collection's folder.
        settings: the shares of dev and test.
        locks: folder of the lock that keeps two writers into the collection's folder apart.
        split: where new queries go; None: by a hash of the query, in the shares of the settings.
        documents: ids of the collection; labels that write them in another way mean them, as in the evaluation set.
    """

    def __init__(
        self,
        folder: Path,
        settings: EvaluationSetSettings,
        locks: Path,
        split: LabelSplit | None = None,
        documents: Collection[str] = (),
    ):
        self.folder, self._settings, self._split, self._documents = folder, settings, split, documents
        self.lock = locks / f"{folder.name}.lock"
        locks.mkdir(parents=True, exist_ok=True)

    def of(self, query: str) -> dict[str, int]:
        """Document id → relevance of the marks that a query has; 0 is: not relevant.

        Raises:
            CollectionError: a label file cannot be used; it is named.
        """
        ids, rows = self._read()
        query_id = ids.get(normalize_query(query))
        return {document: mark for split in SPLITS for name, document, mark in rows[split] if name == query_id}

    def split_of(self, query: str) -> LabelSplit:
        """Where the marks of a query are, or would go."""
        ids, rows = self._read()
        return self._place(query, ids.get(normalize_query(query)), rows)

    def judged(self) -> dict[str, LabelSplit]:
        """The normalized queries that have a relevant document, and the split of each."""
        ids, rows = self._read()
        names = {query_id: text for text, query_id in ids.items()}
        found: dict[str, LabelSplit] = {}
        for split in SPLITS:
            for query_id, _, relevance in rows[split]:
                if relevance > 0 and query_id in names:
                    found.setdefault(names[query_id], split)
        return found

    def mark(self, query: str, document_id: str, relevance: int | None) -> None:
        """Keep a mark; None takes one back.

        Args:
            query: as it was typed.
            document_id: of the collection.
            relevance: 1 relevant, 0 not relevant.

        Raises:
            OSError: the folder cannot be written to.
            CollectionError: a label file cannot be used or is packed, or an id cannot stand in qrels. Nothing is written.
        """
        query = " ".join(composed(query).split())
        if not query or not normalize_query(query):
            raise CollectionError("there is no word in the query")
        if document_id != document_id.strip() or any(sign in document_id for sign in "\t\n\r"):
            raise CollectionError(f"{document_id!r}: qrels cannot hold this id: rename the document")
        with lock(self.lock):
            for path in (self.folder / f"{QUERIES}.gz", *(self.folder / "qrels" / f"{split}.tsv.gz" for split in SPLITS)):
                if path.exists():
                    raise CollectionError(f"{path}: labels are not added to a packed file: unpack it")
            (self.folder / "qrels").mkdir(exist_ok=True)  # before anything is written
            ids, rows = self._read()
            query_id = ids.get(normalize_query(query))
            split = self._place(query, query_id, rows)
            query_id = query_id or self._add(query)
            kept = [row for row in rows[split] if row[:2] != (query_id, document_id)]
            if relevance is not None:
                place = next((place for place, row in enumerate(rows[split]) if row[:2] == (query_id, document_id)), len(kept))
                kept.insert(place, (query_id, document_id, relevance))
            self._write(split, kept)

    def _read(self) -> tuple[dict[str, str], dict[LabelSplit, Rows]]:
        """Normalized query → its id (of two that are the same, the first one), and the rows of each split."""
        path = find_file(self.folder, QUERIES)
        queries = read_queries(path) if path else {}
        ids: dict[str, str] = {}
        for query_id, (text, _) in queries.items():
            ids.setdefault(normalize_query(text), query_id)
        qrels = {split: find_qrels(self.folder, split) for split in SPLITS}
        return ids, {split: read_qrels(file, queries, self._documents) if file else [] for split, file in qrels.items()}

    def _place(self, query: str, query_id: str | None, rows: Mapping[LabelSplit, Rows]) -> LabelSplit:
        there = (split for split in SPLITS if any(name == query_id for name, _, _ in rows[split]))
        return next(there, None) or self._split or split_of_query(query, self._settings)

    def _add(self, query: str) -> str:
        """Append a query to queries.jsonl; returns its id."""
        path = self.folder / QUERIES
        before = path.read_text(encoding="utf-8-sig") if path.is_file() else ""
        taken = set(read_queries(path)) if path.is_file() else set()
        name = f"query-{sha256(normalize_query(query).encode()).hexdigest()[:12]}"
        if name in taken:
            raise CollectionError(f"{path}: the id {name!r} is that of another query: rename it")
        row = json.dumps({"_id": name, "text": query}, ensure_ascii=False)
        write_atomically(path, f"{before.rstrip()}\n{row}\n".lstrip("\n"))
        return name

    def _write(self, split: LabelSplit, rows: Rows) -> None:
        path = self.folder / "qrels" / f"{split}.tsv"
        if not rows:  # a file without a label would be an error to whoever reads it
            path.unlink(missing_ok=True)
            return
        lines = ["\t".join(QRELS_HEADER), *("\t".join(map(str, row)) for row in rows)]
        write_atomically(path, "".join(f"{line}\n" for line in lines))


def split_of_query(query: str, settings: EvaluationSetSettings) -> LabelSplit:
    """The split of a query that a person labels, by a hash of its words: dev and test in the shares of the settings."""
    held_out = settings.test_share + settings.dev_share
    share = settings.test_share / held_out if held_out else 1.0
    return "test" if place_of(normalize_query(query), settings) < share else "dev"


def read_log(path: Path) -> list[str]:
    """The queries of a log, one a line, each once.

    Raises:
        CollectionError: there is no such file, or no query in it, or it is not UTF-8.
    """
    if not path.is_file():
        raise CollectionError(f"{path}: there is no such file: name one with a query on each line")
    queries: dict[str, str] = {}
    for _, line in read_lines(path):
        query = " ".join(composed(line).split())
        if normal := normalize_query(query):
            queries.setdefault(normal, query)
    if not queries:
        raise CollectionError(f"{path}: there is no query in it: it needs one on each line")
    return list(queries.values())
