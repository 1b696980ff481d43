"""The code location: whatever the modules of ``embed_assets.defs`` define at their top level."""

import warnings
from pathlib import Path
from typing import Any

from dagster import ComponentTree, Definitions, PreviewWarning, SourceAsset

import embed_assets.defs
from embed_assets.defs.executor import held_runs
from embed_assets.defs.resources import GPU, WORKSPACE, GpuResource, WorkspaceResource

# What Dagster itself calls to load a folder of definitions.
warnings.filterwarnings("ignore", message="Function `load_definitions_from_modules?`", category=PreviewWarning)


def load_graph(key_prefix: str | list[str] | None = None) -> Definitions:
    """Assets, checks, jobs, sensors and schedules, without executor and resources, for code locations that have their own.

    As ``dagster.load_from_defs_folder``, but without a look for pyproject.toml, which an installed package has not.

    Args:
        key_prefix: goes in front of the key of each asset, where others have assets of the same names.
    """
    graph = ComponentTree.from_module(embed_assets.defs, project_root=Path(__file__).parents[1]).build_defs()
    return _with_prefix(graph, [key_prefix] if isinstance(key_prefix, str) else key_prefix) if key_prefix else graph


def _with_prefix(graph: Definitions, prefix: list[str]) -> Definitions:
    """The graph with other keys, which Dagster's Definitions.map_asset_specs refuses to change.

    Ops are renamed as ``asset(key_prefix=...)`` names them: a job that holds two of one name cannot be loaded.
    """
    assets: list[Any] = list(graph.assets or [])
    keys = [key for it in assets for key in ([it.key] if isinstance(it, SourceAsset) else it.keys)]
    moved = {key: key.with_prefix(prefix) for key in keys}

    def move(it: Any) -> Any:
        if isinstance(it, SourceAsset):
            return it.with_attributes(key=moved[it.key])
        op = it.op.with_replaced_properties(name="__".join([*prefix, it.op.name]))
        renamed = type(it).dagster_internal_init(**{**it.get_attributes_dict(), "node_def": op})
        return renamed.with_attributes(asset_key_replacements=moved)

    return Definitions(
        assets=[move(it) for it in assets],
        asset_checks=[move(it) for it in graph.asset_checks or []],
        jobs=graph.jobs,
        sensors=graph.sensors,
        schedules=graph.schedules,
    )


defs = Definitions.merge(
    load_graph(),
    Definitions(executor=held_runs, resources={WORKSPACE: WorkspaceResource(), GPU: GpuResource.configured()}),
)
