"""The fixed yardstick: human labels where there are any, and held-out queries of other sources.

Labels point to documents, or to character spans of documents, never to chunks: they hold for every
chunking, so that the scores of all runs can be compared.
"""

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

import polars as pl

from embed_assets.evaluation.moved_labels import follow
from embed_assets.evaluation.settings import EvaluationSetSettings
from embed_assets.queries.pairs import (
    IDENTIFIER,
    LOOKUP,
    LOOKUP_STYLES,
    NEIGHBOUR,
    OWN,
    OWN_WRITER,
    SYNTHETIC,
    source_of,
    with_column_of_chunks,
)
from embed_assets.text.identifiers import find_identifiers
from embed_assets.text.near_duplicates import normalize_queries
from embed_assets.text.section_numbers import identifiers_in, section_numbers

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
# Written by people; brought by the user; written by a language model; taken from the text. The most trusted first.
HUMAN = "human"
SOURCES = (HUMAN, OWN, SYNTHETIC, LOOKUP)
LOST_LABELS = "lost_labels"


def split_of(name: str, settings: EvaluationSetSettings) -> Split:
    """The split of a document's synthetic queries by a hash of its id, or of a user's query by one of its words.

    A new document never moves another one to a different split, nor a new query another one.
    """
    place = place_of(name, settings)
    if place < settings.test_share:
        return "test"
    return "dev" if place < settings.test_share + settings.dev_share else "train"


def place_of(name: str, settings: EvaluationSetSettings) -> float:
    """A number from 0 to 1 that only the name and the version of the settings decide."""
    digest = hashlib.sha256(f"{settings.version} {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def held_out_documents(document_ids: Collection[str], settings: EvaluationSetSettings) -> set[str]:
    """The documents whose queries are tested or chosen by: no system under test may filter these."""
    return {name for name in document_ids if split_of(name, settings) != "train"}


def splits_of_pairs(pairs: pl.DataFrame, settings: EvaluationSetSettings) -> pl.Series:
    """The split of each pair: that of its document, or of its normalized query where the user brought it.

    A query of a click log has answers in many documents: split by these, hardly a query would be left as a whole.

    Args:
        pairs: QA pairs with ``query``, ``document_id`` and ``writer``; without ``writer``, none is the user's.
        settings: shares.
    """
    names = pairs["document_id"]
    if "writer" in pairs.columns:
        names = normalize_queries(pairs["query"]).zip_with(pairs["writer"] == OWN_WRITER, names)
    splits = {name: split_of(name, settings) for name in names.unique()}
    return names.replace_strict(splits, return_dtype=pl.String)


def hold_out_queries(
    pairs: pl.DataFrame, chunks: pl.DataFrame, settings: EvaluationSetSettings, identifier_patterns: Sequence[str] = ()
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Draw the queries of the dev and test splits from the QA pairs, those of each source apart.

    All styles of a source have the same share, as far as there are enough queries of each, and come from as many
    documents as there are. A query that several chunks answer is held out only if all of them are in the same split; the
    user's own queries are split by the query, all others by the document. A look-up by identifiers is answered by every
    chunk that names them all.

    Args:
        pairs: kept QA pairs (``query_id``, ``query``, ``style``, ``writer``, ``document_id``, ``start``, ``end``).
        chunks: the chunks that they were made from; their text is kept with the labels.
        settings: shares and limits.
        identifier_patterns: what an identifier looks like.

    Returns:
        Queries in QUERY_SCHEMA and labels in LABEL_SCHEMA.
    """
    source = pl.col("writer").map_elements(source_of, return_dtype=pl.String)
    pairs = pairs.with_columns(split=splits_of_pairs(pairs, settings), source=source, relevance=pl.lit(1, dtype=pl.Int64))
    in_one_split = pl.col("split").n_unique().over("query_id") == 1
    answered_elsewhere = (pl.col("style") == NEIGHBOUR) & (pl.col("source") == LOOKUP)
    held_out = pairs.filter(in_one_split & (pl.col("split") != "train") & ~answered_elsewhere)
    queries = _draw(held_out, settings.max_queries)
    answers = held_out.filter(pl.col("query_id").is_in(queries["query_id"].to_list()))
    answers = pl.concat([answers, _named_elsewhere(answers, chunks, identifier_patterns)], how="diagonal")
    places = ["query_id", "document_id", "start"]
    labels = with_column_of_chunks(answers.unique(places, keep="first").sort(places), chunks, "text")
    return queries.select(list(QUERY_SCHEMA)), labels.select(list(LABEL_SCHEMA))


def _draw(held_out: pl.DataFrame, most: int) -> pl.DataFrame:
    """At most so many queries of each split and source: styles in turn, and within a style the documents in turn."""
    turns = held_out.sort("query_id", "document_id", "start").unique("query_id", keep="first").sort("query_id")
    turns = turns.with_columns(turn=pl.int_range(pl.len()).over("split", "source", "style", "document_id"))
    turns = turns.sort("turn", "query_id").with_columns(turn=pl.int_range(pl.len()).over("split", "source", "style"))
    drawn = turns.sort("turn", "style").group_by("split", "source", maintain_order=True).head(most)
    return drawn.sort("query_id")


def _named_elsewhere(answers: pl.DataFrame, chunks: pl.DataFrame, patterns: Sequence[str]) -> pl.DataFrame:
    """The other chunks that answer a look-up by identifiers: those whose passage names all of them.

    The number of a section names nothing: version 3.2 of one document is not section 3.2 of another.
    """
    lookups = answers.filter((pl.col("source") == LOOKUP) & (pl.col("style") == IDENTIFIER)).unique("query_id", keep="first")
    asked = {row["query_id"]: (row, find_identifiers(row["query"], patterns)) for row in lookups.iter_rows(named=True)}
    naming: dict[str, set[int]] = {identifier: set() for _, identifiers in asked.values() for identifier in identifiers}
    if not naming:
        return answers.clear()
    # In a large collection few passages have any of these words, be they identifiers there or not.
    having, documents = chunks["passage"].str.contains_any(list(naming)).arg_true(), chunks["document_id"]
    around = chunks.filter(pl.col("document_id").is_in(documents[having].unique().to_list()))
    counted = section_numbers(around["document_id"], around["passage"])
    for row in having:
        for identifier in naming.keys() & identifiers_in(chunks["passage"][row], patterns, counted.get(documents[row], ())):
            naming[identifier].add(row)
    spans = chunks.select("document_id", "start", "end").rows(named=True)
    rows = [
        row | spans[place]
        for row, identifiers in asked.values()
        if identifiers
        for place in sorted(set.intersection(*(naming[identifier] for identifier in identifiers)))
    ]
    return pl.DataFrame(rows, schema=answers.schema)


def without_refused(queries: pl.DataFrame, labels: pl.DataFrame, refused: Collection[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The held-out queries and their labels without those that people refused; the user's own queries stay.

    Args:
        queries: in QUERY_SCHEMA.
        labels: in LABEL_SCHEMA.
        refused: normalized queries.
    """
    normal = normalize_queries(queries["query"])
    left = queries.filter(~normal.is_in(list(refused)) | (queries["source"] == OWN))
    return left, labels.filter(pl.col("query_id").is_in(left["query_id"].to_list()))


def current_labels(labels: pl.DataFrame, documents: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """The labels as they apply to the documents as they are now.

    A span whose text has moved inside its document, or has changed a little, is followed. Labels of documents, or of
    text, that exist no more are left out.

    Args:
        labels: in LABEL_SCHEMA.
        documents: ``document_id`` and ``text``; only the texts of those with a labelled span are read.
    """
    documents = documents.lazy()
    named = documents.filter(pl.col("document_id").is_in(labels["document_id"].unique().to_list()))
    known = set(named.select("document_id").collect()["document_id"])
    with_spans = labels.filter(pl.col("text").is_not_null())["document_id"].unique().to_list()
    spans = documents.filter(pl.col("document_id").is_in(with_spans)).select("document_id", "text").collect()
    texts = dict(spans.iter_rows())
    rows = []
    for label in labels.iter_rows(named=True):
        if label["document_id"] not in known:
            continue
        if label["text"] is not None:
            span = follow(label["text"], label["start"], texts[label["document_id"]])
            if span is None:
                continue
            label = label | dict(zip(("start", "end"), span, strict=True))
        rows.append(label)
    return pl.DataFrame(rows, schema=LABEL_SCHEMA)


def read_evaluation_set(folder: Path, corpus: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The queries of an evaluation set, and its labels as they apply to the documents as they are now.

    Args:
        folder: the artifact of evaluation_set.
        corpus: the artifact of corpus_chunks.

    Returns:
        Queries in QUERY_SCHEMA with ``lost_labels``, the number of the labels of each that apply no more; and labels.
    """
    queries, labels = (pl.read_parquet(folder / f"{name}.parquet") for name in ("queries", "labels"))
    current = current_labels(labels, pl.scan_parquet(corpus / "documents.parquet"))
    # Sets that were drawn when look-ups were no source of their own name them by their style.
    taken = (pl.col("source") == SYNTHETIC) & pl.col("style").is_in(LOOKUP_STYLES)
    queries = queries.with_columns(source=pl.when(taken).then(pl.lit(LOOKUP)).otherwise("source"))
    counts = [table.group_by("query_id").len(name) for table, name in ((labels, "drawn"), (current, "left"))]
    counted = queries.join(counts[0], on="query_id", how="left", maintain_order="left")
    counted = counted.join(counts[1], on="query_id", how="left", maintain_order="left").fill_null(0)
    return queries.with_columns((counted["drawn"] - counted["left"]).cast(pl.Int64).alias(LOST_LABELS)), current
