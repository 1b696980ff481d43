"""The fixed yardstick: human labels where there are any, and held-out synthetic queries.

Labels point to documents, or to character spans of documents, never to chunks: they hold for every
chunking, so that the scores of all runs can be compared.
"""

import contextlib
import hashlib
import logging
from collections.abc import Collection
from pathlib import Path
from typing import Literal

import polars as pl

from embed_assets.artifacts.files import digest_of_files
from embed_assets.artifacts.workspace import CollectionError
from embed_assets.corpus.beir import QUERIES, find_file, find_qrels, read_qrels, read_queries
from embed_assets.evaluation.settings import EvaluationSetSettings
from embed_assets.queries.pairs import NEIGHBOUR, OWN_WRITER
from embed_assets.text.near_duplicates import normalize_query

logger = logging.getLogger(__name__)
Split = Literal["train", "dev", "test"]
QUERY_SCHEMA = {
    "query_id": pl.String,
    "query": pl.String,
    "style": pl.String,
    "source": pl.String,
    "split": pl.String,
}
LABEL_SCHEMA = {
    "query_id": pl.String,
    "document_id": pl.String,
    "start": pl.Int64,
    "end": pl.Int64,
    "text": pl.String,
    "relevance": pl.Int64,
}
HUMAN, OWN, SYNTHETIC = "human", "own", "synthetic"


def split_of(name: str, settings: EvaluationSetSettings) -> Split:
    """The split of a document's synthetic queries by a hash of its id, or of a user's query by one of its words.

    A new document never moves another one to a different split, nor a new query another one.
    """
    digest = hashlib.sha256(f"{settings.version} {name}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < settings.test_share:
        return "test"
    return "dev" if place < settings.test_share + settings.dev_share else "train"


def splits_of_pairs(pairs: pl.DataFrame, settings: EvaluationSetSettings) -> pl.Series:
    """The split of each pair: that of its document, or of its normalized query where the user brought it.

    A query of a click log has answers in many documents: split by these, hardly a query would be left as a whole.

    Args:
        pairs: QA pairs with ``query``, ``document_id`` and ``writer``; without ``writer``, none is the user's.
        settings: shares.
    """
    names = pairs["document_id"]
    if "writer" in pairs.columns:
        own = pairs.select(pl.col("query").map_elements(normalize_query, return_dtype=pl.String)).to_series()
        names = own.zip_with(pairs["writer"] == OWN_WRITER, names)
    splits = {name: split_of(name, settings) for name in names.unique()}
    return names.replace_strict(splits, return_dtype=pl.String)


def hold_out_queries(
    pairs: pl.DataFrame, chunks: pl.DataFrame, settings: EvaluationSetSettings
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Draw the queries of the dev and test splits from the QA pairs: synthetic ones, and the user's own apart.

    A query that several chunks answer is held out only if all of them are in the same split. The user's own queries are
    split by the query, all others by the document.

    Args:
        pairs: kept QA pairs (``query_id``, ``query``, ``style``, ``writer``, ``document_id``, ``start``, ``end``).
        chunks: the chunks that they were made from; their text is kept with the labels.
        settings: shares and limits.

    Returns:
        Queries in QUERY_SCHEMA and labels in LABEL_SCHEMA.
    """
    source = pl.when(pl.col("writer") == OWN_WRITER).then(pl.lit(OWN)).otherwise(pl.lit(SYNTHETIC))
    pairs = pairs.with_columns(split=splits_of_pairs(pairs, settings), source=source, relevance=pl.lit(1, dtype=pl.Int64))
    in_one_split = pl.col("split").n_unique().over("query_id") == 1
    answered_elsewhere = (pl.col("style") == NEIGHBOUR) & (pl.col("writer") != OWN_WRITER)
    held_out = pairs.filter(in_one_split & (pl.col("split") != "train") & ~answered_elsewhere)
    queries = (
        held_out.unique("query_id", keep="first")
        .sort("query_id")
        .group_by("split", "source", maintain_order=True)
        .head(settings.max_queries)
        .sort("query_id")
    )
    labels = (
        held_out.filter(pl.col("query_id").is_in(queries["query_id"].to_list()))
        .sort("query_id", "document_id", "start")
        .join(
            chunks.select("document_id", "start", "end", "text"),
            on=["document_id", "start", "end"],
            how="left",
            maintain_order="left",
        )
    )
    return queries.select(list(QUERY_SCHEMA)), labels.select(list(LABEL_SCHEMA))


def read_human_labels(folder: Path, document_ids: Collection[str]) -> tuple[pl.DataFrame, pl.DataFrame, list[str]]:
    """Read the human-labelled queries of a collection (queries.jsonl and qrels/test.tsv, BEIR format).

    Args:
        folder: the collection's folder.
        document_ids: ids of its documents.

    Returns:
        Queries in QUERY_SCHEMA, labels in LABEL_SCHEMA (start and end are null: the whole document), and what
        is odd about them, in words. All are empty where there are no labels.

    Raises:
        CollectionError: a file is malformed, or no label points to a document; the file and the line are named.
    """
    queries_path, qrels_path = find_file(folder, QUERIES), find_qrels(folder, "test")
    empty = pl.DataFrame(schema=QUERY_SCHEMA), pl.DataFrame(schema=LABEL_SCHEMA)
    if queries_path is None or qrels_path is None:
        only = next((path.name for path in (queries_path, qrels_path) if path), None)
        return *empty, [f"{only} has no counterpart: human labels need queries.jsonl and qrels/test.tsv"] if only else []
    queries = read_queries(queries_path)
    known = set(document_ids)
    notes, labels, unknown_documents, unknown_queries = [], [], set(), set()
    for query_id, document_id, relevance in read_qrels(qrels_path):
        if query_id not in queries:
            unknown_queries.add(query_id)
        elif relevance > 0:
            labels.append((query_id, document_id, None, None, None, relevance))
            if document_id not in known:
                unknown_documents.add(document_id)
    if unknown_queries:
        some = ", ".join(sorted(unknown_queries)[:5])
        notes.append(f"{len(unknown_queries)} labelled queries are not in {queries_path.name}, such as {some}, and are left out")
    if unknown_documents:
        some = ", ".join(sorted(unknown_documents)[:5])
        notes.append(f"{len(unknown_documents)} labelled documents are not in the collection, such as {some}")
    if all(label[1] in unknown_documents for label in labels):
        raise CollectionError(f"{qrels_path}: no label points to a document of the collection ({'; '.join(notes)})")
    labelled = {label[0] for label in labels}
    elsewhere = _labelled_elsewhere(folder, qrels_path)
    if lost := queries.keys() - labelled - elsewhere:
        notes.append(f"{len(lost)} of {len(queries)} queries have no relevant document and are left out")
    for note in notes:
        logger.warning("%s: %s", folder.name, note)
    rows = [(name, text, style, HUMAN, "test") for name, (text, style) in queries.items() if name in labelled]
    return pl.DataFrame(rows, schema=QUERY_SCHEMA, orient="row"), pl.DataFrame(labels, schema=LABEL_SCHEMA, orient="row"), notes


def _labelled_elsewhere(folder: Path, tested: Path) -> set[str]:
    """The queries of the other splits, which are asked about for a note alone: what cannot be read does not matter."""
    found: set[str] = set()
    for path in folder.glob("qrels/*.tsv*"):
        if path != tested:
            with contextlib.suppress(CollectionError):
                found |= {query_id for query_id, _, _ in read_qrels(path)}
    return found


def current_labels(labels: pl.DataFrame, documents: pl.DataFrame) -> pl.DataFrame:
    """The labels as they apply to the documents as they are now.

    A span whose text has moved inside its document is followed. Labels of documents, or of text, that exist
    no more are left out.

    Args:
        labels: in LABEL_SCHEMA.
        documents: ``document_id`` and ``text``.
    """
    texts = dict(documents.select("document_id", "text").iter_rows())
    rows = []
    for label in labels.iter_rows(named=True):
        document = texts.get(label["document_id"])
        if document is None:
            continue
        if label["text"] is not None and document[label["start"] : label["end"]] != label["text"]:
            start = document.find(label["text"])
            if start < 0:
                continue
            label = label | {"start": start, "end": start + len(label["text"])}
        rows.append(label)
    return pl.DataFrame(rows, schema=LABEL_SCHEMA)


def read_evaluation_set(folder: Path, corpus: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The queries of an evaluation set, and its labels as they apply to the documents as they are now.

    Args:
        folder: the artifact of evaluation_set.
        corpus: the artifact of corpus_chunks.
    """
    labels = current_labels(pl.read_parquet(folder / "labels.parquet"), pl.read_parquet(corpus / "documents.parquet"))
    return pl.read_parquet(folder / "queries.parquet"), labels


def human_labels_digest(folder: Path, anew: bool = False) -> str:
    """Hash of the human label files of a collection; ``anew`` as in digests_of_files."""
    files = [path for path in (find_file(folder, QUERIES), find_qrels(folder, "test")) if path]
    return digest_of_files(folder, files, anew)
