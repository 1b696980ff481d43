"""What of a home is still needed, asked of all rooms, and the removal of the rest."""

import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

from embed_assets.artifacts.files import digest_of_hashes, lock
from embed_assets.artifacts.memo import lock_of
from embed_assets.artifacts.prune import (
    FINGERPRINT,
    Removal,
    Shelf,
    artifacts_to_keep,
    collections_in,
    is_needed_by_now,
    left_from_removals,
    removal,
    remove,
    shelves,
    sweepable,
)
from embed_assets.artifacts.remote_folder import RemoteFolder
from embed_assets.artifacts.remote_keeping import RemoteRemoval, all_of_remote, remove_remote, sweepable_memos, sweepable_remote
from embed_assets.artifacts.remote_store import HASHES, RemoteStore
from embed_assets.artifacts.secrets import hide_secrets
from embed_assets.artifacts.store import Artifact, ArtifactStore
from embed_assets.artifacts.workspace import MEMOS, Workspace
from embed_assets.evaluation.stages import HELD_OUT_QUERIES
from embed_assets.lineage import open_published
from embed_assets.models.locations import ModelNotFoundError, model_digest
from embed_assets.production.keeping import needed_by_production, once_published, orphan_tables, tables_of_gone
from embed_assets.production.published import Published
from embed_assets.production.stages import PUBLISHED_INDEX
from embed_assets.settings import models_of, read_settings
from embed_assets.sweep.stages import TRIAL
from embed_assets.sweep.weights import weights_of_trials
from embed_assets.training.stages import CHECKPOINT

KEEP = 2
GONE = "its folder is gone, but not its results, nor its index if it was published"
# Test queries are drawn once; the verdicts, which are small, tell that something was published once.
NEVER = (HELD_OUT_QUERIES, PUBLISHED_INDEX.name)
MEMOS_OF_MODELS = ("embeddings", "rerankings", "late_interactions", "models")


@dataclass
class Pruned:
    """What was swept, or would be.

    Args:
        removals: files and folders.
        tables: LanceDB tables, as database and name.
        left_alone: what was not looked at, and why, in words.
    """

    removals: list[Removal] = field(default_factory=list)
    tables: list[tuple[str, str]] = field(default_factory=list)
    left_alone: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes of the files and folders."""
        return sum(it.size for it in self.removals)


class BusyError(RuntimeError):
    """Something is being computed."""


def prune(workspace: Workspace, collections: Collection[str] = (), keep: int = KEEP, dry_run: bool = False) -> Pruned:
    """Sweep what is neither current, nor named by production, nor among the newest, nor what those are made of.

    The frozen test queries stay. Of trials only the best few keep their weights. A collection of which something is
    being computed, or whose settings or production cannot be read, is left alone.

    Args:
        workspace: settings and home.
        collections: names of collections; without any, all, and memos and logs as well.
        keep: so many of each asset stay, the newest ones.
        dry_run: only tell what would be swept.
    """
    pruned = Pruned()
    if not workspace.home.is_dir():
        if not workspace.remote:
            return pruned
        workspace.home.mkdir(parents=True, exist_ok=True)
    with lock(workspace.home / "prune.lock"):
        for collection in collections or collections_in(workspace.store):
            try:
                if workspace.is_gone(collection):
                    pruned.left_alone.append(
                        f"{collection}: {GONE}: 'embed-assets prune {collection} --gone' removes what is left"
                    )
                    continue
                _prune_collection(workspace, collection, keep, dry_run, pruned)
            except Exception as error:  # what cannot be read of one collection must not stop the others
                pruned.left_alone.append(f"{collection}: {hide_secrets(error)}")
        if not collections:
            _prune_memos(workspace, dry_run, pruned)
    return pruned


def _prune_collection(workspace: Workspace, collection: str, keep: int, dry_run: bool, pruned: Pruned) -> None:
    store = workspace.store
    published = Published(workspace, collection, read_settings(workspace, collection).publishing)
    places = list(shelves(store, collection))
    _refuse_busy(places)
    found = {it.place.partition("/")[2]: store.find_current(it.asset, it.place) for it in places if it.asset == TRIAL.name}
    trials = {name: trial for name, trial in found.items() if trial is not None}
    best, of_trials = weights_of_trials(trials, store.artifacts(CHECKPOINT.name, collection))
    kept = artifacts_to_keep(store, collection, keep, [*needed_by_production(published), *best], of_trials)
    removals = list(_sweepable(store, collection, kept))
    gone = {it.path for it in removals}
    removals += [removal(path, "log") for path in _logs(workspace, collection) if _is_gone(workspace, path, kept, gone)]
    tables = orphan_tables(published)
    if not dry_run:
        removals = [it for it in removals if _remove(store, it)]
    pruned.removals += removals
    if tables and not dry_run:
        tables = _drop_orphans(published)
    pruned.tables += [(published.index.uri, table) for table in tables]


def remove_gone(workspace: Workspace, collections: Collection[str], dry_run: bool = False) -> Pruned:
    """Remove all that is left of collections whose folders are gone: results, test queries, logs, and the published index.

    Args:
        workspace: home, and databases.
        collections: their names; one whose folder is there, or whose index is that of another one by now, is left alone.
        dry_run: only tell what would be removed.
    """
    pruned = Pruned()
    with lock(workspace.home / "prune.lock"):
        for collection in collections:
            try:
                _remove_gone(workspace, collection, dry_run, pruned)
            except Exception as error:  # one collection must not stop the others
                pruned.left_alone.append(f"{collection}: {hide_secrets(error)}")
    return pruned


def _remove_gone(workspace: Workspace, collection: str, dry_run: bool, pruned: Pruned) -> None:
    store = workspace.store
    if not workspace.is_gone(collection):
        raise BusyError(f"its folder is there, in {workspace.data_address}: remove that first")
    _refuse_busy(shelves(store, collection))
    others = [it for name in workspace.collections() if (it := open_published(workspace, name)).settings.uri]
    tables = {it.index: tables_of_gone(it, others) for it in once_published(workspace, collection)}
    here = [removal(folder, folder.parent.name) for folder in sorted(store.root.glob(f"*/{collection}"))]
    left = [*(all_of_remote(store, collection) if isinstance(store, RemoteStore) else ()), *here]
    left.sort(key=lambda it: it.kind == PUBLISHED_INDEX.name)  # which tells where the index is
    beside = [*workspace.logs.glob(f"*/{collection}"), *workspace.memos.glob(f"production/{collection}.parquet")]
    left += [removal(path, "log or snapshot") for path in sorted(beside)]
    for index, names in tables.items():
        for name in names if not dry_run else ():
            index.drop(name)
        pruned.tables += [(index.uri, name) for name in names]
    for it in left if not dry_run else ():
        if isinstance(it, RemoteRemoval) and isinstance(store, RemoteStore):
            remove_remote(store.remote, it)
        elif it.path.is_dir():
            shutil.rmtree(it.path)
        else:
            it.path.unlink(missing_ok=True)
    pruned.removals += left


def _refuse_busy(places: Iterable[Shelf]) -> None:
    if busy := [shelf.asset for shelf in places if shelf.is_busy()]:
        raise BusyError(f"{busy[0]} is being computed")


def _drop_orphans(published: Published) -> list[str]:
    """Drop the tables that no pointer names; returns them. A publisher that came meanwhile may be writing one of them."""

    def refuse(who: str) -> None:
        raise BusyError(f"its index is being written ({who})")

    with lock(published.lock_file, refuse):
        tables = orphan_tables(published)
        for table in tables:
            published.index.drop(table)
    return tables


def _sweepable(store: ArtifactStore, collection: str, kept: Collection[Path]) -> Iterator[Removal]:
    if not isinstance(store, RemoteStore):
        yield from sweepable(store, collection, kept, never=NEVER)
        return
    yield from sweepable_remote(store, collection, kept, never=NEVER)
    # What this machine has of them leaves it by itself, but for what a killed run has left.
    here = ArtifactStore(store.root)
    copies = {shelf.folder / name for shelf in shelves(here, collection) for name in shelf.fingerprints()}
    yield from sweepable(here, collection, copies, never=NEVER)


def _remove(store: ArtifactStore, it: Removal) -> bool:
    """Returns whether it is gone: a run may need it by now."""
    if isinstance(store, RemoteStore) and isinstance(it, RemoteRemoval):
        return remove_remote(store.remote, it)
    if is_needed_by_now(it.path):
        return False
    remove(it.path)
    return True


def _logs(workspace: Workspace, collection: str) -> Iterator[Path]:
    """The folders of logs of single artifacts."""
    for path in sorted(workspace.logs.glob(f"*/{collection}/*")):
        if FINGERPRINT.fullmatch(path.name):
            yield path


def _is_gone(workspace: Workspace, log: Path, kept: Collection[Path], gone: Collection[Path]) -> bool:
    """Whether nothing is left of what a log tells of."""
    artifact = workspace.store.root / log.relative_to(workspace.logs)
    places = (artifact, artifact.with_suffix(".scratch"))
    return not any(path in kept or (path.exists() and path not in gone) for path in places)


def _prune_memos(workspace: Workspace, dry_run: bool, pruned: Pruned) -> None:
    """Sweep what memos keep of models that are neither in the store nor in the settings.

    Memos of models of a hub go by their names, and stay: such a model is never gone.
    """
    left = list(left_from_removals(workspace.memos)) + list(left_from_removals(workspace.logs))
    found = [path for kind in MEMOS_OF_MODELS for path in sorted((workspace.memos / kind).glob("*")) if _is_of_files(path)]
    tables: list[RemoteRemoval] = []
    memos = RemoteFolder(workspace.remote).below(MEMOS) if workspace.remote else None
    try:
        known = _known_models(workspace, {it.path for it in pruned.removals}) if found or memos else set()
        if memos:
            tables = list(sweepable_memos(memos, workspace.memos, MEMOS_OF_MODELS, known))
    except Exception as error:
        pruned.left_alone.append(f"memos: {hide_secrets(error)}")
        found = []
    removals = [removal(path, "memo") for path in found if path.name.partition(".")[0] not in known]
    removals += [removal(path, "set aside as damaged") for path in sorted(workspace.memos.rglob("*.sqlite.damaged"))]
    if not dry_run:
        for it in [*left, *removals]:
            with lock(lock_of(it.path)) if it.path.suffix == ".sqlite" else nullcontext():
                remove(it.path)
        if memos:
            tables = [table for table in tables if remove_remote(memos, table)]
    pruned.removals += [*left, *removals, *tables]


def _is_of_files(path: Path) -> bool:
    """Whether a memo is of a model that is known by a hash of its files."""
    return FINGERPRINT.fullmatch(path.name.removesuffix(".sqlite")) is not None


def _known_models(workspace: Workspace, gone: Collection[Path]) -> set[str]:
    """The digests of all models of the store and of the settings.

    Raises:
        BusyError: something is being computed, maybe with a model that is nowhere else yet.
        CollectionError, SettingsError: the settings of a collection cannot be read.
    """
    known: set[str] = set()
    for collection in collections_in(workspace.store):
        for shelf in shelves(workspace.store, collection):
            if shelf.is_busy():
                raise BusyError(f"{shelf.asset} of {collection} is being computed")
            for artifact in workspace.store.artifacts(shelf.asset, shelf.place):
                if artifact.path not in gone:
                    known |= _models_of(artifact)
    for collection in workspace.collections():
        for model in models_of(read_settings(workspace, collection)):
            with suppress(ModelNotFoundError):
                known.add(model_digest(model.name, model.revision))
    return known


def _models_of(artifact: Artifact) -> set[str]:
    """The digests of the models that an artifact was made with, and of the one that it holds."""
    made_with = {str(digest) for digest in artifact.manifest.get("sources", {}).values()}
    if (hashes := artifact.manifest.get(HASHES)) is not None:
        model = {name.removeprefix("model/"): digest for name, digest in hashes.items() if name.startswith("model/")}
        return made_with | ({digest_of_hashes(model)} if model else set())
    folder = artifact.folder / "model"
    return made_with | ({model_digest(str(folder))} if folder.is_dir() else set())
