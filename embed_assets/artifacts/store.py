"""The artifact store: every result lies under the fingerprint of what went into it.

``<root>/<asset>/<collection>/<fingerprint>/`` holds a result and its ``manifest.json``. A
fingerprint is a hash of the stage's name and code version, the settings it reads and the digests of
its inputs, so a folder that exists never needs to be computed again. Files under ``report/`` are for
people (charts, previews, counts); all others are content and make up the digest that downstream
fingerprints build on. Two results with the same digest are the same to everything downstream.

A result is built in ``<fingerprint>.building/`` and renamed when complete, so that readers never see
half of one.
"""

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from embed_assets.artifacts.errors import UserError
from embed_assets.artifacts.files import digest_of_files, fingerprint_of, lock, sync, write_atomically

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
LOCKS = "locks"
CURRENT = "current"
REPORT = "report"
SUMMARY = "summary.json"
FINDINGS = "findings.json"
HTML_REPORT = "report.html"


class MissingArtifactError(UserError, LookupError):
    """An upstream artifact was never built, or was deleted from the store."""


class Origin(Protocol):
    """Where the files of an artifact are kept, if not on this machine."""

    @property
    def address(self) -> str:
        """Where that is, for people."""

    def bring(self, names: Iterable[str]) -> None:
        """Have these files of the artifact at its path on this machine."""


@dataclass(frozen=True)
class Artifact:
    """One complete result in the store.

    Args:
        path: where its files lie on this machine, or will lie once somebody asks for them.
        manifest: what it is, and was made of.
        reused: it was there already.
        origin: where its files are kept; None: at the path.
    """

    path: Path
    manifest: dict[str, Any]
    reused: bool = False
    origin: Origin | None = field(default=None, compare=False)

    @property
    def folder(self) -> Path:
        """Its folder, with all of its files in it."""
        self._bring(self.manifest["files"])
        return self.path

    @property
    def address(self) -> str:
        """Where it is kept, for people."""
        return str(self.path) if self.origin is None else self.origin.address

    @property
    def digest(self) -> str:
        """Hash of the content: what downstream fingerprints are made of."""
        return self.manifest["digest"]

    @property
    def fingerprint(self) -> str:
        return self.manifest["fingerprint"]

    @property
    def report(self) -> Path:
        """The folder of what is for people; of the others, no file need be here."""
        self._bring(name for name in self.manifest["files"] if name.startswith(f"{REPORT}/"))
        return self.path / REPORT

    def _bring(self, names: Iterable[str]) -> None:
        if self.origin is not None:
            self.origin.bring(names)

    @property
    def findings(self) -> list[dict[str, Any]]:
        """The outcomes of the checks that the stage wrote to report/findings.json."""
        path = self.report / FINDINGS
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []

    @property
    def summary(self) -> dict[str, Any]:
        """The counts and figures that the stage wrote to report/summary.json."""
        path = self.report / SUMMARY
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


class ArtifactStore:
    """Artifacts of all assets and collections under one root folder."""

    def __init__(self, root: Path):
        self.root = root

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return str(self.root)

    def folders(self, *below: str) -> list[str]:
        """The names of the folders below one of the store, sorted: of assets, of collections, then of artifacts and trials."""
        place = self.root.joinpath(*below)
        return sorted(path.name for path in place.iterdir() if path.is_dir()) if place.is_dir() else []

    def has(self, asset: str, collection: str) -> bool:
        """Whether there is anything of an asset and a collection; takes the same time however many collections there are."""
        return (self.root / asset / collection).is_dir()

    def find(self, asset: str, collection: str, fingerprint: str) -> Artifact | None:
        """The complete artifact with this fingerprint, or None."""
        folder = self.root / asset / collection / fingerprint
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            intact = manifest["fingerprint"] == fingerprint and all(
                (folder / name).stat().st_size == size for name, size in manifest["files"].items()
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
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
            f"{asset} of collection {collection!r} with the content {digest} is not in {self.place}: "
            "it was deleted, or built in another home"
        )

    def current(self, asset: str, collection: str) -> Artifact:
        """The artifact that was built or reused last, and whose result no blocking check refused.

        Raises:
            MissingArtifactError: there is none; the message says which asset to materialize.
        """
        artifact = self.find_current(asset, collection)
        if artifact is None:
            raise MissingArtifactError(
                f"{asset} of collection {collection!r} is not in {self.place}: materialize it first: "
                f"embed-assets run {collection} --until {asset}"
            )
        return artifact

    def find_current(self, asset: str, collection: str) -> Artifact | None:
        """As current; None: there is none."""
        fingerprint = self.pointer(asset, collection)
        return self.find(asset, collection, fingerprint) if fingerprint else None

    def pointer(self, asset: str, collection: str) -> str | None:
        """The fingerprint of the current artifact, be it damaged or not; None: there never was one."""
        return _read(self.root / asset / collection / CURRENT)

    def latest(self, asset: str, collection: str, inputs: Mapping[str, str]) -> Artifact | None:
        """The newest artifact among those that were built with these digests of inputs."""
        built = self.artifacts(asset, collection)
        found = [artifact for artifact in built if inputs.items() <= artifact.manifest["inputs"].items()]
        return max(found, key=lambda artifact: artifact.manifest["built_at"], default=None)

    def build(
        self,
        asset: str,
        place: str,
        ingredients: Mapping[str, Any],
        write: Callable[[Path, Path], None],
        settle: Callable[[Artifact], bool] = lambda artifact: True,
    ) -> Artifact:
        """Return the artifact made of these ingredients, building it only if it is not there yet.

        Artifacts of other ingredients are built at the same time. Whoever wants the same one waits, and says so.

        Args:
            asset: name of the asset.
            place: name of the collection; for a trial, with its name behind a slash.
            ingredients: all that the content depends on (code version, settings, input digests), as JSON
                values. Their hash is the fingerprint, and the manifest keeps them.
            write: called as write(folder, scratch) with an empty folder for the result and a scratch folder
                that survives a crash, so that a long computation can go on where it stopped.
            settle: whether ``current`` returns the artifact from now on.
        """
        fingerprint = fingerprint_of({"asset": asset, **ingredients})
        parent = self.root / asset / place
        artifact = self.find(asset, place, fingerprint)
        if artifact is None:
            (parent / LOCKS).mkdir(parents=True, exist_ok=True)
            with lock(parent / LOCKS / fingerprint, lambda who: _tell(asset, place, who)):
                artifact = self.find(asset, place, fingerprint)
                if artifact is None:
                    artifact = self._build(asset, parent / fingerprint, ingredients, write)
        if artifact.reused:
            self._reuse(artifact)
        if settle(artifact):
            self._point(artifact)
        return artifact

    def _reuse(self, artifact: Artifact) -> None:
        """Something that was there already is taken; where others could think that nobody needs it, they are told."""

    def _point(self, artifact: Artifact) -> str | None:
        """Let ``current`` return this artifact; returns the fingerprint that it takes the place of, if it is another."""
        pointer = artifact.path.parent / CURRENT
        before = _read(pointer)
        if before == artifact.fingerprint:
            return None
        write_atomically(pointer, artifact.fingerprint)
        return before

    def _build(self, asset: str, folder: Path, ingredients: Mapping[str, Any], write: Callable[[Path, Path], None]) -> Artifact:
        if folder.exists():
            logger.warning("%s is damaged: it is computed again", folder)
        building, scratch = folder.with_suffix(".building"), folder.with_suffix(".scratch")
        shutil.rmtree(building, ignore_errors=True)
        (building / REPORT).mkdir(parents=True)
        scratch.mkdir(exist_ok=True)
        started = time.monotonic()
        try:
            write(building, scratch)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)  # a disk that is full has room again; scratch is for the next run
            raise
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
        for path in files:
            sync(path)
        write_atomically(building / MANIFEST, json.dumps(manifest, indent=2))
        shutil.rmtree(folder, ignore_errors=True)
        building.rename(folder)
        sync(folder.parent)
        shutil.rmtree(scratch)
        return Artifact(folder, manifest)


def _tell(asset: str, place: str, who: str) -> None:
    logger.info("%s of %s: waiting for %s, which computes it", asset, place, who)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
