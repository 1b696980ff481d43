"""Files in BEIR form: ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/<split>.tsv``."""

import csv
import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from embed_assets.artifacts.workspace import CollectionError


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers and objects of a JSON Lines file; blank lines are passed over.

    Raises:
        CollectionError: a line is not a JSON object.
    """
    with path.open(encoding="utf-8") as lines:
        try:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise CollectionError(f"{path}:{number}: expected a JSON object, found {type(row).__name__}")
                    yield number, row
        except json.JSONDecodeError as error:
            raise CollectionError(f"{path}:{number}: not JSON: {error}") from None
        except UnicodeDecodeError as error:
            raise CollectionError(f"{path}: not UTF-8: {error}") from None


def is_unicode(text: str) -> bool:
    """Whether the text has no half of a surrogate pair, which JSON can hold and UTF-8 cannot."""
    return not re.search("[\ud800-\udfff]", text)


QRELS_HEADER = ["query-id", "corpus-id", "score"]


def read_queries(path: Path) -> dict[str, tuple[str, str]]:
    """Id → text and style of the queries in a BEIR queries.jsonl; errors name the file and the line."""
    queries: dict[str, tuple[str, str]] = {}
    for number, row in read_jsonl(path):
        query_id, text = row.get("_id"), row.get("text")
        if not isinstance(query_id, str) or not query_id or not isinstance(text, str) or not text.strip():
            raise CollectionError(f"{path}:{number}: '_id' and 'text' must be non-empty strings")
        if query_id in queries:
            raise CollectionError(f"{path}:{number}: the _id {query_id!r} stands twice")
        if not is_unicode(query_id + text):
            raise CollectionError(f"{path}:{number}: half of a surrogate pair, which is no character, in {query_id!a}")
        metadata = row.get("metadata")
        queries[query_id] = text, str(metadata.get("style", "") if isinstance(metadata, dict) else "")
    return queries


def read_qrels(path: Path, queries: Collection[str]) -> list[tuple[str, str, int]]:
    """(query id, document id, relevance) of the rows of a BEIR qrels file; errors name the file and the line."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    except UnicodeDecodeError as error:
        raise CollectionError(f"{path}: not UTF-8: {error}") from None
    if not rows or rows[0] != QRELS_HEADER:
        raise CollectionError(f"{path}:1: expected the header query-id, corpus-id, score, separated by tabs")
    labels = []
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        if len(row) != 3 or not re.fullmatch(r"-?[0-9]+", row[2]):
            raise CollectionError(
                f"{path}:{number}: expected query-id, corpus-id and a whole number, separated by tabs; found {row}"
            )
        if row[0] not in queries:
            raise CollectionError(f"{path}:{number}: the query {row[0]!r} is not in queries.jsonl")
        labels.append((row[0], row[1], int(row[2])))
    return labels
