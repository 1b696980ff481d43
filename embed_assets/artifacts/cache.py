"""Files that can be made or fetched again, kept outside of the home."""

import os
from pathlib import Path


def cache_folder(kind: str) -> Path:
    """Where such files lie on this machine: below $XDG_CACHE_HOME, or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "embed-assets", kind)
