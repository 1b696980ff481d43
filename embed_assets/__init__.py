"""Fine-tune an embedding model on a company's own documents, and prove that it is better.

What a notebook or a script needs is here, and imported when it is first used.
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embed_assets.notebook import RunFailedError, materialize, open_workspace, read_scores, read_table, search

__all__ = ["RunFailedError", "materialize", "open_workspace", "read_scores", "read_table", "search"]

# Threads of OpenMP that wait for each other spin by default. Where another process has one of the cores, each step of a
# training then takes several times longer; threads that sleep lose little where the machine is quiet. It is read when torch
# is loaded, which is after this.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module("embed_assets.notebook"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
