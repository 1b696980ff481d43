"""Assets and jobs of this package are known by a tag, not by their keys: a code location of others may prefix the keys."""

import functools
import operator

from dagster import AssetKey, AssetSelection, DagsterRun, RepositoryDefinition

NAME_TAG = "embed_assets/name"
PACKAGE_TAG = "embed_assets"
ALL_OF_THIS_PACKAGE = AssetSelection.tag(PACKAGE_TAG, "")


def named(name: str) -> dict[str, str]:
    """The tags that an asset or a job of this package has."""
    return {PACKAGE_TAG: "", NAME_TAG: name}


def select(*names: str) -> AssetSelection:
    """The assets of these names with their checks, whatever their keys are; sources are not in it."""
    return functools.reduce(operator.or_, (AssetSelection.tag(NAME_TAG, name) for name in names))


def key_of(repository: RepositoryDefinition | None, name: str) -> AssetKey:
    """The key of an asset of this package in the code location that it is loaded in.

    Raises:
        LookupError: there is no such asset, or more than one, in the code location, or it was not loaded.
    """
    nodes = repository.asset_graph.asset_nodes if repository is not None else []
    keys = [node.key for node in nodes if node.tags.get(NAME_TAG) == name]
    if len(keys) != 1:
        raise LookupError(f"{len(keys)} assets of the code location have the tag {NAME_TAG}: {name}, instead of one")
    return keys[0]


def is_ours(run: DagsterRun, repository: RepositoryDefinition) -> bool:
    """Whether a run is of an asset or a job of this package; a code location of others has runs of its own."""
    if NAME_TAG in run.tags:
        return True
    keys = run.asset_selection or repository.get_job(run.job_name).asset_layer.selected_asset_keys
    graph = repository.asset_graph
    return any(NAME_TAG in graph.get(key).tags for key in keys if graph.has(key))
