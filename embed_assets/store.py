"""The artifact store: every result lies under the fingerprint of what went into it.

``<root>/<asset>/<collection>/<fingerprint>/`` holds a result and its ``manifest.json``. A
fingerprint is a hash of the stage's name and code version, the settings it reads and the digests of
its inputs, so a folder that exists never needs to be computed again. Files under ``report/`` are for
people (charts, previews, counts); all others are content and make up the digest that downstream
fingerprints build on. Two results with the same digest are the same to everything downstream.

A result is built in ``<fingerprint>.building/`` and renamed when complete, so that readers never see
half of one.
"""

import fcntl
import functools
import hashlib
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
REPORT = "report"
SUMMARY = "summary.json"
FINDINGS = "findings.json"
HTML_REPORT = "report.html"


class MissingArtifactError(LookupError):
    """An upstream artifact was never built, or was deleted from the store."""


@dataclass(frozen=True)
class Artifact:
    """One complete result in the store."""

    folder: Path
    manifest: dict[str, Any]
    reused: bool = False

    @property
    def digest(self) -> str:
        """Hash of the content: what downstream fingerprints are made of."""
        return self.manifest["digest"]

    @property
    def fingerprint(self) -> str:
        return self.manifest["fingerprint"]

    @property
    def report(self) -> Path:
        return self.folder / REPORT

    @property
    def findings(self) -> list[dict[str, Any]]:
        """The outcomes of the checks that the stage wrote to report/findings.json."""
        path = self.report / FINDINGS
        return json.loads(path.read_text()) if path.is_file() else []

    @property
    def summary(self) -> dict[str, Any]:
        """The counts and figures that the stage wrote to report/summary.json."""
        path = self.report / SUMMARY
        return json.loads(path.read_text()) if path.is_file() else {}


class ArtifactStore:
    """Artifacts of all assets and collections under one root folder."""

    def __init__(self, root: Path):
        self.root = root

    def find(self, asset: str, collection: str, fingerprint: str) -> Artifact | None:
        """The complete artifact with this fingerprint, or None."""
        folder = self.root / asset / collection / fingerprint
        try:
            manifest = json.loads((folder / MANIFEST).read_text())
            intact = all((folder / name).stat().st_size == size for name, size in manifest["files"].items())
        except (OSError, ValueError, KeyError):
            return None
        return Artifact(folder, manifest, reused=True) if intact else None

    def artifacts(self, asset: str, collection: str) -> Iterator[Artifact]:
        """All complete artifacts of an asset and a collection, in no order."""
        for path in (self.root / asset / collection).glob(f"*/{MANIFEST}"):
            if (artifact := self.find(asset, collection, path.parent.name)) is not None:
                yield artifact

    def find_content(self, asset: str, collection: str, digest: str) -> Artifact:
        """An artifact with this content, whatever it was made of.

        Raises:
            MissingArtifactError: there is none.
        """
        for artifact in self.artifacts(asset, collection):
            if artifact.digest == digest:
                return artifact
        raise MissingArtifactError(
            f"{asset} of collection {collection!r} with the content {digest} is not in {self.root}: "
            "it was deleted, or built in another home"
        )

    def current(self, asset: str, collection: str) -> Artifact:
        """The artifact that was built or reused last.

        Raises:
            MissingArtifactError: there is none; the message says which asset to materialize.
        """
        pointer = self.root / asset / collection / "current"
        artifact = self.find(asset, collection, pointer.read_text()) if pointer.is_file() else None
        if artifact is None:
            raise MissingArtifactError(
                f"{asset} of collection {collection!r} is not in {self.root}: materialize it first: "
                f"embed-assets run {collection} --until {asset}"
            )
        return artifact

    def latest(self, asset: str, collection: str, inputs: Mapping[str, str]) -> Artifact | None:
        """The newest artifact among those that were built with these digests of inputs."""
        built = self.artifacts(asset, collection)
        found = [artifact for artifact in built if inputs.items() <= artifact.manifest["inputs"].items()]
        return max(found, key=lambda artifact: artifact.manifest["built_at"], default=None)

    def build(
        self,
        asset: str,
        collection: str,
        ingredients: Mapping[str, Any],
        write: Callable[[Path, Path], None],
        make_current: bool = True,
    ) -> Artifact:
        """Return the artifact made of these ingredients, building it only if it is not there yet.

        Args:
            asset: name of the asset.
            collection: name of the collection.
            ingredients: all that the content depends on (code version, settings, input digests), as JSON
                values. Their hash is the fingerprint, and the manifest keeps them.
            write: called as write(folder, scratch) with an empty folder for the result and a scratch folder
                that survives a crash, so that a long computation can go on where it stopped.
            make_current: whether ``current`` returns it from now on.
        """
        fingerprint = fingerprint_of({"asset": asset, **ingredients})
        parent = self.root / asset / collection
        parent.mkdir(parents=True, exist_ok=True)
        with lock(parent / "lock"):
            artifact = self.find(asset, collection, fingerprint)
            if artifact is None:
                artifact = self._build(asset, parent / fingerprint, ingredients, write)
        if make_current:
            write_atomically(parent / "current", fingerprint)
        return artifact

    def _build(self, asset: str, folder: Path, ingredients: Mapping[str, Any], write: Callable[[Path, Path], None]) -> Artifact:
        building, scratch = folder.with_suffix(".building"), folder.with_suffix(".scratch")
        shutil.rmtree(building, ignore_errors=True)
        (building / REPORT).mkdir(parents=True)
        scratch.mkdir(exist_ok=True)
        started = time.monotonic()
        write(building, scratch)
        files = sorted(path for path in building.rglob("*") if path.is_file())
        content = [path for path in files if path.relative_to(building).parts[0] != REPORT]
        manifest = {
            "asset": asset,
            "collection": str(folder.parent.relative_to(self.root / asset)),
            "fingerprint": folder.name,
            "digest": digest_of_files(building, content),
            **ingredients,
            "built_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - started, 2),
            "files": {str(path.relative_to(building)): path.stat().st_size for path in files},
        }
        (building / MANIFEST).write_text(json.dumps(manifest, indent=2))
        shutil.rmtree(folder, ignore_errors=True)
        building.rename(folder)
        shutil.rmtree(scratch)
        return Artifact(folder, manifest)


def fingerprint_of(value: Any) -> str:
    """SHA-256 of a JSON value, 32 hexadecimal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:32]


def digest_of_files(root: Path, files: Iterable[Path]) -> str:
    """SHA-256 over names (relative to root) and bytes of the files, 32 hexadecimal digits."""
    total = hashlib.sha256()
    for path in sorted(files):
        status = path.stat()
        file_digest = _file_digest(path, status.st_size, status.st_mtime_ns)
        total.update(f"{path.relative_to(root).as_posix()}\0{file_digest}\n".encode())
    return total.hexdigest()[:32]


@functools.lru_cache(maxsize=1_000_000)
def _file_digest(path: Path, size: int, modified: int) -> str:
    """Hash of a file, computed again when its size or time of modification changes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_atomically(path: Path, text: str) -> None:
    """Replace the file in one step: a reader sees the old or the new text, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


@contextmanager
def write_folder_atomically(folder: Path) -> Iterator[Path]:
    """A folder beside this one to write to, which takes its name when all is written.

    Raises:
        FileExistsError: there is something in the folder.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is not empty: name a new folder")
    building = folder.with_name(f".{folder.name}.{os.getpid()}")
    building.mkdir(parents=True)
    try:
        yield building
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Only one process builds an asset of a collection; the kernel frees the lock of a process that died."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


class Memo:
    """A persistent key-value table for work that is finer than an artifact.

    One embedding per text and model, one answer per prompt: what is stored survives a crash and serves
    every later run. Safe for several processes at once.
    """

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        # SQLite does not wait when two processes change the journal mode at once.
        with lock(path.with_suffix(".lock")), self._connect() as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("CREATE TABLE IF NOT EXISTS memo (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.path, timeout=60)
        try:
            with connection:
                yield connection
        finally:
            connection.close()

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The values of those keys that are stored."""
        found: dict[str, bytes] = {}
        with self._connect() as connection:
            for start in range(0, len(keys), 500):
                block = keys[start : start + 500]
                marks = ",".join("?" * len(block))
                found.update(connection.execute(f"SELECT key, value FROM memo WHERE key IN ({marks})", block))
        return found

    def put_many(self, items: Iterable[tuple[str, bytes]]) -> None:
        """Store the items in one transaction."""
        with self._connect() as connection:
            connection.executemany("INSERT OR REPLACE INTO memo VALUES (?, ?)", items)
