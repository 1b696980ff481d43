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
from embed_assets.training.own_triplets import RECIPE, TRIPLETS, OwnTriplet, read_own_triplets
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
        As join_triplets, with what was not read in the notes; pairs and chunks as they were, where there are no triplets.

    Raises:
        CollectionError: a row cannot be used, or the triplets are to replace the others, and there are none.
    """
    found, notes = ([], []) if folder is None else read_own_triplets(folder)
    if negatives.own_triplets == "replace":
        if not found:
            files = ", ".join((f"{TRIPLETS}.jsonl", f"{TRIPLETS}.parquet", *RECIPE))
            raise CollectionError(f"negatives.own_triplets is 'replace', but the collection has no triplet in {files}")
        pairs = pairs.clear()
    if not found:
        return pairs, chunks, notes
    pairs, chunks, moved = join_triplets(pairs, chunks, found, settings)
    return pairs, chunks, notes + moved


def join_triplets(
    pairs: pl.DataFrame, chunks: pl.DataFrame, triplets: Sequence[OwnTriplet], settings: EvaluationSetSettings
) -> tuple[pl.DataFrame, pl.DataFrame, list[str]]:
    """Put the user's triplets with their passages beside the pairs and the chunks of a collection.

    A passage that a chunk has is this chunk; any other is a chunk of a document of its own. A query for which no triplet says
    the split is in the dev split if its hash says so, else it is trained on: it is no test query, for which labels and own
    pairs are there. A query that a pair or a triplet has in the dev split, but for case and punctuation, is there with all its
    passages: the dev loss of what is trained on tells nothing.

    Args:
        pairs: QA pairs.
        chunks: the collection's chunks.
        triplets: what the user brings.
        settings: the share of the dev split.

    Returns:
        All pairs, with ``split`` and, for those of triplets, ``negatives`` (ids of chunks); all chunks; and what was changed, in
        words.
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

    others = pairs.with_columns(split=splits_of_pairs(pairs, settings))
    normalized = [normalize_query(query) for query in others["query"]]
    in_dev = {query for query, split in zip(normalized, others["split"], strict=True) if split == "dev"}
    said = _said_splits(triplets)
    splits = {query: "dev" if query in in_dev else _split(query, named, settings) for query, named in said.items()}
    found: dict[tuple[str, str], dict] = {}
    for it in triplets:
        positive, split = chunk_of(it.positive), splits[normalize_query(it.anchor)]
        (pair,) = make_pairs(it.anchor, it.style, [positive], OWN_WRITER)
        row = found.setdefault((pair["query_id"], positive["chunk_id"]), pair | {"split": split, "negatives": []})
        row["negatives"] += [name for text in it.negatives if (name := chunk_of(text)["chunk_id"]) not in row["negatives"]]
    own = pl.DataFrame(list(found.values()), schema=PAIR_SCHEMA | {"split": pl.String, "negatives": pl.List(pl.String)})
    held_out = pl.Series([splits.get(query) == "dev" for query in normalized], dtype=pl.Boolean) & (others["split"] == "train")
    others = others.with_columns(split=pl.when(held_out).then(pl.lit("dev")).otherwise("split"))
    moved = {query for query, name in splits.items() if name == "dev" and "train" in said[query]}
    moved |= {query for query, is_moved in zip(normalized, held_out, strict=True) if is_moved}
    notes = [f"queries of own triplets that were in train and in dev, and are in dev alone: {len(moved)}"]
    schema = {name: chunks.schema[name] for name in ("chunk_id", "document_id", "start", "end", "text", "passage")}
    more = pl.DataFrame(list(outside.values()), schema=schema)
    joined = pl.concat([others, own], how="diagonal"), pl.concat([chunks, more], how="diagonal")
    return *joined, notes if moved else []


def _said_splits(triplets: Sequence[OwnTriplet]) -> dict[str, set[str]]:
    """The splits that triplets name for each normalized query."""
    said: dict[str, set[str]] = {}
    for it in triplets:
        said.setdefault(normalize_query(it.anchor), set()).update([it.split] if it.split else [])
    return said


def _split(query: str, said: set[str], settings: EvaluationSetSettings) -> str:
    """Of a normalized query for which triplets name these splits, if they name any."""
    return "dev" if "dev" in (said or {split_of(query, settings)}) else "train"
