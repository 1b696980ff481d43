"""Where things lie: the collections in a data folder, and the results in a home folder."""

import logging
import os
import posixpath
import re
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path

from embed_assets.artifacts.cache import cache_folder
from embed_assets.artifacts.errors import UserError
from embed_assets.artifacts.files import fingerprint_of, lock, write_atomically
from embed_assets.artifacts.mirror import Mirror
from embed_assets.artifacts.remote_folder import RemoteFolder, checked_address, is_remote, share
from embed_assets.artifacts.remote_store import RemoteStore
from embed_assets.artifacts.store import ArtifactStore


class CollectionError(UserError, ValueError):
    """A collection does not exist, or holds a file that cannot be used; the file and the line are named."""


logger = logging.getLogger(__name__)
# In block style, or in the braces of flow style and JSON.
PRODUCTION_BLOCK = re.compile(rb"""(?:^|[{,])\s*["']?production["']?\s*:""", re.MULTILINE)
LARGEST_SETTINGS = 100_000  # bytes; the YAML library takes a second for ten thousand
COLLECTION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
ARTIFACTS, MEMOS, DATA, HOME_ID = "artifacts", "memos", "data", "home_id"
CACHE = "EMBED_ASSETS_CACHE"
NAME_RULE = "a collection's name has at most 100 letters of A to Z, digits, '-' and '_', and begins with a letter or a digit"


@dataclass(frozen=True)
class Workspace:
    """A data folder with collections and a home folder with everything that is computed.

    Args:
        data: holds ``collections/<name>/`` and ``settings.yaml``. A single BEIR folder
            (``corpus.jsonl``, ``queries.jsonl``, ``qrels/``), or a folder of those, works as well.
        home: holds the artifacts, the memos and Dagster's own files; where the home is on an object store, what this
            machine needs of it.
        remote: address of the home on an object store; empty: there is none.
        data_remote: address of the data folder on an object store, which ``data`` follows; empty: there is none.
    """

    data: Path
    home: Path
    remote: str = ""
    data_remote: str = ""

    @property
    def data_address(self) -> str:
        """The data folder, as --data names it."""
        return self.data_remote or str(self.data)

    @property
    def address(self) -> str:
        """The home, as --home names it."""
        return self.remote or str(self.home)

    @property
    def store(self) -> ArtifactStore:
        if self.remote:
            return RemoteStore(self.home / ARTIFACTS, RemoteFolder(self.remote).below(ARTIFACTS))
        return ArtifactStore(self.home / ARTIFACTS)

    @property
    def memos(self) -> Path:
        """Folder of the embeddings and language-model answers that later runs use again."""
        folder = self.home / MEMOS
        if self.remote:
            share(folder, f"{self.remote}/{MEMOS}")
        return folder

    @property
    def logs(self) -> Path:
        """Folder of what loggers write while something is computed; nothing is read from it."""
        return self.home / "logs"

    @property
    def home_id(self) -> str:
        """What tells this home from others: kept in it, so that it moves with the folder and a new host changes nothing."""
        path = self.home / HOME_ID
        if path.is_file():
            return path.read_text(encoding="utf-8").strip()
        self.home.mkdir(parents=True, exist_ok=True)
        with lock(self.home / f"{HOME_ID}.lock"):
            if not path.is_file():
                write_atomically(path, _shared_id(RemoteFolder(self.remote)) if self.remote else _new_id())
            return path.read_text(encoding="utf-8").strip()

    def collections(self) -> dict[str, Path]:
        """Name and folder of every collection, sorted by name; folders with unusable names are left out with a warning.

        Raises:
            CollectionError: there is no data folder.
        """
        folders = self._folders()
        for folder in folders:
            if not COLLECTION_NAME.fullmatch(folder.name):
                logger.warning("%s is left out: %s", folder, NAME_RULE)
        return {folder.name: folder for folder in folders if COLLECTION_NAME.fullmatch(folder.name)}

    def is_gone(self, name: str) -> bool:
        """Whether nothing of this name is in the data folder any more, be it a collection or not.

        Raises:
            CollectionError: there is no data folder, or nothing is in it, as where a disk is not mounted.
        """
        if (self._parent() / name).exists():
            return False
        there = self.collections()
        if not any(self.data.iterdir()):
            raise CollectionError(f"{self.data_address}: it is empty: is its disk mounted?")
        return name not in there

    def some_collections(self) -> dict[str, Path]:
        """The same, where a person asks for them.

        Raises:
            CollectionError: there is none, or none with a usable name.
        """
        found = self.collections()
        if not found:
            misnamed = self._folders()
            if misnamed:
                raise CollectionError(f"{misnamed[0]}: {NAME_RULE}: rename the folder")
            raise CollectionError(f"{self.data}: no folder with documents/, corpus.jsonl or a production table in it")
        return found

    def _folders(self) -> list[Path]:
        if not self.data.is_dir():
            raise CollectionError(f"{self.data}: no such folder; name the data folder with --data or EMBED_ASSETS_DATA")
        if _is_collection(self.data):
            return [self.data.resolve()]
        return sorted(folder for folder in self._parent().iterdir() if _may_be_collection(folder))

    def collection_folder(self, name: str) -> Path:
        """The folder of a collection, looked up by itself: a look over all of them stays linear.

        Raises:
            CollectionError: there is no such collection; the message lists those there are.
        """
        folder = self.data.resolve() if _is_collection(self.data) else self._parent() / name
        if folder.name == name and COLLECTION_NAME.fullmatch(name) and (_is_collection(folder) or _names_a_table(folder)):
            return folder
        if any(folder.name == name for folder in self._folders()):
            raise CollectionError(f"{folder}: {NAME_RULE}: rename the folder")
        there = ", ".join(self.collections()) or "none"
        raise CollectionError(
            f"{self.data}: no collection {name!r} with documents/, corpus.jsonl or a 'production' block "
            f"in its settings.yaml (there: {there})"
        )

    def documents_folder(self, name: str) -> Path:
        """The same, with its documents as they are now; for steps that read them."""
        folder = self.collection_folder(name)
        if self.data_remote:
            Mirror(RemoteFolder(self.data_remote), self.data).follow_documents(folder)
        return folder

    def writable_folder(self, name: str) -> Path:
        """The same, for those who write settings or labels into it.

        Raises:
            CollectionError: it is on an object store.
        """
        if self.data_remote:
            raise CollectionError(f"{self.data_remote}: settings and labels are only read there: copy the data folder, and back")
        return self.collection_folder(name)

    def _parent(self) -> Path:
        """The folder that holds the collections' folders."""
        parent = self.data / "collections"
        return parent if parent.is_dir() else self.data

    def database(self, uri: str) -> str:
        """The URI of a database as LanceDB opens it; a relative path is below the data folder, any other one on this machine."""
        if is_remote(uri):
            return uri
        path = Path(uri).expanduser()
        if self.data_remote and not path.is_absolute():
            scheme, _, place = self.data_remote.partition("://")
            # An object store takes "." and ".." for names.
            return f"{scheme}://{posixpath.normpath(posixpath.join(place, uri))}"
        return str(self.data / path)

    def prompt_folders(self, collection: str) -> list[Path]:
        """Where prompt files are looked for before the package's own: the collection's, then everybody's."""
        return [self.collection_folder(collection) / "prompts", self.data / "prompts"]


def _may_be_collection(folder: Path) -> bool:
    """Whether a folder beside others is a collection; one that cannot be looked into, such as lost+found, must not stop them."""
    try:
        return _is_collection(folder) or _names_a_table(folder)
    except OSError as error:
        if COLLECTION_NAME.fullmatch(folder.name):
            logger.warning("%s is left out: it cannot be read: %s", folder, error.strerror)
        return False


def _is_collection(folder: Path) -> bool:
    return (folder / "documents").is_dir() or any((folder / name).is_file() for name in ("corpus.jsonl", "corpus.jsonl.gz"))


def _names_a_table(folder: Path) -> bool:
    """Whether the folder's settings have a ``production`` block, be they right or wrong otherwise, or cannot be read."""
    settings = folder / "settings.yaml"
    if not settings.is_file():
        settings = folder / "settings.yml"  # which is refused with the right name when it is read
    if not settings.is_file():
        return False
    if not os.access(settings, os.R_OK):
        return True
    with settings.open("rb") as stream:
        return PRODUCTION_BLOCK.search(stream.read(LARGEST_SETTINGS)) is not None


def _new_id() -> str:
    return uuid.uuid4().hex[:12]


def _shared_id(home: RemoteFolder) -> str:
    """The id of a home on an object store: that of whoever came first."""
    home.write(HOME_ID, _new_id().encode(), None)
    stored = home.read(HOME_ID)
    return stored.content.decode() if stored is not None else _shared_id(home)


def cache_of(address: str) -> Path:
    """The folder of this machine for a home or a data folder on an object store.

    It is below $EMBED_ASSETS_CACHE, which has to be of this machine alone. Else it is in the user's cache folder, below the
    name of the host: machines of a cluster often share the home folders of users.
    """
    named = os.environ.get(CACHE)
    above = Path(named) if named else cache_folder("homes") / _as_name(socket.gethostname())
    return above.expanduser().resolve() / f"{_as_name(address.partition('://')[2])[-60:]}-{fingerprint_of(address)[:8]}"


def _as_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "-", text).strip("-.")


def open_workspace(data: str = "", home: str = "") -> Workspace:
    """The workspace at two folders.

    Args:
        data: a folder, or the address of one on an object store; empty: $EMBED_ASSETS_DATA, else data.
        home: a folder, or the address of one on an object store; empty: $EMBED_ASSETS_HOME, $DAGSTER_HOME, else .dagster_home.

    Raises:
        AddressError: an address cannot be used.
        RemoteError: the data folder cannot be read.
        CollectionError: the folder is part of a data folder with settings of its own.
    """
    data = data or os.environ.get("EMBED_ASSETS_DATA") or "data"
    home = home or os.environ.get("EMBED_ASSETS_HOME") or os.environ.get("DAGSTER_HOME") or ".dagster_home"
    data_remote = checked_address(data) if is_remote(data) else ""
    remote = checked_address(home) if is_remote(home) else ""
    place = cache_of(data_remote) / DATA if data_remote else Path(data).expanduser().resolve()
    if data_remote:
        Mirror(RemoteFolder(data_remote), place).follow()
    _refuse_part_of_a_data_folder(place)
    return Workspace(place, cache_of(remote) if remote else Path(home).expanduser().resolve(), remote, data_remote)


def _refuse_part_of_a_data_folder(place: Path) -> None:
    # The settings of all its collections would be passed over, and other results take the place of those that are there.
    for folder in (place, place.parent):
        if folder.name == "collections" and (folder.parent / "settings.yaml").exists():
            raise CollectionError(f"{place} is part of a data folder with settings: name {folder.parent} as the data folder")
