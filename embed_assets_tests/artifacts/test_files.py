"""What is known of a file that was read before."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from embed_assets.artifacts.files import digest_of_path
from embed_assets.settings_files import line_of, read_yaml


@pytest.mark.parametrize(
    "read",
    [digest_of_path, read_yaml, lambda path: [line_of(path, [name]) for name in ("a", "b")]],
    ids=["digest", "settings", "line"],
)
@pytest.mark.parametrize("modified", [0, 4_000_000_000], ids=["1970", "2096"])
def test_a_file_of_the_same_size_and_time_is_read_again(tmp_path: Path, read: Callable[[Path], object], modified: int):
    """Archives, images and copies give files any time."""
    path, found = tmp_path / "settings.yaml", []
    for text in ("a: 1\nb: 2\n", "b: 1\na: 3\n"):
        new = tmp_path / "new"
        new.write_text(text)
        os.utime(new, (modified, modified))
        new.replace(path)
        found.append(read(path))
    assert found[0] != found[1]
