"""What the vectors of chunks bring for their bytes, as the published index stores and searches them."""

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from embed_assets.evaluation.evaluation_set import HUMAN
from embed_assets.evaluation.labels import own_units, query_clusters, relevant_units, tested_queries
from embed_assets.evaluation.metrics import HEADLINE, score_first_ten
from embed_assets.evaluation.settings import ScoringSettings
from embed_assets.evaluation.statistics import mean_interval, paired_difference
from embed_assets.models.encoders import TextEncoder
from embed_assets.production.published_vectors import StoredVectors, search_vectors
from embed_assets.retrieval.fusion import DEPTH

if TYPE_CHECKING:
    from lancedb.table import Table

# LanceDB learns its centroids from so many rows at least.
FEWEST_INDEXED = 256
WHOLE = "all dimensions, float32"
SCHEMA = {
    "storage": pl.String,
    "bytes": pl.Int64,
    "stored_bytes": pl.Int64,
    "ms_per_query": pl.Float64,
    HEADLINE: pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "difference": pl.Float64,
    "difference_low": pl.Float64,
    "difference_high": pl.Float64,
}


def benchmark_vector_storage(
    chunks: pl.DataFrame,
    queries: pl.DataFrame,
    labels: pl.DataFrame,
    encoder: TextEncoder,
    dimensions: Sequence[int],
    rescore: int,
    scoring: ScoringSettings,
) -> pl.DataFrame:
    """nDCG@10 of dense search in LanceDB on the test queries, people's where there are any, for each way of storing vectors.

    Args:
        chunks: of the collection.
        queries, labels: of its evaluation set.
        encoder: the fine-tuned model.
        dimensions: how many of the first are looked at; without any, a half, a quarter and an eighth.
        rescore: so many times the hits are compared once more, where search is inexact.
        scoring: resamples and seed.

    Returns:
        ``storage``; ``bytes`` of a chunk that search goes through, and ``stored_bytes`` of all that is kept of its vector;
        ``ms_per_query``; ``ndcg@10`` with its 95% interval; and its difference to whole vectors in float32 with its own.
    """
    source, tested = next(iter(tested_queries(queries, labels, "test")))
    relevant = relevant_units(tested, labels, chunks, by_document=source == HUMAN)
    vectors, asked = encoder.encode_passages(chunks["passage"].to_list()), encoder.encode_queries(tested["query"].to_list())
    clusters = query_clusters(tested, labels)
    unit = "document_id" if source == HUMAN else "id"
    rows, whole = [], None
    for name, stored in ways(vectors.shape[1], dimensions, len(chunks)):
        with tempfile.TemporaryDirectory() as folder:
            table, sizes = _write(Path(folder), chunks, vectors, stored)
            hits, milliseconds = _search(table, asked, unit, rescore)
        values = score_first_ten(relevant, _without_own(hits, relevant, chunks))
        low, high = mean_interval(values, clusters, scoring)
        row = {"storage": name, **sizes, "ms_per_query": milliseconds, HEADLINE: float(values.mean()), "low": low, "high": high}
        if whole is None:
            whole = values
        else:
            test = paired_difference(values - whole, clusters, scoring)
            row |= {"difference": test.difference, "difference_low": test.low, "difference_high": test.high}
        rows.append(row)
    return pl.DataFrame(rows, schema=SCHEMA)


def ways(whole: int, dimensions: Sequence[int], rows: int) -> Iterator[tuple[str, StoredVectors]]:
    """Names and ways of storing vectors, those of float32 first.

    Args:
        whole: how many dimensions there are.
        dimensions: how many of the first are looked at; without any, a half, a quarter and an eighth.
        rows: of the table; few have no index.
    """
    none = rows + 1
    yield WHOLE, StoredVectors(index_rows=none)
    yield "all dimensions, float16", StoredVectors(number_type="float16", index_rows=none)
    if rows >= FEWEST_INDEXED:
        yield "index, int8 in a graph (hnsw_sq)", StoredVectors(index="hnsw_sq", index_rows=0)
        yield "index, int8 (ivf_sq)", StoredVectors(index="ivf_sq", index_rows=0)
        yield "index, product quantization (ivf_pq)", StoredVectors(index="ivf_pq", index_rows=0)
        yield "index, one bit (ivf_rq)", StoredVectors(index="ivf_rq", index_rows=0)
    for number in dimensions or [whole // part for part in (2, 4, 8)]:
        yield f"first dimensions alone, {number}", StoredVectors(number, whole=False, index_rows=none)
        yield f"first dimensions then all, {number}", StoredVectors(number, index_rows=none)
        if rows >= FEWEST_INDEXED:
            yield f"first dimensions as int8 then all, {number}", StoredVectors(number, index="ivf_sq", index_rows=0)


def _write(folder: Path, chunks: pl.DataFrame, vectors: np.ndarray, stored: StoredVectors) -> "tuple[Table, Mapping[str, int]]":
    import lancedb
    import pyarrow as pa

    columns, count = stored.columns(vectors), len(chunks)
    ids = {"id": chunks["chunk_id"].to_list(), "document_id": chunks["document_id"].to_list()}
    table = lancedb.connect(str(folder)).create_table("vectors", pa.table(ids | columns))
    kept = sum(column.nbytes for column in columns.values())
    searched = columns[stored.searched].nbytes
    if stored.index_rows <= count:
        stored.create_index(table)
        searched = table.list_indices()[0].size_bytes
        kept += searched
    return table, {"bytes": round(searched / count), "stored_bytes": round(kept / count)}


def _search(table: "Table", queries: np.ndarray, unit: str, rescore: int) -> tuple[list[list[str]], float]:
    """The units of the first chunks of each query, as many as hybrid retrieval takes, and the milliseconds of a query."""
    search_vectors(table, queries[0], DEPTH, [unit], rescore)
    started = time.perf_counter()
    hits = [search_vectors(table, query, DEPTH, [unit], rescore)[unit].to_pylist() for query in queries]
    return hits, round(1000 * (time.perf_counter() - started) / len(queries), 1)


def _without_own(
    hits: Sequence[Sequence[str]], relevant: Mapping[str, Mapping[str, int]], chunks: pl.DataFrame
) -> dict[str, list[str]]:
    """The first ten units of each query, but for the document that it is itself (labels.own_units)."""
    units = chunks["document_id"].unique(maintain_order=True).to_list()
    own = {row: units[unit] for row, unit in own_units(relevant, units).items()}
    found = (list(dict.fromkeys(hit for hit in of_query if hit != own.get(row))) for row, of_query in enumerate(hits))
    return {name: of_query[:10] for name, of_query in zip(relevant, found, strict=True)}
