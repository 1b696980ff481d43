"""The user's own triplets among the pairs that triplets are made of."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from embed_assets.artifacts.workspace import CollectionError
from embed_assets.evaluation.evaluation_set import split_of, splits_of_pairs
from embed_assets.evaluation.settings import EvaluationSetSettings
from embed_assets.queries.pairs import OWN_WRITER, PAIR_SCHEMA, make_pairs
from embed_assets.text.near_duplicates import normalize_query
from embed_assets.training.own_triplets import JSONL, PARQUET, RECIPE, OwnTriplet, read_own_triplets
from embed_assets.training.settings import NegativesSettings

# Begins the ids of passages that no document of the collection has.
OUTSIDE = "own triplets:"


def with_own_triplets(
    folder: Path | None, pairs: pl.DataFrame, chunks: pl.DataFrame, negatives: NegativesSettings, settings: EvaluationSetSettings
) -> tuple[pl.DataFrame, pl.DataFrame, list[str]]:
    """The pairs and the chunks with those of the user's triplets, or in their place, as ``own_triplets`` says.

    Args:
        folder: the collection's folder; None where the triplets are not wanted, or there are none.
        pairs: QA pairs.
        chunks: the collection's chunks.
        negatives: what is done with the triplets.
        settings: the share of the dev split.

    Returns:
        As join_triplets, and what was not read, in words; pairs and chunks as they were, where there are no triplets.

    Raises:
        CollectionError: a row cannot be used, or the triplets are to replace the others, and there are none.
    """
    found, notes = ([], []) if folder is None else read_own_triplets(folder)
    if negatives.own_triplets == "replace":
        if not found:
            files = ", ".join((JSONL, PARQUET, *RECIPE))
            raise CollectionError(f"negatives.own_triplets is 'replace', but the collection has no triplet in {files}")
        pairs = pairs.clear()
    return (*join_triplets(pairs, chunks, found, settings), notes) if found else (pairs, chunks, notes)


def join_triplets(
    pairs: pl.DataFrame, chunks: pl.DataFrame, triplets: Sequence[OwnTriplet], settings: EvaluationSetSettings
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Put the user's triplets with their passages beside the pairs and the chunks of a collection.

    A passage that a chunk has is this chunk; any other is a chunk of a document of its own. A triplet that does not say its
    split is in the dev split if the hash of its query says so, else it is trained on: it is no test query, for which labels
    and own pairs are there.

    Args:
        pairs: QA pairs.
        chunks: the collection's chunks.
        triplets: what the user brings.
        settings: the share of the dev split.

    Returns:
        All pairs, with ``split`` and, for those of triplets, ``negatives`` (ids of chunks); and all chunks.
    """
    rows_of = {text: row for column in ("text", "passage") for row, text in enumerate(chunks[column].str.strip_chars())}
    spans = chunks.select("chunk_id", "document_id", "start", "end").rows(named=True)
    outside: dict[str, dict] = {}

    def chunk_of(passage: str) -> dict:
        if (row := rows_of.get(passage)) is not None:
            return spans[row]
        name = f"{OUTSIDE}{hashlib.sha256(passage.encode()).hexdigest()[:16]}"
        texts = {"text": passage, "passage": passage}
        return outside.setdefault(name, {"chunk_id": name, "document_id": name, "start": 0, "end": len(passage)} | texts)

    found: dict[tuple[str, str], dict] = {}
    for it in triplets:
        positive = chunk_of(it.positive)
        (pair,) = make_pairs(it.anchor, it.style, [positive], OWN_WRITER)
        split = it.split or ("dev" if split_of(normalize_query(it.anchor), settings) == "dev" else "train")
        row = found.setdefault((pair["query_id"], positive["chunk_id"]), pair | {"split": split, "negatives": []})
        row["negatives"] += [name for text in it.negatives if (name := chunk_of(text)["chunk_id"]) not in row["negatives"]]
    own = pl.DataFrame(list(found.values()), schema=PAIR_SCHEMA | {"split": pl.String, "negatives": pl.List(pl.String)})
    others = pairs.with_columns(split=splits_of_pairs(pairs, settings))
    schema = {name: chunks.schema[name] for name in ("chunk_id", "document_id", "start", "end", "text", "passage")}
    more = pl.DataFrame(list(outside.values()), schema=schema)
    return pl.concat([others, own], how="diagonal"), pl.concat([chunks, more], how="diagonal")
