"""What of a store on an object store is still needed, and whether it is what was written.

Other machines may be at work that this one cannot see: what was written, or taken for a result once more, within a day is
never swept, and each removal looks once more whether somebody needs it by now.
"""

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from embed_assets.artifacts.files import digest_of_hashes
from embed_assets.artifacts.prune import FINGERPRINT, Removal, remove, shelves
from embed_assets.artifacts.remote_folder import Listed, RemoteFolder
from embed_assets.artifacts.remote_store import HASHES, REUSED, RemoteStore, content_of, read_manifest
from embed_assets.artifacts.store import CURRENT, MANIFEST, Artifact
from embed_assets.artifacts.verify import NOT_THE_BYTES, problem_of_manifest

LONG_AGO = datetime.min.replace(tzinfo=UTC)
UNSEEN_FOR = timedelta(days=1)  # so long other machines may need what nothing names


@dataclass(frozen=True)
class RemoteRemoval(Removal):
    """Objects that are swept.

    Args:
        names: of the objects below the store's folder; the manifest, without which the others are not seen, comes first.
        place: the folder that they are in.
        newest: when the last object in that folder was written.
        current: the object that names the current artifact; empty: they are no artifact.
    """

    names: tuple[str, ...] = ()
    place: str = ""
    newest: datetime = LONG_AGO
    current: str = ""


def sweepable_remote(
    store: RemoteStore, collection: str, kept: Collection[Path], never: Collection[str]
) -> Iterator[RemoteRemoval]:
    """What of a collection is not needed: as prune.sweepable, and nothing that is younger than a day."""
    before = datetime.now(UTC) - UNSEEN_FOR
    for shelf in shelves(store, collection):
        if shelf.asset in never:
            continue
        current = store.pointer(shelf.asset, shelf.place)
        for fingerprint, objects in _by_fingerprint(store, f"{shelf.asset}/{shelf.place}").items():
            path, name = shelf.folder / fingerprint, f"{shelf.asset}/{shelf.place}/{fingerprint}"
            manifest = read_manifest(store.remote.read(f"{name}/{MANIFEST}"), fingerprint)
            files = f"{store.files_of(Artifact(path, manifest))}/" if manifest else ""
            known = (f"{name}/{MANIFEST}", f"{name}/{REUSED}")
            stored = [it for it in objects if it.name in known or (files and it.name.startswith(files))]
            left = [it for it in objects if it not in stored]
            if stored and path not in kept and fingerprint != current and _is_older(stored, before):
                kind = shelf.asset if manifest else "damaged"
                yield _removal(path, kind, name, stored, objects, f"{shelf.asset}/{shelf.place}/{CURRENT}")
            if left and _is_older(left, before):
                yield _removal(path.with_suffix(".unfinished"), "unfinished", name, left, objects)


def all_of_remote(store: RemoteStore, collection: str) -> Iterator[RemoteRemoval]:
    """All that the store has of a collection, asset by asset."""
    for asset in store.folders():
        place = f"{asset}/{collection}"
        if objects := list(store.remote.objects(place)):
            yield _removal(store.root / asset / collection, asset, place, objects, objects)


def _by_fingerprint(store: RemoteStore, place: str) -> dict[str, list[Listed]]:
    found: dict[str, list[Listed]] = {}
    for it in store.remote.objects(place):
        fingerprint = it.name.removeprefix(f"{place}/").partition("/")[0]
        if FINGERPRINT.fullmatch(fingerprint):
            found.setdefault(fingerprint, []).append(it)
    return found


def _is_older(objects: Collection[Listed], than: datetime) -> bool:
    return _newest(objects) < than


def _newest(objects: Collection[Listed]) -> datetime:
    return max((it.written for it in objects), default=LONG_AGO)


def _removal(
    path: Path, kind: str, place: str, gone: Collection[Listed], all_there: Collection[Listed], current: str = ""
) -> RemoteRemoval:
    names = sorted((it.name for it in gone), key=lambda name: (not name.endswith(f"/{MANIFEST}"), name))
    return RemoteRemoval(path, kind, sum(it.size for it in gone), tuple(names), place, _newest(all_there), current)


def sweepable_memos(memos: RemoteFolder, here: Path, kinds: Collection[str], known: Collection[str]) -> Iterator[RemoteRemoval]:
    """The tables of memos of models that are gone, if nobody stored anything in them for a day.

    Args:
        memos: where they are shared.
        here: the folder of memos of this machine.
        kinds: the folders with a table for each model.
        known: digests of the models that there are.
    """
    before = datetime.now(UTC) - UNSEEN_FOR
    for kind in kinds:
        for name in memos.folders(kind):
            digest = name.removesuffix(".lance")
            objects = list(memos.objects(f"{kind}/{name}"))
            if FINGERPRINT.fullmatch(digest) and digest not in known and _is_older(objects, before):
                yield _removal(here / kind / name, "memo", f"{kind}/{name}", objects, objects)


def remove_remote(remote: RemoteFolder, removal: RemoteRemoval) -> bool:
    """Take objects away, and what this machine has of them; returns False where somebody needs them by now."""
    if any(it.written > removal.newest for it in remote.objects(removal.place)):
        return False
    current = remote.read(removal.current) if removal.current else None
    if current is not None and current.content.decode(errors="replace") == removal.path.name:
        return False
    remote.delete(removal.names)
    if removal.path.is_dir():
        remove(removal.path)
    return True


def verify_remote(store: RemoteStore, collection: str) -> Iterator[tuple[str, str | None]]:
    """Read every artifact of a collection, and set aside what is damaged; as verify.verify_artifacts.

    Yields:
        The address of an artifact, and what is wrong with it, if anything is.
    """
    for shelf in shelves(store, collection):
        place = f"{shelf.asset}/{shelf.place}"
        for fingerprint, objects in _by_fingerprint(store, place).items():
            name = f"{place}/{fingerprint}"
            if any(it.name == f"{name}/{MANIFEST}" for it in objects):
                manifest = read_manifest(store.remote.read(f"{name}/{MANIFEST}"), fingerprint)
                problem = _problem(store, name, shelf.asset, manifest)
                if problem is not None and not store.set_aside(name, manifest, problem):
                    continue  # it was replaced or removed meanwhile
                yield f"{store.remote.url}/{name}", problem


def _problem(store: RemoteStore, name: str, asset: str, manifest: dict[str, Any] | None) -> str | None:
    if manifest is None:
        return f"{MANIFEST} cannot be read"
    if problem := problem_of_manifest(manifest, manifest["fingerprint"], asset):
        return problem
    if digest_of_hashes(content_of(manifest[HASHES])) != manifest["digest"]:
        return NOT_THE_BYTES
    folder = store.files_of(Artifact(store.root / name, manifest))
    for file, size in manifest["files"].items():
        total = hashlib.sha256()
        try:
            for block in store.remote.blocks(f"{folder}/{file}", size):
                total.update(block)
        except FileNotFoundError:
            return f"{file} is missing"
        if total.hexdigest() != manifest[HASHES][file]:
            return f"{file}: {NOT_THE_BYTES}"
    return None
