"""Front matter as columns of the published index."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from embed_assets.artifacts.workspace import CollectionError, Workspace
from embed_assets.corpus.front_matter import front_matter_columns
from embed_assets.corpus.source import write_source
from embed_assets.corpus.stages import CORPUS_CHUNKS
from embed_assets.lineage import resolve
from embed_assets.production.published_index import PublishedIndex
from embed_assets.production.published_vectors import StoredVectors
from embed_assets_tests.small_collections import override, write_collection

KEYS = ["product", "year", "price", "public", "tags", "release"]
PAGES = {
    "oven.md": "---\nproduct: oven\nyear: 2024\nprice: 3\npublic: true\ntags: [heat, steel]\nrelease: 4\n---\n"
    "# Oven\n\n" + "Heat it slowly before you bake. " * 40 + "\n\n# Care\n\nWipe it while it is warm.",
    "tray.md": "---\nproduct: tray\nyear: 2026\nprice: 2.5\npublic: false\ntags: steel\nrelease: 4.1b\n---\n# Tray\n\nGrease it.",
    "mixer.md": "# Mixer\n\nPull the plug before you clean the mixer.",
}


class Lengths:
    def encode_passages(self, texts):
        return np.array([[len(text), 1] for text in texts], dtype=np.float32)


def corpus(folder: Path, keys: list[str], pages: dict[str, str] = PAGES) -> Path:
    """documents.parquet and chunks.parquet of pages, as the stage makes them."""
    write_collection(folder / "data" / "collections" / "kitchen", pages)
    override(folder / "data", "kitchen", {"documents": {"metadata_columns": keys}})
    workspace = Workspace(folder / "data", folder / "home")
    write_source(workspace, resolve(workspace, CORPUS_CHUNKS, "kitchen"), folder, folder)
    return folder


def test_searches_filter_on_front_matter(tmp_path):
    folder = corpus(tmp_path, KEYS)
    index = PublishedIndex(str(tmp_path / "index"), "kitchen")
    metadata = {"fingerprint": "0"}
    index.write("kitchen__0", folder / "chunks.parquet", Lengths(), metadata, StoredVectors(), front_matter_columns(folder, KEYS))
    table = index._open("kitchen__0")

    def found(where: str) -> set[str]:
        return {row["document_id"] for row in table.search().where(where).limit(99).to_list()}

    chunks = pl.read_parquet(folder / "chunks.parquet")
    assert table.count_rows() == len(chunks) > len(PAGES)
    assert found("product = 'oven'") == {"oven.md"}
    assert table.count_rows("product = 'oven'") == chunks.filter(pl.col("document_id") == "oven.md").height > 1
    assert found("year > 2025") == found("price < 3") == found("NOT public") == found("release = '4.1b'") == {"tray.md"}
    assert found("array_has(tags, 'steel')") == {"oven.md", "tray.md"}
    assert found("product IS NULL") == {"mixer.md"}


def test_numbers_of_any_length_and_keys_like_our_own_columns_are_kept(tmp_path):
    pages = {
        "a.md": f"---\norder: {'9' * 23}\nchunk_id: mine\n---\n# A\n\nWarm the oven.",
        "b.md": "---\norder: 7\n---\n# B\n\nCool it.",
    }
    folder = corpus(tmp_path, ["order", "chunk_id"], pages)
    ids = pl.read_parquet(folder / "chunks.parquet")["chunk_id"].to_list()
    table = pl.from_arrow(front_matter_columns(folder, ["order", "chunk_id"])(ids))
    assert table.rows() == [("9" * 23, "mine"), ("7", None)]


def test_without_keys_there_are_no_columns(tmp_path):
    assert front_matter_columns(tmp_path, []) is None


def test_a_key_that_no_page_has_is_named_before_anything_is_built(tmp_path):
    with pytest.raises(CollectionError, match=r"'prodct' in its front matter .*there are price, product, public"):
        corpus(tmp_path, ["prodct"])
