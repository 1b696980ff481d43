import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

from embed_assets.corpus.settings import ChunkingSettings
from embed_assets.models.encoders import Encoder
from embed_assets.models.hardware import Compute
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.tokenizers import load_tokenizer
from embed_assets_tests.corpus.at_once import chunk_documents
from embed_assets_tests.object_stores import s3_server
from embed_assets_tests.sample_documents import DOCUMENTS

# The models of the tests lie inside Python packages.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# What make and the shell say of the user's own home is none of theirs: runs of earlier tests would be found there.
for name in ("DAGSTER_HOME", "EMBED_ASSETS_HOME", "EMBED_ASSETS_DATA"):
    os.environ.pop(name, None)


@pytest.fixture
def workspace_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with data/collections/; data/ and home/ in it are what the code location uses."""
    monkeypatch.setenv("EMBED_ASSETS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("EMBED_ASSETS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    (tmp_path / "data" / "collections").mkdir(parents=True)
    return tmp_path


@pytest.fixture(scope="session")
def memos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all modules: the language model is converted once, and no text is encoded twice."""
    return tmp_path_factory.mktemp("memos")


@pytest.fixture(scope="session")
def encoder(memos: Path) -> Encoder:
    return Encoder(BaseModelSettings(max_tokens=64), memos, compute=Compute(device="cpu"))


@pytest.fixture(scope="session")
def cut() -> Callable[..., pl.DataFrame]:
    """Cuts documents into chunks; the settings of chunking are keyword arguments."""
    tokenizer = load_tokenizer(BaseModelSettings().name)
    return lambda documents, **settings: chunk_documents(documents, ChunkingSettings(**settings), tokenizer)


@pytest.fixture(scope="session")
def chunks(cut: Callable[..., pl.DataFrame]) -> pl.DataFrame:
    """One chunk for each of the twelve documents."""
    return cut(DOCUMENTS)


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture
def remote_address(bucket: str) -> str:
    """An empty folder of an object store."""
    return f"{bucket}/{uuid.uuid4().hex}"
