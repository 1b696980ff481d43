"""Short and quantized vectors in LanceDB, and search in them."""

import numpy as np
import pyarrow as pa
import pytest

from embed_assets.models.encoders import FirstDimensions, first_dimensions
from embed_assets.production.published_vectors import SHORT, VECTOR, StoredVectors, search_vectors
from embed_assets.retrieval.rescoring import Rescored, dense_scores

ROWS, DIMENSIONS = 600, 32


class Given:
    """An encoder of texts that are numbers of rows."""

    def __init__(self, vectors: np.ndarray):
        self._vectors = vectors

    def encode_queries(self, texts):
        return self._vectors[[int(text) for text in texts]]

    encode_passages = encode_queries


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """Near to 30 centres, most of them told apart by the first dimensions."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(30, DIMENSIONS)) * np.linspace(2, 0.2, DIMENSIONS)
    return unit(centres[generator.integers(0, 30, ROWS)] + 0.3 * generator.normal(size=(ROWS, DIMENSIONS)))


@pytest.fixture
def write(tmp_path, vectors):
    import lancedb

    def write(stored: StoredVectors):
        columns = stored.columns(vectors)
        table = lancedb.connect(str(tmp_path)).create_table("t", pa.table({"id": list(map(str, range(ROWS)))} | columns))
        if stored.index_rows <= ROWS:
            stored.create_index(table)
        return table

    return write


def nearest(vectors: np.ndarray, query: np.ndarray, count: int) -> tuple[list[str], np.ndarray]:
    cosines = vectors @ query
    best = np.argsort(-cosines)[:count]
    return [str(row) for row in best], cosines[best]


def test_what_short_vectors_find_is_ordered_by_whole_ones(vectors, write):
    table = write(StoredVectors(dimensions=4))
    assert {name: table.schema.field(name).type for name in (VECTOR, SHORT)} == {
        VECTOR: pa.list_(pa.float32(), DIMENSIONS),
        SHORT: pa.list_(pa.float16(), 4),
    }
    short, whole = nearest(first_dimensions(vectors, 4), first_dimensions(vectors[7], 4), 5)[0], nearest(vectors, vectors[7], 5)
    found = search_vectors(table, vectors[7], 5, ["id"], rescore=20)
    assert found["id"].to_pylist() == whole[0] != short
    assert 1 - found["_distance"].to_numpy() == pytest.approx(whole[1], abs=1e-5)
    assert found["_rowid"].null_count == 0
    # The first five alone, in the order of whole vectors.
    alone = search_vectors(table, vectors[7], 5, ["id"], rescore=1)
    assert set(alone["id"].to_pylist()) == set(short)
    assert (np.diff(alone["_distance"].to_numpy()) >= 0).all()


def test_without_whole_vectors_queries_are_cut(vectors, write):
    table = write(StoredVectors(dimensions=8, whole=False))
    assert table.schema.names == ["id", VECTOR] and table.schema.field(VECTOR).type == pa.list_(pa.float16(), 8)
    names, cosines = nearest(first_dimensions(vectors, 8), first_dimensions(vectors[7], 8), 5)
    found = search_vectors(table, vectors[7], 5, ["id"], rescore=10)
    assert found["id"].to_pylist() == names and 1 - found["_distance"].to_numpy() == pytest.approx(cosines, abs=2e-3)


@pytest.mark.parametrize("dimensions", [0, 8])
@pytest.mark.parametrize(
    ("kind", "name"), [("hnsw_sq", "IvfHnswSq"), ("ivf_sq", "IvfSq"), ("ivf_pq", "IvfPq"), ("ivf_rq", "IvfRq")]
)
def test_what_an_index_finds_is_compared_by_the_vectors_themselves(vectors, write, kind, name, dimensions):
    table = write(StoredVectors(dimensions=dimensions, index=kind, index_rows=ROWS))
    (index,) = table.list_indices()
    assert (index.index_type, index.columns) == (name, [SHORT if dimensions else VECTOR])
    for query in vectors[:5]:
        names, _ = nearest(vectors, query, 5)
        found = search_vectors(table, query, 5, ["id"], rescore=20)
        exact = {row["id"]: 1 - row["_distance"] for row in found.to_pylist()}
        assert next(iter(exact)) == names[0] and len(set(names) & set(exact)) >= 4
        assert all(value == pytest.approx(vectors[int(row)] @ query, abs=1e-3) for row, value in exact.items())


def test_half_precision_takes_half_the_room(vectors, write):
    table = write(StoredVectors(number_type="float16"))
    assert table.schema.field(VECTOR).type == pa.list_(pa.float16(), DIMENSIONS)
    assert search_vectors(table, vectors[3], 1, ["id"], 10)["id"].to_pylist() == ["3"]


def test_more_dimensions_than_there_are_is_an_error(vectors):
    with pytest.raises(ValueError, match=r"publishing\.dimensions is 32, but the vectors of the model have 32"):
        StoredVectors(dimensions=DIMENSIONS).columns(vectors)


@pytest.mark.parametrize(
    ("stored", "made_of"),
    [
        (StoredVectors(), {}),
        (StoredVectors(index_rows=300, whole=False), {}),
        (StoredVectors(dimensions=8), {"dimensions": 8}),
        (StoredVectors(8, False, "float16", "ivf_rq"), None),
    ],
)
def test_a_table_names_what_is_not_the_default(stored, made_of):
    whole = {"dimensions": 8, "whole_vectors": False, "number_type": "float16", "vector_index": "ivf_rq"}
    assert stored.made_of == (whole if made_of is None else made_of)
    assert StoredVectors.of(stored.made_of).made_of == stored.made_of


def test_scores_are_those_of_search(vectors, write):
    table, encoder = write(StoredVectors(dimensions=4)), Given(vectors)
    scored = Rescored(encoder, 4, depth=20)
    scores = dense_scores(scored, scored.encode_queries(["7"]), scored.encode_passages(range(ROWS)))[0]
    assert np.isfinite(scores).sum() == 20
    found = search_vectors(table, vectors[7], 20, ["id"], rescore=1)["id"].to_pylist()
    assert [str(row) for row in np.argsort(-scores)[:20]] == found
    assert np.array_equal(dense_scores(encoder, vectors[:2], vectors), vectors[:2] @ vectors.T)


def test_what_is_scored_follows_what_is_stored(vectors):
    encoder = Given(vectors)
    assert StoredVectors().scored(encoder, 10) is encoder
    assert isinstance(StoredVectors(dimensions=4).scored(encoder, 10), Rescored)
    assert isinstance(StoredVectors(dimensions=4, whole=False).scored(encoder, 10), FirstDimensions)
