"""bm25s, without the library that it tries at once."""

import functools
import sys
from types import ModuleType


@functools.cache
def import_bm25s() -> ModuleType:
    """The package bm25s, imported without JAX.

    Where JAX is installed, bm25s computes something with it while it is imported, and JAX then takes three quarters of the
    GPU's memory for itself (XLA_PYTHON_CLIENT_PREALLOCATE), which the models need. Its search is not used here.
    """
    hidden = {name: module for name, module in sys.modules.items() if name == "jax" or name.startswith("jax.")}
    for name in hidden:
        del sys.modules[name]
    sys.modules["jax"] = None  # type: ignore[assignment]  # to import it is an ImportError
    try:
        import bm25s
        import bm25s.stopwords
    finally:
        del sys.modules["jax"]
        sys.modules.update(hidden)
    return bm25s
