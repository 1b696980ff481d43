"""An artifact store that is kept in an object store, for steps on more than one machine.

It has the layout of the local one, but for a level: the files of ``<asset>/<collection>/<fingerprint>/`` lie in a folder that
is named by a hash of their bytes, so two machines that build the same never write into one another's files. The manifest
is written last, and only if there is none: whoever is first has built the artifact, and the other one takes that. Of an
upload that was interrupted, nothing is seen.

Files are fetched when a step asks for them, into a folder of this machine that has the layout of a local store, and compared
with their hashes. What was not used for longest leaves it when it grows too large.
"""

import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from embed_assets.artifacts.files import (
    digest_of_hashes,
    digests_of_files,
    fingerprint_of,
    is_below,
    lock,
    unused_name,
    write_atomically,
)
from embed_assets.artifacts.local_copies import lock_file, make_room, use
from embed_assets.artifacts.memo import send_memos
from embed_assets.artifacts.prune import remove
from embed_assets.artifacts.remote_folder import RemoteError, RemoteFolder, Stored, share
from embed_assets.artifacts.store import CURRENT, MANIFEST, REPORT, Artifact, ArtifactStore

logger = logging.getLogger(__name__)
HASHES = "hashes"
REUSED, MARKED_AFTER = "reused", timedelta(hours=6)
SCRATCH = "scratch"  # what a step keeps there until its result is stored
FILES_AT_ONCE = 4
LISTINGS_AT_ONCE = 16
_one_at_a_time = threading.RLock()
Given = TypeVar("Given")
Got = TypeVar("Got")


class DamagedArtifactError(RemoteError):
    """What was fetched is not what was stored; it counts as absent from now on."""


@dataclass(frozen=True)
class Kept:
    """Where the files of an artifact are kept.

    Args:
        store: knows how to get them.
        artifact: what they belong to, with a path on this machine.
    """

    store: "RemoteStore"
    artifact: Artifact

    @property
    def address(self) -> str:
        return f"{self.store.remote.url}/{self.store.files_of(self.artifact)}"

    def bring(self, names: Iterable[str]) -> None:
        self.store.fetch(self.artifact, list(names))


class RemoteStore(ArtifactStore):
    """Artifacts in an object store.

    Args:
        root: folder of this machine where they are built, and kept while they are used.
        remote: where they are kept.
    """

    def __init__(self, root: Path, remote: RemoteFolder):
        super().__init__(root)
        self.remote = remote

    @property
    def place(self) -> str:
        return self.remote.url

    def folders(self, *below: str) -> list[str]:
        return list(self.remote.folders("/".join(below)))

    def has(self, asset: str, collection: str) -> bool:
        return next(self.remote.objects(f"{asset}/{collection}"), None) is not None

    def find(self, asset: str, collection: str, fingerprint: str) -> Artifact | None:
        manifest = read_manifest(self.remote.read(f"{asset}/{collection}/{fingerprint}/{MANIFEST}"), fingerprint)
        if manifest is None:
            return None
        artifact = self._artifact(asset, collection, manifest)
        if self._is_here(artifact, manifest["files"]):
            return artifact
        sizes = {it.name: it.size for it in self.remote.objects(self.files_of(artifact))}
        return artifact if self._is_whole(artifact, sizes) else None

    def artifacts(self, asset: str, collection: str) -> Iterator[Artifact]:
        sizes = {it.name: it.size for it in self.remote.objects(f"{asset}/{collection}")}
        # The trials of a collection lie one level deeper, and are artifacts of other places.
        depth = f"{asset}/{collection}/{{fingerprint}}/{MANIFEST}".count("/")
        names = [name for name in sizes if name.endswith(f"/{MANIFEST}") and name.count("/") == depth]
        for name, stored in zip(names, _at_once(LISTINGS_AT_ONCE, self.remote.read, names), strict=True):
            manifest = read_manifest(stored, PurePosixPath(name).parent.name)
            if manifest is not None and self._is_whole(artifact := self._artifact(asset, collection, manifest), sizes):
                yield artifact

    def pointer(self, asset: str, collection: str) -> str | None:
        return _text(self.remote.read(f"{asset}/{collection}/{CURRENT}"))

    def files_of(self, artifact: Artifact) -> str:
        """The folder, below the store's, in which the files of an artifact lie."""
        return f"{self._name(artifact)}/{fingerprint_of(artifact.manifest[HASHES])}"

    def fetch(self, artifact: Artifact, names: Sequence[str]) -> None:
        """Have files of an artifact on this machine, with the bytes that they were stored with.

        Raises:
            DamagedArtifactError: they are not there, or are others.
        """
        with _one_at_a_time:
            use(artifact.path)
            if self._is_here(artifact, names):
                return
            with lock(lock_file(artifact.path, "fetch")):
                self._begin(artifact)
                missing = [name for name in names if not self._is_here(artifact, [name])]
                problems = _at_once(FILES_AT_ONCE, partial(self._fetch_file, artifact), missing)
                damaged = [name for name, problem in zip(missing, problems, strict=True) if problem is not None]
                # Once more: a machine that has the bytes may have stored them again meanwhile.
                for problem in (self._fetch_file(artifact, name) for name in damaged):
                    if problem is not None:
                        raise self._damaged(artifact, problem)
        self._make_room()

    def _damaged(self, artifact: Artifact, problem: str) -> DamagedArtifactError:
        if self.set_aside(self._name(artifact), artifact.manifest, problem):
            return DamagedArtifactError(f"{artifact.address}: {problem}: it is set aside, and computed again by the next run")
        return DamagedArtifactError(f"{artifact.address}: {problem}: it was replaced or removed meanwhile: run this again")

    def set_aside(self, name: str, damaged: Mapping[str, Any] | None, why: str) -> bool:
        """Let an artifact count as absent: its manifest gets another name.

        Args:
            name: of its folder, below the store's.
            damaged: the manifest that was found to be wrong; None: one that cannot be read. Any other one stays.
            why: what is wrong, in words.

        Returns:
            Whether it is the one that is there.
        """
        copy = f"{name}/{MANIFEST}.damaged"
        stored = self.remote.read(f"{name}/{MANIFEST}")
        if stored is None or not _is_same(read_manifest(stored, PurePosixPath(name).name), damaged):
            return False
        self.remote.write(copy, stored.content, self.remote.read(copy))
        if self.remote.read(f"{name}/{MANIFEST}") != stored:
            return False
        self.remote.delete([f"{name}/{MANIFEST}"])
        logger.warning("%s/%s: %s: set aside; the next run computes it again", self.remote.url, name, why)
        return True

    def _build(self, asset: str, folder: Path, ingredients: Mapping[str, Any], write: Callable[[Path, Path], None]) -> Artifact:
        place = folder.parent.relative_to(self.root / asset).as_posix()
        use(folder)
        # A killed run has built it, and not stored it to the end; or it was removed there, and is still here.
        built = super().find(asset, place, folder.name)
        if built is None or digest_of_hashes(content_of(self._hashes(built))) != built.digest:
            scratch_there = self.remote.below(f"{asset}/{place}/{folder.name}/{SCRATCH}").url

            def write_shared(building: Path, scratch: Path) -> None:
                share(scratch, scratch_there)
                write(building, scratch)

            built = super()._build(asset, folder, ingredients, write_shared)
        return self._store(asset, place, built, self._hashes(built))

    def _store(self, asset: str, place: str, built: Artifact, hashes: Mapping[str, str]) -> Artifact:
        """Upload what was built, the manifest last; returns what was stored before, where somebody was faster."""
        send_memos()  # whoever sees the result needs nothing that only this machine knows
        manifest = {**{name: it for name, it in built.manifest.items() if name != HASHES}, HASHES: dict(hashes)}
        artifact = self._artifact(asset, place, manifest)
        folder = self.files_of(artifact)
        _at_once(FILES_AT_ONCE, lambda name: self.remote.upload(f"{folder}/{name}", built.path / name), list(hashes))
        text = json.dumps(manifest, indent=2)
        name = f"{self._name(artifact)}/{MANIFEST}"
        before = None
        while not self.remote.write(name, text.encode(), before):
            if (theirs := self.find(asset, place, built.fingerprint)) is not None:
                if theirs.manifest[HASHES] == hashes:
                    break  # some of its files were lost, and are there again
                logger.info("%s of %s was built elsewhere meanwhile: that one is taken", asset, place)
                return theirs
            before = self.remote.read(name)  # it is damaged
        write_atomically(built.path / MANIFEST, text)
        self.remote.delete([it.name for it in self.remote.objects(f"{self._name(artifact)}/{SCRATCH}")])
        self._make_room()
        return Artifact(built.path, manifest, origin=artifact.origin)

    def _reuse(self, artifact: Artifact) -> None:
        """A mark that is as young as the reuse: prune, maybe on another machine, goes by when the last object was written."""
        name = self._name(artifact)
        written = max((it.written for it in self.remote.level(name)[0]), default=None)
        if written is not None and datetime.now(UTC) - written > MARKED_AFTER:
            self.remote.write(f"{name}/{REUSED}", b"", self.remote.read(f"{name}/{REUSED}"))

    def _point(self, artifact: Artifact) -> str | None:
        """Let ``current`` return this artifact; returns the fingerprint that it takes the place of, if it is another.

        Of several who do so at once, each takes the place of the one before: none overwrites what it has not seen.
        """
        name = f"{artifact.path.parent.relative_to(self.root).as_posix()}/{CURRENT}"
        while True:
            before = self.remote.read(name)
            if _text(before) == artifact.fingerprint:
                return None
            if self.remote.write(name, artifact.fingerprint.encode(), before):
                return _text(before)

    def _artifact(self, asset: str, place: str, manifest: dict[str, Any]) -> Artifact:
        bare = Artifact(self.root / asset / place / manifest["fingerprint"], manifest, reused=True)
        return Artifact(bare.path, manifest, reused=True, origin=Kept(self, bare))

    def _name(self, artifact: Artifact) -> str:
        return artifact.path.relative_to(self.root).as_posix()

    def _is_whole(self, artifact: Artifact, sizes: Mapping[str, int]) -> bool:
        folder = self.files_of(artifact)
        return all(sizes.get(f"{folder}/{name}") == size for name, size in artifact.manifest["files"].items())

    def _is_here(self, artifact: Artifact, names: Iterable[str]) -> bool:
        """Whether files of an artifact are on this machine, and of this upload."""
        try:
            here = json.loads((artifact.path / MANIFEST).read_text(encoding="utf-8"))
            sizes = artifact.manifest["files"]
            return here.get(HASHES) == artifact.manifest[HASHES] and all(
                (artifact.path / name).stat().st_size == sizes[name] for name in names
            )
        except (OSError, ValueError, AttributeError):
            return False

    def _begin(self, artifact: Artifact) -> None:
        """Make the folder on this machine, if what is there is not of this upload."""
        if self._is_here(artifact, []):
            return
        if artifact.path.exists():
            remove(artifact.path)
        (artifact.path / REPORT).mkdir(parents=True)
        write_atomically(artifact.path / MANIFEST, json.dumps(artifact.manifest, indent=2))

    def _fetch_file(self, artifact: Artifact, name: str) -> str | None:
        """Returns what is wrong with it, if anything is."""
        path = artifact.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = unused_name(path)
        try:
            size = artifact.manifest["files"][name]
            found = self.remote.download(f"{self.files_of(artifact)}/{name}", temporary, size)
            if found != artifact.manifest[HASHES][name]:
                return f"{name} has not the bytes that were written"
            temporary.replace(path)
        except FileNotFoundError:
            return f"{name} is missing"
        finally:
            temporary.unlink(missing_ok=True)
        return None

    def _hashes(self, built: Artifact) -> dict[str, str]:
        """SHA-256 of each file."""
        return digests_of_files(built.path, (built.path / name for name in built.manifest["files"]))

    def _make_room(self) -> None:
        make_room(self.root, lambda path: self.remote.read(f"{path.relative_to(self.root).as_posix()}/{MANIFEST}") is not None)


def read_manifest(stored: Stored | None, fingerprint: str) -> dict[str, Any] | None:
    """The manifest of an artifact; None where there is none, or a damaged one."""
    if stored is None:
        return None
    try:
        manifest = json.loads(stored.content)
        names = manifest["files"].keys()
        below = all(map(is_below, names))
        usable = below and manifest["fingerprint"] == fingerprint and manifest[HASHES].keys() == names and manifest["digest"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return manifest if usable else None


def _is_same(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    """Whether two manifests, be they readable or not, are of the same upload."""
    return (one and one[HASHES]) == (other and other[HASHES])


def content_of(hashes: Mapping[str, str]) -> dict[str, str]:
    """Those of the files that make up the digest."""
    return {name: it for name, it in hashes.items() if not name.startswith(f"{REPORT}/")}


def _text(stored: Stored | None) -> str | None:
    return stored.content.decode(errors="replace") if stored is not None else None


def _at_once(count: int, work: Callable[[Given], Got], items: Sequence[Given]) -> list[Got]:
    if len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, items))
