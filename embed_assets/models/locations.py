"""Model names in the settings, and the folders they stand for."""

import importlib.util
from pathlib import Path

from embed_assets.artifacts.files import digest_of_files, files_below


class ModelNotFoundError(LookupError):
    """A model's package or folder is not there; the message names the setting's value."""


def locate_model(name: str) -> Path | str:
    """The folder or file of a local model; a Hugging Face model name is returned as it is.

    ``package:NAME/PATH`` is PATH inside the installed Python package NAME, which is not imported.

    Raises:
        ModelNotFoundError: the package is not installed, or there is nothing at the path.
    """
    if name.startswith("package:"):
        package, _, inner = name.removeprefix("package:").partition("/")
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise ModelNotFoundError(f"model {name!r}: the Python package {package!r} is not installed")
        path = Path(spec.submodule_search_locations[0], inner)
    elif on_a_hub(name):
        return name
    else:
        path = Path(name).expanduser().resolve()
    if not path.exists():
        raise ModelNotFoundError(f"model {name!r}: there is nothing at {path}")
    return path


def on_a_hub(name: str) -> bool:
    """Whether a name is neither a local path nor inside a Python package."""
    return not name.startswith(("package:", "/", "./", "../", "~")) and not Path(name).exists()


def model_digest(name: str, revision: str = "") -> str:
    """What tells one model from another: a hash of the files, or the name and the revision for a model of a hub."""
    location = locate_model(name)
    if isinstance(location, str):
        return f"{location}@{revision}" if revision else location
    files = [location] if location.is_file() else files_below(location)
    return digest_of_files(location.parent if location.is_file() else location, files)
