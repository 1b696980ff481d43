import os
from pathlib import Path

import pytest

# The models of the tests lie inside Python packages.
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture
def workspace_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with data/collections/; data/ and home/ in it are what the code location uses."""
    monkeypatch.setenv("EMBED_ASSETS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("EMBED_ASSETS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    (tmp_path / "data" / "collections").mkdir(parents=True)
    return tmp_path
