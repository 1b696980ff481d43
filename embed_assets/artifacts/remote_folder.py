"""A folder of an object store, such as ``s3://bucket/prefix``; credentials come from the environment alone.

What is written is there as a whole or not at all, and can be written on a condition: that nothing has the name yet, or
that nobody replaced what was read. That is why obstore is underneath, and not fsspec: it has both conditions for S3, Google and
Azure alike, and needs no package but itself.
"""

import functools
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from embed_assets.artifacts.errors import UserError
from embed_assets.artifacts.files import lock, write_atomically
from embed_assets.artifacts.secrets import without_secrets

if TYPE_CHECKING:
    from obstore import UpdateVersion

# Those that obstore and LanceDB both open, with the same environment variables. "file" is for shared file systems.
SCHEMES = ("s3", "gs", "az", "file")
BYTES_AT_ONCE = 16 << 20  # of a download, and of a part of an upload, of which S3 allows 10,000
PARTS_AT_ONCE = 4  # of an upload
SHARED_AT = "shared_at"
EXTRA = "pip install 'embed-assets[object-store]'"


class RemoteError(RuntimeError):
    """An object store cannot be read or written; the message names the address, and nothing secret."""


class ReplacedError(RemoteError):
    """An object was replaced or removed while it was read."""


class AddressError(UserError, ValueError):
    """An address names no object store that can be used, or has credentials in it."""


@dataclass(frozen=True)
class Stored:
    """An object as it was read.

    Args:
        content: its bytes.
        version: what tells it from what others put in its place.
    """

    content: bytes
    version: "UpdateVersion"


@dataclass(frozen=True)
class Listed:
    """An object in a listing: name below the folder, bytes, ETag, and when it was written."""

    name: str
    size: int
    etag: str
    written: datetime = datetime.min


def is_remote(address: str) -> bool:
    """Whether an address is a URL, and no path of this machine."""
    return "://" in address


def checked_address(url: str) -> str:
    """The URL of a folder, without a slash at its end.

    Raises:
        AddressError: the scheme is none of SCHEMES, there is no bucket, or there are credentials or parameters in it.
    """
    shown = without_secrets(url)
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise AddressError(f"{shown}: is no address ({error}): write s3://BUCKET/PATH") from None
    if parts.scheme not in SCHEMES:
        raise AddressError(f"{shown}: cannot be opened: take one of {', '.join(f'{name}://' for name in SCHEMES)}")
    if "@" in parts.netloc or ":" in parts.netloc or parts.query or parts.fragment:
        raise AddressError(
            f"{parts.scheme}://…: only a bucket and a path may be in it: keys, endpoint and region come from environment "
            "variables, such as AWS_ACCESS_KEY_ID and AWS_ENDPOINT_URL"
        )
    if bool(parts.netloc) == (parts.scheme == "file") or (parts.scheme == "file" and not parts.path.strip("/")):
        raise AddressError(f"{shown}: write s3://BUCKET/PATH, or file:///PATH with three slashes")
    return url.rstrip("/")


def share(folder: Path, address: str) -> None:
    """Note in a folder of this machine where its files are shared, for whatever process opens them."""
    path = folder / SHARED_AT
    if not path.is_file() or path.read_text(encoding="utf-8") != address:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, address)


def shared_at(folder: Path) -> str | None:
    """The address at which the files of a folder are shared; None: they are this machine's own."""
    path = folder / SHARED_AT
    return path.read_text(encoding="utf-8") if path.is_file() else None


class RemoteFolder:
    """Objects below an address, by their names relative to it.

    Args:
        url: the address, as checked_address takes it.
    """

    def __init__(self, url: str):
        self.url = checked_address(url)

    def below(self, name: str) -> "RemoteFolder":
        """A folder in this one."""
        return RemoteFolder(f"{self.url}/{name}")

    def read(self, name: str) -> Stored | None:
        """An object; None: there is none."""
        try:
            with self._explained(name):
                found = _obstore().get(self._objects, name)
                version: Any = {key: it for key in ("e_tag", "version") if (it := found.meta[key]) is not None}
                return Stored(bytes(found.bytes()), version)
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes, instead_of: Stored | None) -> bool:
        """Write an object, if what is there is still what was read.

        Args:
            name: of the object.
            content: its bytes.
            instead_of: what was read; None: nothing was there.

        Returns:
            Whether it was written: not where somebody else was faster.
        """
        exceptions = _exceptions()
        mode: Any = "create" if instead_of is None else instead_of.version
        try:
            with self._explained(name, exceptions.AlreadyExistsError, exceptions.PreconditionError):
                try:
                    _obstore().put(self._objects, name, content, mode=mode)
                except (NotImplementedError, exceptions.NotSupportedError):
                    if instead_of is None or not self.url.startswith("file://"):
                        raise
                    return self._replace_file(name, content, instead_of)
            return True
        except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
            return False
        except FileNotFoundError:
            if instead_of is not None:
                return False  # somebody removed it
            raise self._no_bucket() from None

    def _replace_file(self, name: str, content: bytes, instead_of: Stored) -> bool:
        """A file system replaces a file in one step, and asks nothing: who does so holds a lock.

        The lock is a file whose name ends as those of unfinished uploads do, which obstore never lists.
        """
        place = Path(unquote(urlsplit(self.url).path)) / name
        if not place.parent.is_dir():
            return False
        with lock(place.with_name(f"{place.name}#0")):
            now = self.read(name)
            if now is None or now.version != instead_of.version:
                return False
            _obstore().put(self._objects, name, content)
        return True

    def upload(self, name: str, path: Path) -> None:
        """Write a file of this machine, whatever was there.

        Raises:
            FileNotFoundError: there is no such file.
        """
        # A file of no bytes is no input of a multipart upload.
        content: Any = path if path.stat().st_size else b""
        try:
            with self._explained(name):
                _obstore().put(self._objects, name, content, chunk_size=BYTES_AT_ONCE, max_concurrency=PARTS_AT_ONCE)
        except FileNotFoundError:
            if not path.exists():
                raise
            raise self._no_bucket() from None

    def download(self, name: str, path: Path, size: int, etag: str = "") -> str:
        """Write an object to a file of this machine; returns the SHA-256 of its bytes, 64 hexadecimal digits.

        Args:
            name: of the object.
            path: of the file.
            size: of the object, bytes.
            etag: of the object, as a listing has it; without one, who reads has to compare hashes.

        Raises:
            FileNotFoundError: there is none.
            ReplacedError: it is another one by now.
        """
        total = hashlib.sha256()
        with path.open("wb") as stream:
            for block in self.blocks(name, size, etag):
                total.update(block)
                stream.write(block)
        return total.hexdigest()

    def blocks(self, name: str, size: int, etag: str = "") -> Iterator[bytes]:
        """The bytes of an object of this size, in pieces. Arguments and errors as of download()."""
        replaced = _exceptions().PreconditionError
        for start in range(0, size, BYTES_AT_ONCE):
            options: Any = {"range": (start, min(start + BYTES_AT_ONCE, size))}
            if etag:
                options["if_match"] = etag
            try:
                with self._explained(name, replaced):
                    block = bytes(_obstore().get(self._objects, name, options=options).bytes())
            except replaced:
                raise ReplacedError(f"{self.url}/{name}: was replaced while it was read: try it again") from None
            yield block

    def objects(self, prefix: str = "") -> Iterator[Listed]:
        """All objects below a folder of this one, in no order."""
        with self._explained(prefix):
            for batch in _obstore().list(self._objects, prefix or None):
                yield from map(_listed, batch)

    def level(self, prefix: str = "") -> tuple[list[Listed], list[str]]:
        """The objects in a folder of this one, and the names of the folders in it, sorted; not what lies below those."""
        with self._explained(prefix):
            found = _obstore().list_with_delimiter(self._objects, prefix or None)
        return [_listed(it) for it in found["objects"]], sorted(found["common_prefixes"])

    def folders(self, prefix: str = "") -> Sequence[str]:
        """The last parts of the names of the folders in a folder of this one, sorted."""
        return sorted(path.rpartition("/")[2] for path in self.level(prefix)[1])

    def delete(self, names: Iterable[str]) -> None:
        """Remove objects; those that are gone already do not matter."""
        for name in names:
            try:
                with self._explained(name):
                    _obstore().delete(self._objects, name)
            except FileNotFoundError:
                continue

    @property
    def _objects(self) -> Any:
        return _open(self.url)

    def _no_bucket(self) -> RemoteError:
        return RemoteError(f"{self.url}: there is no such bucket")

    @contextmanager
    def _explained(self, name: str, *passed_on: type[Exception]) -> Iterator[None]:
        """Errors of the library in one line, which repeats no header and no answer of the server."""
        try:
            yield
        except FileNotFoundError:
            raise
        except passed_on:
            raise
        except (_exceptions().BaseError, OSError, ValueError, NotImplementedError) as error:
            what = without_secrets(str(error).partition("\n")[0])
            raise RemoteError(f"{self.url}/{name}: {type(error).__name__}: {what}") from None


def _listed(found: Any) -> Listed:
    return Listed(found["path"], found["size"], found["e_tag"] or "", found["last_modified"])


@functools.cache
def _open(url: str) -> Any:
    store = _obstore().store
    if url.startswith("file://"):
        return store.LocalStore(unquote(urlsplit(url).path), mkdir=True)
    try:
        return store.from_url(url)
    except (_exceptions().BaseError, ValueError) as error:
        raise RemoteError(f"{url}: {without_secrets(str(error).partition(chr(10))[0])}") from None


def _obstore() -> Any:
    try:
        import obstore
        import obstore.store
    except ImportError:
        raise RemoteError(f"a home or a data folder on an object store needs the package obstore: {EXTRA}") from None
    return obstore


def _exceptions() -> Any:
    _obstore()
    import obstore.exceptions

    return obstore.exceptions
