"""The vectors of tokens in the published index: LanceDB's multivector column, which it searches by MaxSim."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from embed_assets.corpus.production_rows import ROW_ID
from embed_assets.models.token_encoder import TokenEncoder, pool_tokens

if TYPE_CHECKING:
    import pyarrow as pa
    from lancedb.table import Table

COLUMN = "token_vectors"
# Through the index, so many times the hits that are asked for are compared with all their vectors.
REFINE = 10
# Partitions of the index that are looked into, for each token of a query.
PROBES = 20


@dataclass(frozen=True)
class Tokens:
    """The tokens that a table gets.

    Args:
        encoder: gives their vectors.
        pooling: how many become one vector (pool_tokens).
        index_rows: from this many rows on there is an index.
    """

    encoder: TokenEncoder
    pooling: float
    index_rows: int

    def column(self, passages: Sequence[str]) -> "pa.ListArray":
        """The vectors of each passage, a list of fixed-size lists of float16."""
        vectors: dict[str, np.ndarray] = {}
        for block in self.encoder.blocks(list(dict.fromkeys(passages))):
            for passage, tokens in zip(block, self.encoder.encode_passages(block), strict=True):
                vectors[passage] = pool_tokens(tokens.cpu(), self.pooling).numpy()
        return multivectors([vectors[passage] for passage in passages])


def multivectors(vectors: Sequence[np.ndarray]) -> "pa.ListArray":
    """Arrays of shape (tokens, dimensions) as LanceDB takes them."""
    import pyarrow as pa

    flat = np.concatenate(vectors)
    offsets = np.cumsum([0, *map(len, vectors)], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1]))


def create_token_index(table: "Table") -> None:
    """An index of the tokens, one bit for each dimension (RaBitQ, Gao and Long, SIGMOD 2024, arXiv:2405.12497)."""
    from lancedb.index import IvfRq

    table.create_index(COLUMN, config=IvfRq(distance_type="cosine"))


def stored_scores(table: "Table", row_ids: Sequence[int], query: np.ndarray) -> np.ndarray:
    """Mean MaxSim of a query and rows of a table, float32, shape (len(row_ids),), as late_interaction.maxsim.

    Args:
        table: with the column.
        row_ids: LanceDB's ids of the rows.
        query: unit vectors of the tokens of the query, shape (tokens, dimensions).
    """
    if not len(row_ids):
        return np.empty(0, dtype=np.float32)
    found = table.take_row_ids(list(row_ids)).select([COLUMN]).with_row_id().to_arrow()
    places = {row_id: place for place, row_id in enumerate(found[ROW_ID].to_pylist())}
    lists = found[COLUMN].combine_chunks()
    offsets = lists.offsets.to_numpy()
    vectors = lists.values.values.to_numpy().reshape(-1, query.shape[1])[offsets[0] : offsets[-1]]
    # Each passage has a token at least, so that no part is empty.
    best = np.maximum.reduceat(vectors.astype(np.float32) @ query.T, offsets[:-1] - offsets[0], axis=0)
    return best.mean(axis=1)[[places[row_id] for row_id in row_ids]]


def search_tokens(table: "Table", query: np.ndarray, limit: int, columns: Sequence[str]) -> "list[dict]":
    """The rows whose tokens answer those of a query best, best first, with ``_distance``: one minus the mean MaxSim.

    Where the tokens have an index, LanceDB looks near each token of the query, and compares the REFINE times ``limit``
    rows that it finds with all their vectors; else the search is exact.
    """
    asked = table.search(query.astype(np.float16), vector_column_name=COLUMN).distance_type("cosine").limit(limit)
    if any(COLUMN in index.columns for index in table.list_indices()):
        asked = asked.nprobes(PROBES).refine_factor(REFINE)
    rows = asked.select([*columns, "_distance"]).to_list()
    return [row | {"_distance": row["_distance"] / len(query)} for row in rows]
