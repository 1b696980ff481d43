"""What the vectors of tokens bring for their bytes, and how long search takes with them."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from embed_assets.evaluation.labels import tested_queries
from embed_assets.evaluation.metrics import HEADLINE
from embed_assets.evaluation.runs import RerankedSystem
from embed_assets.evaluation.scoring import Contest, LabelledCollection, score_systems
from embed_assets.evaluation.settings import LateInteractionSettings, ScoringSettings
from embed_assets.models.encoders import TextEncoder
from embed_assets.models.token_encoder import TokenEncoder, pool_tokens
from embed_assets.production.published_tokens import COLUMN, create_token_index, multivectors, search_tokens, stored_scores
from embed_assets.retrieval.late_interaction import maxsim

if TYPE_CHECKING:
    from lancedb.table import Table

POOLINGS = (1, 2, 4)
INT8_LEVELS = 127
# Product quantization: bytes are the numbers of one of 256 centroids for so many dimensions each.
DIMENSIONS_OF_A_BYTE, CENTROIDS, TRAINED_ON = 8, 256, 16_384
HITS = 10
SEARCH_SCHEMA = {"search": pl.String, "bytes": pl.Int64, "ms_per_query": pl.Float64, "seconds": pl.Float64, "found": pl.Float64}
DENSE, HYBRID = "one vector, float32", "hybrid"


@dataclass(frozen=True)
class Collection:
    """What is searched, and how it is judged.

    Args:
        labelled: its chunks, queries and labels.
        encoder: the fine-tuned model.
        tokens: its tokens.
        scoring, late_interaction: the settings.
    """

    labelled: LabelledCollection
    encoder: TextEncoder
    tokens: TokenEncoder
    scoring: ScoringSettings
    late_interaction: LateInteractionSettings


class _Stored:
    """Scores pairs by vectors of tokens as they are stored."""

    def __init__(self, queries: Mapping[str, np.ndarray], passages: Mapping[str, np.ndarray]):
        self._queries, self._passages = queries, passages

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        import torch

        of_query, of_passage = (
            {text: torch.from_numpy(vectors) for text, vectors in side.items()} for side in (self._queries, self._passages)
        )
        found = [maxsim([of_query[query]], [of_passage[passage]]).item() for query, passage in pairs]
        return np.array(found, dtype=np.float32)


def benchmark_token_storage(collection: Collection) -> pl.DataFrame:
    """nDCG@10 of late interaction on the test queries, people's where there are any, for each way of storing the tokens.

    Returns:
        ``storage``, ``bytes`` for a chunk, without compression, ``ndcg@10`` with its interval ``low`` and ``high``, and
        ``difference`` to all tokens in float16 with its own, ``difference_low`` and ``difference_high``; first the one vector
        and hybrid retrieval, which need no tokens.
    """
    source, tested = next(iter(tested_queries(collection.labelled.queries, collection.labelled.labels, "test")))
    texts, passages = tested["query"].to_list(), collection.labelled.chunks["passage"].unique(maintain_order=True).to_list()
    of_queries = {text: _array(vectors) for text, vectors in zip(texts, collection.tokens.encode_queries(texts), strict=True)}
    whole = _encode(collection.tokens, passages)
    stored, sizes = {}, {DENSE: 4.0 * collection.encoder.encode_queries(texts[:1]).shape[1], HYBRID: 0.0}
    for pooling in POOLINGS:
        pooled = {passage: _pooled(vectors, pooling) for passage, vectors in whole.items()}
        for kind, (vectors, bytes_of_a_token) in _quantized(pooled).items():
            name = kind if pooling == 1 else f"{kind}, {pooling} tokens made one"
            stored[name] = RerankedSystem(
                HYBRID, _Stored(of_queries, vectors), collection.late_interaction.top_k, collection.late_interaction.weight
            )
            count = np.mean([len(vectors[passage]) for passage in collection.labelled.chunks["passage"]])
            sizes[name] = float(count * bytes_of_a_token)
    full, *others = stored
    comparisons = [(HYBRID, full), *((name, full) for name in others)]
    contest = Contest({DENSE: collection.encoder}, {HYBRID: DENSE}, stored, comparisons)
    asked = collection.labelled.queries.filter((pl.col("source") == source) | (pl.col("split") == "dev"))
    (scores, *_) = score_systems(replace(collection.labelled, queries=asked), contest, collection.scoring)
    tests = {test["system"]: test for test in scores.summary["tests"]}
    rows = []
    for name, size in sizes.items():
        low, high = scores.summary["intervals"][name]
        test = tests.get(name, {})
        rows.append(
            {"storage": name, "bytes": round(size), HEADLINE: scores.summary["systems"][name][HEADLINE], "low": low, "high": high}
            | {column: test.get(key) for column, key in _DIFFERENCE.items()}
        )
    return pl.DataFrame(rows)


_DIFFERENCE = {"difference": "difference", "difference_low": "low", "difference_high": "high"}


def benchmark_token_search(collection: Collection) -> pl.DataFrame:
    """Time of one query in LanceDB, with its vectors computed, and bytes on disk.

    Returns:
        ``search``, ``bytes`` of a chunk on disk of what it reads (vectors and index), ``ms_per_query``, ``seconds`` to build
        the index, and ``found``: how many of the first ten of exact search it finds, as a share.
    """
    queries = collection.labelled.queries.filter(pl.col("split") == "test")["query"].head(50).to_list()
    passages = collection.labelled.chunks["passage"].to_list()
    of_queries = [_array(vectors) for vectors in collection.tokens.encode_queries(queries)]
    whole = _encode(collection.tokens, passages)
    with tempfile.TemporaryDirectory() as folder:
        rows = _search_rows(Path(folder), collection, queries, passages, of_queries, whole)
    return pl.DataFrame(rows, schema=SEARCH_SCHEMA)


def _search_rows(
    folder: Path,
    collection: Collection,
    queries: Sequence[str],
    passages: Sequence[str],
    of_queries: Sequence[np.ndarray],
    whole: Mapping[str, np.ndarray],
) -> list[dict]:
    import lancedb
    import pyarrow as pa

    ids, count = [str(row) for row in range(len(passages))], len(passages)
    database = lancedb.connect(str(folder))
    vectors = collection.encoder.encode_passages(passages)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    dense = database.create_table("dense", pa.table({"id": ids, "vector": column}))
    asked = list(collection.encoder.encode_queries(queries))

    def search_dense(vector: np.ndarray) -> list[dict]:
        return dense.search(vector).distance_type("cosine").limit(100).select(["id", "_distance"]).to_list()

    first = [search_dense(vector) for vector in asked]
    rows = [
        {"search": "one vector", "bytes": _bytes(folder / "dense.lance", count)}
        | {"ms_per_query": _milliseconds(search_dense, asked)}
    ]
    for pooling in POOLINGS:
        name = "tokens" if pooling == 1 else f"tokens, {pooling} made one"
        column = multivectors([_pooled(whole[passage], pooling).astype(np.float16) for passage in passages])
        place = f"tokens{pooling}"
        table = database.create_table(place, pa.table({"id": ids, COLUMN: column}))
        row_ids = {row["id"]: row["_rowid"] for row in table.search().select(["id"]).with_row_id(True).limit(count).to_list()}
        wanted = [([row_ids[hit["id"]] for hit in hits], query) for hits, query in zip(first, of_queries, strict=True)]
        size = _bytes(folder / f"{place}.lance", count)
        reordering = _milliseconds(lambda pair, table=table: stored_scores(table, *pair), wanted)
        rows.append({"search": f"{name}: 100 chunks re-ordered", "bytes": size, "ms_per_query": reordering})
        exact, exact_milliseconds = _search(table, of_queries)
        rows.append({"search": f"{name}: exact", "bytes": size, "ms_per_query": exact_milliseconds, "found": 1.0})
        started = time.perf_counter()
        create_token_index(table)
        seconds = time.perf_counter() - started
        hits, milliseconds = _search(table, of_queries)
        found = np.mean([len(ours & theirs) / HITS for ours, theirs in zip(hits, exact, strict=True)])
        rows.append(
            {"search": f"{name}: with an index", "bytes": size + round(table.list_indices()[0].size_bytes / count)}
            | {"ms_per_query": milliseconds, "seconds": round(seconds, 1), "found": round(float(found), 3)}
        )
    return rows


def _search(table: "Table", queries: Sequence[np.ndarray]) -> tuple[list[set[str]], float]:
    hits = [{row["id"] for row in search_tokens(table, query, HITS, ["id"])} for query in queries]
    return hits, _milliseconds(lambda query: search_tokens(table, query, HITS, ["id"]), queries)


def _milliseconds(search: Callable, queries: Sequence) -> float:
    search(queries[0])
    started = time.perf_counter()
    for query in queries:
        search(query)
    return round(1000 * (time.perf_counter() - started) / len(queries), 1)


def _bytes(folder: Path, count: int) -> int:
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / count)


def _encode(encoder: TokenEncoder, passages: Sequence[str]) -> dict[str, np.ndarray]:
    blocks = list(encoder.blocks(list(dict.fromkeys(passages))))
    return {
        text: _array(vectors) for block in blocks for text, vectors in zip(block, encoder.encode_passages(block), strict=True)
    }


def _array(vectors) -> np.ndarray:
    return vectors.float().cpu().numpy()


def _pooled(vectors: np.ndarray, pooling: float) -> np.ndarray:
    import torch

    return pool_tokens(torch.from_numpy(vectors), pooling).numpy()


def _quantized(vectors: Mapping[str, np.ndarray]) -> dict[str, tuple[dict[str, np.ndarray], float]]:
    """The vectors as they come back from each storage, and the bytes of one."""
    flat = np.concatenate(list(vectors.values()))
    dimensions, ends = flat.shape[1], np.cumsum([len(it) for it in vectors.values()])
    kinds = {
        "float16": (flat.astype(np.float16).astype(np.float32), 2.0 * dimensions),
        # With a scale of two bytes.
        "int8": (_int8(flat), dimensions + 2.0),
        "product quantization": (_product_quantized(flat), dimensions / DIMENSIONS_OF_A_BYTE),
    }
    return {kind: (dict(zip(vectors, np.split(found, ends[:-1]), strict=True)), size) for kind, (found, size) in kinds.items()}


def _int8(vectors: np.ndarray) -> np.ndarray:
    scale = np.abs(vectors).max(axis=1, keepdims=True) / INT8_LEVELS
    return np.round(vectors / scale) * scale


def _product_quantized(vectors: np.ndarray) -> np.ndarray:
    """Each part of a vector becomes the nearest of its centroids (Jégou, Douze and Schmid, TPAMI 33, 2011)."""
    from sklearn.cluster import MiniBatchKMeans

    sample = vectors[np.random.default_rng(13).permutation(len(vectors))[:TRAINED_ON]]
    parts = []
    for start in range(0, vectors.shape[1], DIMENSIONS_OF_A_BYTE):
        part = slice(start, start + DIMENSIONS_OF_A_BYTE)
        count = min(CENTROIDS, len(sample))
        quantizer = MiniBatchKMeans(count, random_state=13, batch_size=2048, n_init=1, max_iter=10).fit(sample[:, part])
        parts.append(quantizer.cluster_centers_[quantizer.predict(np.ascontiguousarray(vectors[:, part]))])
    return np.hstack(parts).astype(np.float32)
