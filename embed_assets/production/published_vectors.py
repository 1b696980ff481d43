"""How the vectors of chunks are stored in the published index, and dense search in them.

Search goes through small copies of the vectors: those of LanceDB's index, which keeps eight bits, a few centroids or one bit of
each dimension, or the first dimensions alone, of a model that was trained for that (arXiv:2205.13147). What is found so is
compared once more by the whole vectors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from embed_assets.corpus.production_rows import ROW_ID
from embed_assets.models.encoders import FirstDimensions, TextEncoder, first_dimensions
from embed_assets.retrieval.fusion import DEPTH
from embed_assets.retrieval.rescoring import Rescored

if TYPE_CHECKING:
    import pyarrow as pa
    from lancedb.table import Table

VECTOR, SHORT = "vector", "short_vector"
# Partitions of the index that are looked into.
PROBES = 20
IndexKind = Literal["hnsw_sq", "ivf_sq", "ivf_pq", "ivf_rq"]
NumberType = Literal["float32", "float16"]


@dataclass(frozen=True)
class StoredVectors:
    """What a table holds of the vector of each chunk.

    Args:
        dimensions: search goes through so many of the first; 0: through all.
        whole: whether whole vectors are there too where ``dimensions`` are fewer.
        number_type: of whole vectors; short ones are float16.
        index: how the vector index keeps them.
        index_rows: from this many rows on there is an index; search in fewer is exact.
    """

    dimensions: int = 0
    whole: bool = True
    number_type: NumberType = "float32"
    index: IndexKind = "hnsw_sq"
    index_rows: int = 50_000

    @property
    def made_of(self) -> dict[str, Any]:
        """What tells a table with these from others, where it is not the default."""
        named = {"dimensions": self.dimensions, "number_type": self.number_type, "vector_index": self.index}
        named |= {"whole_vectors": self.whole} if self.dimensions else {}
        return {name: value for name, value in named.items() if value != _DEFAULTS[name]}

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> "StoredVectors":
        """Those of a table, given what it is made of."""
        found = _DEFAULTS | {name: metadata[name] for name in _DEFAULTS if name in metadata}
        return cls(found["dimensions"], found["whole_vectors"], found["number_type"], found["vector_index"])

    @property
    def searched(self) -> str:
        """The column that search goes through."""
        return SHORT if self.dimensions and self.whole else VECTOR

    def columns(self, vectors: np.ndarray) -> "dict[str, pa.FixedSizeListArray]":
        """The columns of unit vectors, shape (chunks, dimensions).

        Raises:
            ValueError: the vectors are not longer than ``dimensions``.
        """
        if not self.dimensions:
            return {VECTOR: _column(vectors.astype(self.number_type))}
        if self.dimensions >= vectors.shape[1]:
            raise ValueError(
                f"publishing.dimensions is {self.dimensions}, but the vectors of the model have {vectors.shape[1]}: "
                "give a smaller number, or 0 to publish them as they are"
            )
        short = _column(first_dimensions(vectors, self.dimensions).astype(np.float16))
        return {VECTOR: _column(vectors.astype(self.number_type)), SHORT: short} if self.whole else {VECTOR: short}

    def create_index(self, table: "Table") -> None:
        """An index of the column that search goes through."""
        from lancedb import index

        kinds = {"hnsw_sq": index.HnswSq, "ivf_sq": index.IvfSq, "ivf_pq": index.IvfPq, "ivf_rq": index.IvfRq}
        table.create_index(self.searched, config=kinds[self.index](distance_type="cosine"))

    def scored(self, encoder: TextEncoder, rescore: int) -> TextEncoder:
        """What the first hits of search in such a table are scored like, without the index, which is nearly exact."""
        if not self.dimensions:
            return encoder
        if not self.whole:
            return FirstDimensions(encoder, self.dimensions)
        return Rescored(encoder, self.dimensions, rescore * DEPTH)


_DEFAULTS: dict[str, Any] = {"dimensions": 0, "number_type": "float32", "vector_index": "hnsw_sq", "whole_vectors": True}


def search_vectors(table: "Table", vector: np.ndarray, limit: int, columns: Sequence[str], rescore: int) -> "pa.Table":
    """The rows whose vectors are nearest to that of a query, best first, with ``_distance``, one minus the cosine.

    Args:
        table: the published index.
        vector: of the query, all dimensions.
        limit: how many.
        columns: what is read of them; ``_rowid`` comes besides.
        rescore: where search goes through an index or short vectors, so many times the hits are compared by whole vectors.
    """
    column = SHORT if SHORT in table.schema.names else VECTOR
    dimensions = table.schema.field(column).type.list_size
    asked = first_dimensions(vector, dimensions) if dimensions < len(vector) else vector
    search = table.search(asked.astype(np.float32), vector_column_name=column).distance_type("cosine")
    search = search.nprobes(PROBES).refine_factor(rescore)  # of an index, if there is one
    if column == VECTOR:
        return search.limit(limit).select([*columns, "_distance"]).with_row_id(True).to_arrow()
    found = search.limit(limit * rescore).select([VECTOR, "_distance"]).with_row_id(True).to_arrow()
    whole = found[VECTOR].combine_chunks().values.to_numpy(zero_copy_only=False).reshape(-1, len(vector)).astype(np.float32)
    distances = 1 - whole @ vector
    order = np.argsort(distances, kind="stable")[:limit]
    return _taken(table, found[ROW_ID].to_numpy()[order], distances[order], columns)


def _taken(table: "Table", row_ids: np.ndarray, distances: np.ndarray, columns: Sequence[str]) -> "pa.Table":
    """Rows by their ids, in this order."""
    import pyarrow as pa

    if not len(row_ids):
        return table.search().select(list(columns)).with_row_id(True).limit(0).to_arrow()
    rows = table.take_row_ids(row_ids.tolist()).select(list(columns)).with_row_id().to_arrow()
    places = {row_id: place for place, row_id in enumerate(rows[ROW_ID].to_pylist())}
    taken = rows.take([places[row_id] for row_id in row_ids.tolist()])
    return taken.append_column("_distance", pa.array(distances.astype(np.float32)))


def _column(vectors: np.ndarray) -> "pa.FixedSizeListArray":
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
