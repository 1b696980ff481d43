"""What production needs of a store and a database, and what no pointer names any more."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from embed_assets.artifacts.remote_keeping import UNSEEN_FOR
from embed_assets.artifacts.store import Artifact, MissingArtifactError
from embed_assets.artifacts.workspace import Workspace
from embed_assets.corpus.production_rows import open_database
from embed_assets.production.gate import read_verdict
from embed_assets.production.published import Published
from embed_assets.production.published_index import PublishingError
from embed_assets.production.settings import PublishingSettings

OF_A_TABLE = {"model": "checkpoint", "chunks": "corpus_chunks", "evaluation_set": "evaluation_set"}


def needed_by_production(published: Published) -> Iterator[Artifact]:
    """The artifacts of the index in production and of those that a rollback brings back, their ONNX exports too.

    Raises:
        PublishingError: a model was let through, but no index is there: the database may be away, and come back.
    """
    if not published.settings.uri:
        return
    index, store = published.index, published.workspace.store
    pointer = index.pointer()
    verdicts = store.artifacts("published_index", published.collection)
    if not pointer.current and any(read_verdict(artifact).better for artifact in verdicts):
        raise PublishingError(f"nothing is published in {index.uri}, though a model was to be: is the database there?")
    for name in pointer.tables:
        metadata = index.metadata(name)
        for key in ("checkpoint", "took_the_place_of"):
            if found := store.find("checkpoint", published.collection, str(metadata.get(key))):
                yield found
        for key, asset in OF_A_TABLE.items():
            try:
                yield store.find_content(asset, published.collection, metadata[key])
            except (KeyError, MissingArtifactError):
                continue
        if metadata and (exported := published.exported_model(metadata)) is not None:
            yield exported


def once_published(workspace: Workspace, collection: str) -> list[Published]:
    """Where a collection was published, as its verdicts tell; its settings may be gone."""
    found = {}
    for verdict in workspace.store.artifacts("published_index", collection):
        settings = PublishingSettings.model_validate(verdict.manifest["settings"].get("publishing", {}), strict=False)
        if settings.uri:
            found[settings.uri, settings.table] = Published(workspace, collection, settings)
    return list(found.values())


def tables_of_gone(published: Published, others: Iterable[Published]) -> list[str]:
    """All tables of the index of a collection whose folder is gone, the pointer first.

    Args:
        published: the index.
        others: those of the collections that there are.

    Raises:
        CollectionError: the database is not there.
        PublishingError: readers of another collection, or of another home, are led to one of the tables, or may be.
    """
    index, ours = published.index, {"publisher": published.workspace.home_id, "collection": published.collection}
    open_database(index.uri)
    pointer = index.pointer()
    tables = [name for name in index.candidates() if ours.items() <= index.metadata(name).items()]
    if not index.in_use(pointer.tables).intersection(tables):
        return tables
    heirs = [it.collection for it in others if (it.index.uri, it.index.name) == (index.uri, index.name)]
    if heirs or pointer.current not in tables:
        raise PublishingError(
            f"the index {index.name!r} in {index.uri} is that of {heirs[0] if heirs else 'another home'} by now, but its readers "
            "get what was published before, or a rollback would: two newer ones take its place"
        )
    return [index.pointer_name, *tables]


def orphan_tables(published: Published) -> list[str]:
    """Tables of the published index that this home wrote and that no pointer names, such as those of a killed run.

    Where other machines share the home, none that was written to within a day: one of them may be about to publish it.
    """
    if not published.settings.uri:
        return []
    index = published.index
    named = index.in_use(index.pointer().tables)
    others = {name: index.metadata(name) for name in index.candidates() if name not in named}
    home = published.workspace.home_id
    ours = [name for name, metadata in others.items() if metadata.get("publisher") == home and published.owns(metadata)]
    if not published.workspace.remote:
        return ours
    before = datetime.now(UTC) - UNSEEN_FOR
    return [name for name in ours if (written := index.written(name)) is not None and written < before]
