"""Records of synthetic question-answer pairs, as NVIDIA's recipe for embedding models generates them (its stage 0).

One record is a document, or a bundle of several, with its chunks and the pairs about them; its format is that of the
package data-designer-retrieval-sdg, 0.2.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import polars as pl

from embed_assets.artifacts.workspace import CollectionError
from embed_assets.queries.pairs import PAIR_SCHEMA
from embed_assets.queries.shares import MULTI_HOP

PAIRS = "deduplicated_qa_pairs"
LEAST_QUALITY = 7.0  # mean mark, 1 to 10: what the recipe keeps by default


def is_record(row: Mapping[str, Any]) -> bool:
    """Whether a line of a JSON Lines file is such a record."""
    return PAIRS in row and "chunks" in row


class DocumentNames:
    """Finds documents by the file names of records, which may be paths of another machine.

    Args:
        document_ids: of the collection.
    """

    def __init__(self, document_ids: Collection[str]):
        self._known = set(document_ids)
        self._by_base: dict[str, list[str]] = {}
        for name in sorted(self._known):
            self._by_base.setdefault(name.rpartition("/")[2], []).append(name)

    def find(self, path: str) -> str:
        """The document whose id is the path, or how it ends; else the only one of that file name; else the path itself."""
        path = path.replace("\\", "/")
        if path in self._known:
            return path
        same = self._by_base.get(path.rpartition("/")[2], [])
        ends = [name for name in same if f"/{path}".endswith(f"/{name}")]
        longest = max(ends, key=len, default="")
        return longest or (same[0] if len(same) == 1 else path)


def pairs_of_record(place: str, record: Mapping[str, Any], names: DocumentNames) -> Iterator[dict[str, Any]]:
    """The pairs of a record as own pairs: a row for each chunk that answers a question.

    Pairs that the recipe's judge gave less than LEAST_QUALITY are left out, as there.

    Raises:
        CollectionError: the record lacks something, or a pair names a chunk that it does not have.
    """
    pairs, chunks = _list(place, record, PAIRS), _list(place, record, "chunks")
    files = record.get("file_name")
    files = [files] if isinstance(files, str) else files
    if not isinstance(files, list) or not files or not all(isinstance(name, str) for name in files):
        raise CollectionError(f"{place}: 'file_name' must be a file name or a list of them; found {files!a:.80}")
    by_id = {chunk["chunk_id"]: chunk for chunk in chunks if isinstance(chunk.get("chunk_id"), int | str)}
    marks = _marks(place, record, len(pairs))
    for pair, mark in zip(pairs, marks, strict=True):
        if mark is not None and mark < LEAST_QUALITY:
            continue
        segments = pair.get("segment_ids") or []
        if not isinstance(segments, list) or not all(isinstance(segment, int | str) for segment in segments):
            raise CollectionError(f"{place}: 'segment_ids' must be a list of ids of chunks; found {segments!a:.80}")
        for segment in segments:
            chunk = by_id.get(segment)
            if chunk is None or not isinstance(chunk.get("text"), str):
                asked = pair.get("question")
                raise CollectionError(f"{place}: the pair {asked!a:.80} names the chunk {segment!a}, which is not there")
            yield {
                "query": pair.get("question"),
                "document_id": names.find(_file_of(chunk, files)),
                "passage": chunk["text"],
                "style": pair.get("query_type"),
                "answer": pair.get("answer"),
            }


def _file_of(chunk: Mapping[str, Any], files: list[str]) -> str:
    """The document of a chunk, which it names itself where the record is a bundle."""
    named = chunk.get("doc_path") or chunk.get("doc_id")
    return named if isinstance(named, str) and len(files) > 1 else files[0]


def _list(place: str, record: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """A list of objects of a record; it may be a JSON text, as Parquet files hold it."""
    value = record.get(name)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise CollectionError(f"{place}: {name!r} must be a list of objects; found {value!a:.80}")
    return value


def _marks(place: str, record: Mapping[str, Any], pairs: int) -> list[float | None]:
    """The overall mark of each pair; none where the record was not judged."""
    judged = record.get("qa_evaluations")
    if not judged:
        return [None] * pairs
    found = _list(place, judged, "evaluations") if isinstance(judged, dict) else []
    if len(found) != pairs:
        raise CollectionError(f"{place}: {len(found)} evaluations of {pairs} pairs: their order is not known")
    return [_mark(place, it["overall"]) if isinstance(it.get("overall"), dict) else None for it in found]


def _mark(place: str, overall: Mapping[str, Any]) -> float:
    try:
        return float(overall["score"])
    except (KeyError, TypeError, ValueError):
        raise CollectionError(
            f"{place}: 'overall' of an evaluation needs a number as its 'score'; found {overall!a:.80}"
        ) from None


def records_of_pairs(pairs: pl.DataFrame, chunks: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Kept pairs as records: one for each document, or bundle of documents, that a query is about.

    Args:
        pairs: QA pairs that are kept, in PAIR_SCHEMA with ``judge_score``.
        chunks: the collection's chunks.
    """
    rows = chunks.select("document_id", "start", "end", "text").with_columns(number=pl.int_range(pl.len()).over("document_id"))
    chunks_of = {name[0]: group for name, group in rows.group_by("document_id", maintain_order=True)}
    pairs = pl.concat([pl.DataFrame(schema=PAIR_SCHEMA), pairs], how="diagonal")  # older ones have no answers
    queries = pairs.group_by("query_id", maintain_order=True).agg(
        pl.col("query", "style", "answer", "reasoning_type", "complexity", "judge_score").first(),
        pl.struct("document_id", "start").alias("places"),
        pl.col("document_id").unique(maintain_order=True).sort().alias("documents"),
    )
    for (documents,), group in queries.group_by("documents", maintain_order=True):
        ids: dict[tuple[str, int], int] = {}
        listed: list[dict[str, Any]] = []
        for name in documents:
            for start, text in chunks_of[name].select("start", "text").iter_rows():
                ids[name, start] = len(listed) + 1
                listed.append({"chunk_id": len(listed) + 1, "doc_id": name, "text": text})
        found, marks = [], []
        for row in group.iter_rows(named=True):
            segments = [ids[place["document_id"], place["start"]] for place in row["places"]]
            found.append(
                {
                    "question": row["query"],
                    "answer": row["answer"] or "",
                    "question_complexity": row["complexity"],
                    "query_type": row["style"],
                    "reasoning_type": row["reasoning_type"],
                    "segment_ids": segments,
                    "hop_count": len(segments) if row["style"] == MULTI_HOP else 1,
                }
            )
            # The recipe leaves out what has no mark of 7: what other filters have kept here is to stay.
            marks.append({"overall": {"score": 10.0 if row["judge_score"] is None else row["judge_score"]}})
        yield {"file_name": list(documents), "chunks": listed, PAIRS: found, "qa_evaluations": {"evaluations": marks}}
