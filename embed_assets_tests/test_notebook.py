"""The functions of ``from embed_assets import …``: the example of the docs, and what they say when something is missing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import embed_assets
from embed_assets.artifacts.store import MissingArtifactError
from embed_assets.production.published_index import PublishingError
from embed_assets_tests.small_collections import QUERIES, ROUTERS, SETTINGS, override, write_collection

PAGE = Path(__file__).parents[1] / "docs" / "notebooks.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a notebook, with ``data/collections/manuals``."""
    monkeypatch.chdir(tmp_path)
    for name in ("DAGSTER_HOME", "EMBED_ASSETS_HOME", "EMBED_ASSETS_DATA"):
        monkeypatch.delenv(name, raising=False)
    write_collection(tmp_path / "data" / "collections" / "manuals", ROUTERS, QUERIES)
    return tmp_path


def test_importing_the_package_imports_nothing():
    script = (
        "import sys, embed_assets; print([name for name in ('dagster', 'polars', 'numpy', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert set(embed_assets.__all__) <= set(dir(embed_assets))
    with pytest.raises(AttributeError, match="no attribute 'serach'"):
        embed_assets.serach  # noqa: B018


def test_the_example_of_the_docs_runs(folder: Path):
    override(folder / "data", "manuals", SETTINGS | {"publishing": {"uri": "published"}})
    names: dict = {}
    exec(EXAMPLES[0], names)
    scores, chunks = names["scores"], names["chunks"]
    assert isinstance(scores, pl.DataFrame) and set(scores.columns) >= {"labels", "queries", "system", "ndcg@10", "low", "high"}
    human = scores.filter(pl.col("labels") == "human")
    assert set(human["system"]) >= {"base", "tuned", "bm25", "hybrid_base", "hybrid"} and set(human["queries"]) == {len(QUERIES)}
    assert (human["low"] <= human["ndcg@10"]).all() and (human["ndcg@10"] <= human["high"]).all()
    assert set(chunks["document_id"]) == set(ROUTERS)
    assert (folder / "home" / "artifacts").is_dir() and "EMBED_ASSETS_HOME" not in os.environ
    with pytest.raises(PublishingError):
        exec(EXAMPLES[1], names)


@pytest.mark.long
def test_threads_that_build_take_turns(folder: Path):
    script = (
        "import threading, embed_assets\n"
        "workspace = embed_assets.open_workspace('data', 'home')\n"
        "build = lambda: embed_assets.materialize(workspace, 'manuals', 'corpus_chunks')\n"
        "threads = [threading.Thread(target=build) for _ in range(2)]\n"
        "[thread.start() for thread in threads], [thread.join() for thread in threads]\n"
        "print(embed_assets.read_table(workspace, 'manuals', 'corpus_chunks', 'chunks').height)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert int(done.stdout) >= len(ROUTERS) and "Exception in thread" not in done.stderr


def test_what_is_missing_is_named(folder: Path):
    workspace = embed_assets.open_workspace("data", "home")
    with pytest.raises(MissingArtifactError, match="embed-assets run manuals"):
        embed_assets.read_scores(workspace, "manuals")
    with pytest.raises(ValueError, match=r"no asset is called scores; there are corpus_chunks"):
        embed_assets.materialize(workspace, "manuals", "scores")
    for wrong in (["beir_scores"], None):
        with pytest.raises(ValueError, match="no asset is called"):
            embed_assets.materialize(workspace, "manuals", wrong)
    with pytest.raises(ValueError, match=r"no asset is called chunks; there are corpus_chunks"):
        embed_assets.read_table(workspace, "manuals", "chunks", "chunks")
    with pytest.raises(ValueError, match=r"there are beir_scores, reranker_scores"):
        embed_assets.read_scores(workspace, "manuals", "corpus_chunks")
    for mode, limit in (("keyword", 10), ("hybrid", -1)):
        with pytest.raises(ValueError, match="the mode is one of dense, full-text, "):
            embed_assets.search(workspace, "manuals", "reboot", mode, limit)
    assert embed_assets.open_workspace(None, "home") == workspace
    embed_assets.materialize(workspace, "manuals", "corpus_chunks")
    with pytest.raises(FileNotFoundError, match="no table 'passages', only chunks, documents"):
        embed_assets.read_table(workspace, "manuals", "corpus_chunks", "passages")
    for path in (folder / "data" / "collections" / "manuals" / "documents").iterdir():
        path.unlink()
    with pytest.raises(embed_assets.RunFailedError, match=r"manuals: corpus_chunks failed: .*no usable document"):
        embed_assets.materialize(workspace, "manuals", "corpus_chunks")
