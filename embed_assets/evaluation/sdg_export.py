"""Pairs and triplets in the files of NVIDIA's recipe for embedding models (its stages 0 and 1)."""

import json
from pathlib import Path

import polars as pl

from embed_assets.artifacts.files import write_folder_atomically
from embed_assets.corpus.beir import write_jsonl
from embed_assets.queries.sdg_records import records_of_pairs
from embed_assets.text.columns import NEGATIVES

GENERATED = "generated.jsonl"


def export_sdg(folder: Path, corpus_id: str, pairs: pl.DataFrame, chunks: pl.DataFrame, triplets: pl.DataFrame) -> dict[str, int]:
    """Write generated.jsonl, train.json, val.json and corpus/.

    The names of the files and of what is in them are those of data-designer-retrieval-sdg and of NeMo Automodel's
    retrieval data: ``question``, ``pos_doc`` and ``neg_doc``, which name passages of corpus/train.parquet.

    Args:
        folder: does not exist yet, or is empty; it appears whole or not at all.
        corpus_id: name of the corpus.
        pairs: QA pairs that are kept, in PAIR_SCHEMA with ``judge_score``; those of which no triplet was made are left out.
        chunks: the collection's chunks.
        triplets: what is trained on, with the splits train and dev.

    Returns:
        Counts of ``records``, ``train`` and ``val`` (queries) and ``corpus``.

    Raises:
        FileExistsError: there is something in the folder.
    """
    chunks = pl.concat([chunks, _passages_from_outside(triplets, chunks)], how="diagonal")
    passages = chunks.unique("passage", keep="first", maintain_order=True)
    # Equal passages are one document of the corpus.
    first_with = dict(passages.select("passage", "chunk_id").iter_rows())
    name_of = {name: first_with[passage] for name, passage in chunks.select("chunk_id", "passage").iter_rows()}
    # Whoever trains on them must be able to test here: what is held out for the test stays in this project.
    records = list(records_of_pairs(pairs.filter(pl.col("query_id").is_in(triplets["query_id"].implode())), chunks))
    counts = {"records": len(records)}
    with write_folder_atomically(folder) as building:
        write_jsonl(building / GENERATED, records)
        (building / "corpus").mkdir()
        passages.select(pl.col("chunk_id").alias("id"), pl.col("passage").alias("text")).write_parquet(
            building / "corpus" / "train.parquet"
        )
        _write_json(building / "corpus" / "merlin_metadata.json", {"corpus_id": corpus_id, "class": "TextQADataset"})
        for split, file in (("train", "train"), ("dev", "val")):
            data = _queries(triplets.filter(pl.col("split") == split), name_of, corpus_id)
            _write_json(building / f"{file}.json", {"corpus": {"path": "./corpus/"}, "data": data})
            counts[file] = len(data)
    return counts | {"corpus": len(passages)}


def _passages_from_outside(triplets: pl.DataFrame, chunks: pl.DataFrame) -> pl.DataFrame:
    """The passages of the user's own triplets that no document has."""
    ids = pl.concat_list("positive_chunk", "negative_chunks").alias("chunk_id")
    found = triplets.select(ids, pl.concat_list("positive", NEGATIVES).alias("passage")).explode("chunk_id", "passage")
    return found.filter(~pl.col("chunk_id").is_in(chunks["chunk_id"].implode())).unique("chunk_id", maintain_order=True)


def _queries(triplets: pl.DataFrame, name_of: dict[str, str], corpus_id: str) -> list[dict]:
    """One object for each query, with all its positives and negatives."""
    found: dict[str, dict] = {}
    for row in triplets.iter_rows(named=True):
        query = found.setdefault(
            row["query_id"],
            {"question_id": row["query_id"], "question": row["anchor"], "corpus_id": corpus_id, "pos_doc": [], "neg_doc": []},
        )
        for field, names in (("pos_doc", [row["positive_chunk"]]), ("neg_doc", row["negative_chunks"])):
            query[field] += [item for name in names if (item := {"id": name_of[name]}) not in query[field]]
    for query in found.values():  # an answer of the same query is no negative of it
        query["neg_doc"] = [item for item in query["neg_doc"] if item not in query["pos_doc"]]
    return list(found.values())


def _write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False), encoding="utf-8")
