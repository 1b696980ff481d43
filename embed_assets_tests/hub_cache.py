"""A cache of this machine with models of a hub, which are loaded without the hub."""

from pathlib import Path

import pytest

PINNED, NEWEST = "a" * 40, "b" * 40


def cache_of_hub(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, newest: str = "") -> Path:
    """An empty cache of a model, the only one that is looked into; returns the folder with a folder for each commit.

    Args:
        folder: where to.
        monkeypatch: of the test.
        name: of the model.
        newest: the commit that is loaded where none is named; empty: there is none.
    """
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    repository = folder / f"models--{name.replace('/', '--')}"
    (repository / "snapshots").mkdir(parents=True)
    if newest:
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(newest)
    return repository / "snapshots"
