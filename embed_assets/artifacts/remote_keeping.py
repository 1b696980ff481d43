"""What of a store on an object store is still needed, and whether it is what was written.

Other machines may be at work that this one cannot see: what is younger than a day is never swept.
"""

import hashlib
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from embed_assets.artifacts.files import digest_of_hashes
from embed_assets.artifacts.prune import FINGERPRINT, SWEPT, Removal, aside_name, shelves
from embed_assets.artifacts.remote_folder import Listed, RemoteFolder
from embed_assets.artifacts.remote_store import HASHES, RemoteStore, content_of, read_manifest
from embed_assets.artifacts.store import MANIFEST, Artifact
from embed_assets.artifacts.verify import NOT_THE_BYTES, problem_of_manifest

UNSEEN_FOR = timedelta(days=1)  # so long other machines may need what nothing names


@dataclass(frozen=True)
class RemoteRemoval(Removal):
    """Objects that are swept.

    Args:
        names: of the objects below the store's folder; the manifest, without which the others are not seen, comes first.
    """

    names: tuple[str, ...] = ()


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
            stored = [it for it in objects if it.name == f"{name}/{MANIFEST}" or (files and it.name.startswith(files))]
            left = [it for it in objects if it not in stored]
            if stored and path not in kept and fingerprint != current and _is_older(stored, before):
                yield _removal(path, shelf.asset if manifest else "damaged", stored)
            if left and _is_older(left, before):
                yield _removal(path.with_suffix(".unfinished"), "unfinished", left)


def _by_fingerprint(store: RemoteStore, place: str) -> dict[str, list[Listed]]:
    found: dict[str, list[Listed]] = {}
    for it in store.remote.objects(place):
        fingerprint = it.name.removeprefix(f"{place}/").partition("/")[0]
        if FINGERPRINT.fullmatch(fingerprint):
            found.setdefault(fingerprint, []).append(it)
    return found


def _is_older(objects: Collection[Listed], than: datetime) -> bool:
    return max(it.written for it in objects) < than


def _removal(path: Path, kind: str, objects: Collection[Listed]) -> RemoteRemoval:
    names = sorted((it.name for it in objects), key=lambda name: (not name.endswith(f"/{MANIFEST}"), name))
    return RemoteRemoval(path, kind, sum(it.size for it in objects), tuple(names))


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
                yield _removal(here / kind / name, "memo", objects)


def remove_remote(remote: RemoteFolder, removal: RemoteRemoval) -> None:
    """Take objects away, and what this machine has of them."""
    remote.delete(removal.names)
    if removal.path.is_dir():
        aside = aside_name(removal.path, SWEPT)
        removal.path.rename(aside)
        shutil.rmtree(aside)


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
