"""Whether the artifacts are what their manifests say, byte for byte."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from embed_assets.artifacts.files import digest_of_files, fingerprint_of, is_locked, lock
from embed_assets.artifacts.memo import set_aside_if_damaged
from embed_assets.artifacts.prune import DAMAGED, aside_name, shelves
from embed_assets.artifacts.store import LOCKS, MANIFEST, REPORT, ArtifactStore

logger = logging.getLogger(__name__)
# What the store writes into a manifest; all else in it is what the fingerprint was made of.
OF_THE_STORE = ("asset", "collection", "fingerprint", "digest", "built_at", "seconds", "files", "hashes")
NOT_THE_BYTES = "its bytes are not those that were written"


def verify_artifacts(store: ArtifactStore, collection: str) -> Iterator[tuple[Path, str | None]]:
    """Read every artifact of a collection anew, and set aside what is damaged, so that the next run computes it again.

    What is being built at the moment is left alone.

    Yields:
        The folder of an artifact, and what is wrong with it, if anything is.
    """
    for shelf in shelves(store, collection):
        for fingerprint in shelf.fingerprints():
            folder, busy = shelf.folder / fingerprint, shelf.folder / LOCKS / fingerprint
            problem = problem_of(folder, shelf.asset)
            if problem is not None and not is_locked(busy):
                busy.parent.mkdir(exist_ok=True)
                with lock(busy):
                    problem = problem_of(folder, shelf.asset)
                    if problem is not None and folder.is_dir():
                        set_aside(folder, f"{shelf.asset} of {shelf.place}: {problem}")
            yield folder, problem


def problem_of(folder: Path, asset: str) -> str | None:
    """What is wrong with an artifact; None where nothing is."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        sizes, digest = manifest["files"].items(), manifest["digest"]
        for name, size in sizes:
            if not (folder / name).is_file() or (folder / name).stat().st_size != size:
                return f"{name} is missing or has another size"
        if problem := problem_of_manifest(manifest, folder.name, asset):
            return problem
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        return f"{MANIFEST} cannot be read ({type(error).__name__})"
    files = [path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST]
    content = [path for path in files if path.relative_to(folder).parts[0] != REPORT]
    return None if digest_of_files(folder, content, anew=True) == digest else NOT_THE_BYTES


def problem_of_manifest(manifest: dict[str, Any], fingerprint: str, asset: str) -> str | None:
    """What is wrong with what a manifest tells that the artifact was made of."""
    made_of = {name: value for name, value in manifest.items() if name not in OF_THE_STORE}
    if manifest["fingerprint"] != fingerprint or fingerprint_of({"asset": asset, **made_of}) != fingerprint:
        return f"{MANIFEST} does not fit the fingerprint"
    return None


def set_aside(folder: Path, why: str) -> None:
    """Rename an artifact's folder, so that it counts as absent."""
    aside = aside_name(folder, DAMAGED)
    folder.rename(aside)
    logger.warning("%s: set aside as %s; the next run computes it again", why, aside)


def verify_memos(memos: Path) -> Iterator[tuple[Path, str | None]]:
    """Check the database of every memo, and set aside what is damaged; yields as verify_artifacts."""
    for path in sorted(memos.rglob("*.sqlite")):
        yield path, "it is no intact database" if set_aside_if_damaged(path) else None
