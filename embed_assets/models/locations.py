"""Model names in the settings, and the folders they stand for."""

import importlib.util
import os
import re
from pathlib import Path

from embed_assets.artifacts.errors import UserError
from embed_assets.artifacts.files import digest_of_path
from embed_assets.artifacts.remote_folder import shared_at
from embed_assets.cluster.files import DriverFiles
from embed_assets.models.split_models import SPLIT_MODELS, ModelNotFoundError, SplitModel

SAMPLE = "sample:"
COMMIT = re.compile(r"[0-9a-f]{40}")
# One of them is in the folder of any model. Another folder, such as a home, would be read to its end for its hash.
FILES_OF_A_MODEL = ("config.json", "modules.json", "adapter_config.json", "params.json")


class ModelNotPinnedError(UserError, ValueError):
    """A name on a hub can stand for another model on each machine that loads it."""


class HubUnreachableError(ModelNotFoundError):
    """The hub does not answer; it may a moment later."""


def locate_model(name: str) -> Path | str:
    """The folder or file of a local model; a Hugging Face model name is returned as it is.

    ``package:NAME/PATH`` is PATH inside the installed Python package NAME, which is not imported; ``sample:NAME`` one of
    SPLIT_MODELS, which is joined the first time.

    Raises:
        ModelNotFoundError: the package is not installed, or there is nothing at the path.
    """
    if name.startswith("package:"):
        package, _, inner = name.removeprefix("package:").partition("/")
        # To find a package within another one, Python would import that.
        spec = importlib.util.find_spec(package) if package.isidentifier() else None
        if spec is None or not spec.submodule_search_locations:
            raise ModelNotFoundError(f"model {name!r}: the Python package {package!r} is not installed")
        path = Path(spec.submodule_search_locations[0], inner)
    elif (split := _split_model(name)) is not None:
        return split.locate()
    elif on_a_hub(name):
        return name
    else:
        path = Path(name.replace("\0", "\N{REPLACEMENT CHARACTER}")).expanduser().resolve()
    if not path.exists():
        raise ModelNotFoundError(f"model {name!r}: there is nothing at {path}")
    return path


def on_a_hub(name: str) -> bool:
    """Whether a name is neither a local path nor inside a Python package, and a hub may have a model of that name."""
    if name.startswith(("package:", SAMPLE, "/", "./", "../", "~")) or Path(name).exists():
        return False
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:  # such as a folder of a folder that is not there
        return False
    return True


def hub_is_off() -> bool:
    """Whether models of a hub come from the cache of this machine alone."""
    from huggingface_hub.constants import ENV_VARS_TRUE_VALUES

    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ENV_VARS_TRUE_VALUES


def not_on_hub(name: str, error: object = "", what: str = "such model") -> ModelNotFoundError:
    """What to say of a name that is no folder, and of which the hub, and the cache of this machine, know nothing.

    Args:
        name: of the model.
        error: of the hub, or of its library.
        what: is not there.
    """
    remedy = (
        "HF_HUB_OFFLINE is set: unset it (make sets it)" if hub_is_off() else f"the hub says: {str(error).partition(chr(10))[0]}"
    )
    kind = HubUnreachableError if not hub_is_off() and _may_pass(error) else ModelNotFoundError
    return kind(f"model {name!r}: there is no such folder, and no {what} in the cache of this machine; {remedy}")


def _may_pass(error: object) -> bool:
    """Whether a hub, or the way there, is what failed, and not what it was asked for."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    status = getattr(error.response, "status_code", 0) if isinstance(error, HfHubHTTPError) else 0
    return isinstance(error, LocalEntryNotFoundError) or status == 429 or status >= 500


def model_digest(name: str, revision: str = "") -> str:
    """What tells one model from another: a hash of the files, or the name and the revision for a model of a hub.

    Raises:
        ModelNotFoundError: as locate_model, or what is there is no model.
    """
    if (split := _split_model(name)) is not None:
        split.require()
        return split.digest
    location = locate_model(name)
    if isinstance(location, str):
        return f"{location}@{revision}" if revision else location
    if not location.is_file() and not any((location / file).is_file() for file in FILES_OF_A_MODEL):
        raise ModelNotFoundError(f"model {name!r}: {location} is no model: neither a file nor a folder with a config.json")
    return digest_of_path(location)


def require_one_model(name: str, revision: str, where: str) -> None:
    """Each machine takes what its own cache has as the newest of a hub's model, and its vectors for those of the others.

    Raises:
        ModelNotPinnedError: the model is on a hub, and the revision is no full commit.
    """
    if on_a_hub(name) and not COMMIT.fullmatch(revision):
        raise ModelNotPinnedError(
            f"{where}, so the model {name!r} has to be the same on all: set its revision to a full commit (40 digits and "
            f"letters, which its page on the hub lists), found {revision!r}; or name a folder"
        )


def memo_of_model(memos: Path, kind: str, name: str, revision: str) -> Path:
    """Where the results of a model are kept: a memo of its own."""
    return memos / kind / f"{model_digest(name, revision).replace('/', '--')}.sqlite"


def require_one_memo(memos: Path, name: str, revision: str) -> None:
    """As require_one_model, where the memos are those of a home on an object store; nothing in a home of one machine."""
    if (address := shared_at(memos)) is not None:
        require_one_model(name, revision, f"several machines keep results of models at {address}")


def files_of_model(name: str, revision: str) -> DriverFiles | str:
    """What workers on other machines need to load the model: its files, or its name where that stands for the same everywhere.

    Raises:
        ModelNotPinnedError: the name is on a hub, and does not stand for the same.
    """
    require_one_model(name, revision, "each worker of the cluster loads it by itself")
    if on_a_hub(name) or name.startswith(("package:", SAMPLE)):
        return name
    path = locate_model(name)
    assert isinstance(path, Path)
    return DriverFiles.of(path)


def _split_model(name: str) -> SplitModel | None:
    if not name.startswith(SAMPLE):
        return None
    if (found := SPLIT_MODELS.get(name.removeprefix(SAMPLE))) is None:
        raise ModelNotFoundError(f"model {name!r}: the samples are {', '.join(SPLIT_MODELS)}")
    return found
