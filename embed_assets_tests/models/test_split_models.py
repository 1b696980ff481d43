import hashlib
import threading
from pathlib import Path

import pytest

from embed_assets.models import split_models
from embed_assets.models.locations import ModelNotFoundError, locate_model, model_digest, on_a_hub
from embed_assets.models.split_models import SPLIT_MODELS, SplitModel

CONTENT = (b"GGUF" + bytes(range(100)), b"", b"the last part")
WHOLE = b"".join(CONTENT)


@pytest.fixture
def model(tmp_path, monkeypatch) -> SplitModel:
    """A small model in three installed packages, known as sample:small."""
    for number, content in enumerate(CONTENT):
        folder = tmp_path / f"small_model_part{number}" / "data"
        folder.mkdir(parents=True)
        (folder.parent / "__init__.py").touch()
        (folder / "part.bin").write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    parts = tuple((f"small_model_part{number}", "data/part.bin") for number in range(3))
    small = SplitModel("small.gguf", len(WHOLE), hashlib.sha256(WHOLE).hexdigest(), parts, "samples-small")
    monkeypatch.setitem(SPLIT_MODELS, "small", small)
    return small


def test_the_parts_are_joined_once_and_then_not_needed(model, tmp_path):
    path = locate_model("sample:small")
    assert path.read_bytes() == WHOLE and path.suffix == ".gguf"
    assert path.is_relative_to(tmp_path / "cache")
    (tmp_path / "small_model_part1" / "data" / "part.bin").unlink()
    assert locate_model("sample:small") == path
    assert sorted(it.name for it in path.parent.iterdir()) == [".small.gguf.lock", "small.gguf"]


def test_a_model_in_parts_is_known_by_its_bytes_before_they_are_joined(model, tmp_path):
    assert model_digest("sample:small") == hashlib.sha256(WHOLE).hexdigest()[:32] and not (tmp_path / "cache").exists()
    assert not on_a_hub("sample:small")


def test_a_part_that_is_missing_is_named_with_what_to_install(model, tmp_path):
    (tmp_path / "small_model_part1" / "data" / "part.bin").unlink()
    for ask in (locate_model, model_digest):
        with pytest.raises(ModelNotFoundError, match=r"'small_model_part1' is not installed.*embed-assets\[samples-small\]"):
            ask("sample:small")


@pytest.mark.parametrize("content", [b"the last par", b"the last Part", b"the last part."])
def test_other_bytes_are_no_model_and_nothing_is_left(model, tmp_path, content):
    (tmp_path / "small_model_part2" / "data" / "part.bin").write_bytes(content)
    with pytest.raises(ModelNotFoundError, match="do not make up the model"):
        locate_model("sample:small")
    assert [it.name for it in (tmp_path / "cache/embed-assets/models").iterdir()] == [".small.gguf.lock"]


def test_a_file_of_another_size_is_joined_anew(model):
    path = locate_model("sample:small")
    path.write_bytes(b"half")
    assert locate_model("sample:small").read_bytes() == WHOLE


def test_many_ask_at_once_and_one_joins(model, monkeypatch):
    joined, join = [], SplitModel._join
    monkeypatch.setattr(SplitModel, "_join", lambda *given: (joined.append(1), join(*given)))
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(locate_model("sample:small"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(joined) == 1 and len(set(found)) == 1 and len(found) == 8


def test_an_unknown_sample_is_named():
    with pytest.raises(ModelNotFoundError, match=r"'sample:big'.*qwen2\.5-coder-1\.5b-instruct"):
        locate_model("sample:big")


def test_the_cache_is_in_the_home_of_the_user_unless_the_environment_says_otherwise(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert split_models.cache_folder("models") == Path.home() / ".cache/embed-assets/models"
