"""The vectors of tokens in LanceDB, and search in them."""

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from embed_assets.models.hardware import Compute
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.token_encoder import TokenEncoder
from embed_assets.production.published_index import PublishedIndex, PublishingError
from embed_assets.production.published_tokens import (
    COLUMN,
    ROW_ID,
    Tokens,
    create_token_index,
    multivectors,
    search_tokens,
    stored_scores,
)
from embed_assets_tests.production.test_published_index import OneDirection, write_chunks

DIMENSIONS = 16
ROWS = 400


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def passages() -> list[np.ndarray]:
    """Vectors of 1 to 12 tokens near to 40 centres."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(40, DIMENSIONS))
    counts = generator.integers(1, 13, ROWS)
    return [unit(centres[generator.integers(0, 40, n)] + 0.4 * generator.normal(size=(n, DIMENSIONS))) for n in counts]


@pytest.fixture(scope="module")
def table(passages, tmp_path_factory):
    import lancedb

    column = multivectors([tokens.astype(np.float16) for tokens in passages])
    database = lancedb.connect(str(tmp_path_factory.mktemp("tokens")))
    return database.create_table("t", pa.table({"id": [f"p{row}" for row in range(ROWS)], COLUMN: column}))


def query_of(passages: list[np.ndarray]) -> np.ndarray:
    """The tokens of the longest passage."""
    return max(passages, key=len)


def exact(query: np.ndarray, passages: list[np.ndarray]) -> np.ndarray:
    return np.array([(query @ tokens.T).max(axis=1).mean() for tokens in passages])


def test_stored_tokens_give_the_scores_of_late_interaction_in_the_order_that_is_asked_for(table, passages):
    rows = {row["id"]: row[ROW_ID] for row in table.search().select(["id"]).with_row_id(True).limit(ROWS).to_list()}
    query, asked = query_of(passages), [300, 7, 0, 123]
    found = stored_scores(table, [rows[f"p{row}"] for row in asked], query)
    assert found == pytest.approx(exact(query, [passages[row] for row in asked]), abs=2e-3)
    assert stored_scores(table, [], query).shape == (0,)


def test_search_without_an_index_is_exact_and_one_with_it_finds_the_best(table, passages):
    query = query_of(passages)
    scores = exact(query, passages)
    best = np.argsort(-scores)[:5]
    hits = search_tokens(table, query, 5, ["id"])
    assert [hit["id"] for hit in hits] == [f"p{row}" for row in best]
    assert [1 - hit["_distance"] for hit in hits] == pytest.approx(scores[best], abs=2e-3)
    create_token_index(table)
    assert [index.index_type for index in table.list_indices()] == ["IvfRq"]
    indexed = search_tokens(table, query, 5, ["id"])
    assert indexed[0]["id"] == hits[0]["id"]
    assert 1 - indexed[0]["_distance"] == pytest.approx(scores[best[0]], abs=2e-3), "what is found is compared exactly"


def test_the_index_holds_the_tokens_of_each_chunk_pooled(tmp_path: Path):
    import torch

    chunks = write_chunks(tmp_path / "chunks.parquet", 5)
    encoder = TokenEncoder(BaseModelSettings(), compute=Compute(device="cpu", dtype="float32"))
    index = PublishedIndex(str(tmp_path / "published"), "support")
    for name, pooling in (("whole", 1.0), ("pooled", 2.0)):
        index.write(name, chunks, OneDirection(1), {}, tokens=Tokens(encoder, pooling, 10**6))
    passages = pl.read_parquet(chunks)["passage"].to_list()
    whole, pooled = (
        {row["passage"]: np.array(row[COLUMN]) for row in index._open(name).search().to_list()} for name in ("whole", "pooled")
    )
    for passage, tokens in zip(passages, encoder.encode_passages(passages), strict=True):
        assert whole[passage] == pytest.approx(tokens.float().numpy())
        assert len(pooled[passage]) == 1 + (len(tokens) - 1) // 2, "[CLS] stays alone"
        assert torch.tensor(pooled[passage]).norm(dim=1).numpy() == pytest.approx(1, abs=2e-3)


def test_a_column_of_the_users_with_the_name_of_the_tokens_is_told_of(tmp_path: Path):
    chunks = write_chunks(tmp_path / "chunks.parquet", 2)
    tokens = Tokens(TokenEncoder(BaseModelSettings(), compute=Compute(device="cpu", dtype="float32")), 2.0, 10**6)
    index = PublishedIndex(str(tmp_path / "published"), "support")
    with pytest.raises(PublishingError, match="'token_vectors' is a column of the index already"):
        index.write("a", chunks, OneDirection(1), {}, columns=lambda ids: pa.table({COLUMN: [1] * len(ids)}), tokens=tokens)
