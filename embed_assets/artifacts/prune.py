"""Which artifacts are still needed, and the removal of all else.

Marking: what is current, what somebody names (production, for one), the last few of each asset, and what all of those
are made of, followed from manifest to manifest by the digests of the inputs. Everything else is swept, together with
folders that a run which died has left. Removal begins with a rename, so whoever looks sees all of a folder or nothing
of it, also when the removal is killed; the next one goes on with what is left.
"""

import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from embed_assets.artifacts.files import is_locked, unused_name
from embed_assets.artifacts.memo import companions
from embed_assets.artifacts.store import CURRENT, LOCKS, MANIFEST, Artifact, ArtifactStore

FINGERPRINT = re.compile(r"[0-9a-f]{32}")
UNFINISHED = (".building", ".scratch")
SWEPT, DAMAGED = ".swept", ".damaged"


@dataclass(frozen=True)
class Removal:
    """Something that is swept.

    Args:
        path: file or folder.
        kind: what it is, in words.
        size: bytes that it takes.
    """

    path: Path
    kind: str
    size: int


@dataclass(frozen=True)
class Shelf:
    """The artifacts of an asset and a place, and what else lies there.

    Args:
        asset: name of the asset.
        place: name of the collection; for a trial, with its name behind a slash.
        folder: where they lie.
    """

    asset: str
    place: str
    folder: Path

    @property
    def collection(self) -> str:
        return self.place.partition("/")[0]

    def fingerprints(self) -> list[str]:
        """The names of the artifacts' folders, be they complete or not."""
        return sorted(path.name for path in self.folder.iterdir() if FINGERPRINT.fullmatch(path.name) and path.is_dir())

    def is_busy(self) -> bool:
        """Whether a process that lives builds one of them."""
        return any(is_locked(path) for path in self.folder.glob(f"{LOCKS}/*")) or any(
            is_locked(path) for path in self.folder.glob("*.lock")
        )


def shelves(store: ArtifactStore, collection: str) -> Iterator[Shelf]:
    """Every place of the store in which artifacts of a collection lie."""
    for asset in store.folders():
        if not store.has(asset, collection):
            continue
        folder = store.root / asset / collection
        yield Shelf(asset, collection, folder)
        for inner in store.folders(asset, collection):
            if not FINGERPRINT.fullmatch(inner.partition(".")[0]) and inner != LOCKS and not is_aside(inner):
                yield Shelf(asset, f"{collection}/{inner}", folder / inner)


def collections_in(store: ArtifactStore) -> list[str]:
    """The collections that have artifacts."""
    return sorted({collection for asset in store.folders() for collection in store.folders(asset)})


def artifacts_to_keep(
    store: ArtifactStore, collection: str, keep: int, named: Collection[Artifact], passed_over: Collection[Path]
) -> set[Path]:
    """The folders of the artifacts of a collection that are needed.

    Args:
        store: the store.
        collection: name of the collection.
        keep: so many of each asset and place stay, the newest ones.
        named: artifacts that are needed for another reason.
        passed_over: folders that are not kept for being new.
    """
    built: dict[str, list[tuple[Shelf, Artifact]]] = {}
    wanted = {artifact.path: artifact for artifact in named}
    for shelf in shelves(store, collection):
        found = list(store.artifacts(shelf.asset, shelf.place))
        for artifact in found:
            built.setdefault(artifact.digest, []).append((shelf, artifact))
        current = store.pointer(shelf.asset, shelf.place)
        newest = sorted((it for it in found if it.path not in passed_over), key=_age, reverse=True)
        wanted |= {it.path: it for it in [*newest[:keep], *(it for it in found if it.fingerprint == current)]}
    kept: set[Path] = set()
    while wanted:
        folder, artifact = wanted.popitem()
        kept.add(folder)
        for above in _made_of(artifact, built, kept | wanted.keys()):
            if above.path not in kept:
                wanted[above.path] = above
    return kept


def _made_of(artifact: Artifact, built: Mapping[str, list[tuple[Shelf, Artifact]]], kept: Collection[Path]) -> Iterator[Artifact]:
    """What an artifact is made of: of several with the same content one that is kept anyway, else the newest."""
    for name, digest in artifact.manifest.get("inputs", {}).items():
        same = [it for shelf, it in built.get(digest, []) if name in (shelf.asset, shelf.place.partition("/")[2])]
        if same and not any(it.path in kept for it in same):
            yield max(same, key=_age)


def _age(artifact: Artifact) -> tuple[str, int]:
    """When it was built; the manifest tells it to the second."""
    built_at, manifest = str(artifact.manifest.get("built_at")), artifact.path / MANIFEST
    return built_at, manifest.stat().st_mtime_ns if artifact.origin is None else 0


def sweepable(store: ArtifactStore, collection: str, kept: Collection[Path], never: Collection[str]) -> Iterator[Removal]:
    """What of a collection is not needed.

    Args:
        store: the store.
        collection: name of the collection, of which nothing is being built.
        kept: folders of the artifacts that are.
        never: assets that are never swept.
    """
    for shelf in shelves(store, collection):
        current = store.pointer(shelf.asset, shelf.place)
        for path in sorted(shelf.folder.iterdir()):
            fingerprint, _, ending = path.name.partition(".")
            if is_aside(path.name):
                yield removal(path, "left from a removal" if path.name.endswith(SWEPT) else "set aside as damaged")
            elif shelf.asset in never or not FINGERPRINT.fullmatch(fingerprint):
                continue
            elif f".{ending}" in UNFINISHED and not is_locked(shelf.folder / LOCKS / fingerprint):
                yield removal(path, "unfinished")
            elif not ending and path not in kept and fingerprint != current:
                yield removal(path, shelf.asset if (path / MANIFEST).is_file() else "damaged")


def removal(path: Path, kind: str) -> Removal:
    """The removal of a file or folder, with its size."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file() and not file.is_symlink()]
    return Removal(path, kind, sum(file.stat().st_size for file in files))


def is_needed_by_now(path: Path) -> bool:
    """Whether a run computes an artifact, or took it for the current one, after it was found to be swept."""
    fingerprint, _, ending = path.name.partition(".")
    if not FINGERPRINT.fullmatch(fingerprint):
        return False
    current = path.parent / CURRENT
    is_current = not ending and current.is_file() and current.read_text(encoding="utf-8") == fingerprint
    return is_current or is_locked(path.parent / LOCKS / fingerprint)


def remove(path: Path) -> None:
    """Take a file or folder away: at once for everybody who looks for it, then from the disk."""
    aside = path if path.name.endswith(SWEPT) else aside_name(path, SWEPT)
    if aside != path:
        path.rename(aside)
    for companion in companions(path):
        companion.unlink(missing_ok=True)
    if aside.is_dir() and not aside.is_symlink():
        shutil.rmtree(aside)
    else:
        aside.unlink()


def aside_name(path: Path, ending: str) -> Path:
    """A hidden name beside a file or folder that is taken out of the way."""
    unused = unused_name(path)
    return unused.with_name(unused.name + ending)


def left_from_removals(folder: Path) -> Iterator[Removal]:
    """What removals that were killed have left in a folder and below it."""
    for path in sorted(folder.rglob(f".*{SWEPT}")):
        yield removal(path, "left from a removal")


def removals_by_kind(removals: Iterable[Removal]) -> dict[str, tuple[int, int]]:
    """Kind → how many, and how many bytes; the largest first."""
    sums: dict[str, tuple[int, int]] = {}
    for it in removals:
        count, size = sums.get(it.kind, (0, 0))
        sums[it.kind] = count + 1, size + it.size
    return dict(sorted(sums.items(), key=lambda item: -item[1][1]))


def is_aside(name: str) -> bool:
    """Whether a file or folder of this name was taken out of the way."""
    return name.startswith(".") and name.endswith((SWEPT, DAMAGED))
