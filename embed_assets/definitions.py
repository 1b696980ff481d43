"""The code location: whatever the modules of ``embed_assets.defs`` define at their top level."""

import warnings
from pathlib import Path

from dagster import ComponentTree, Definitions, PreviewWarning

import embed_assets.defs
from embed_assets.defs.executor import held_runs
from embed_assets.defs.resources import GpuResource, WorkspaceResource

# What Dagster itself calls to load a folder of definitions.
warnings.filterwarnings("ignore", message="Function `load_definitions_from_modules?`", category=PreviewWarning)


def load_graph() -> Definitions:
    """Assets, checks, jobs, sensors and schedules, without executor and resources, for code locations that have their own.

    As ``dagster.load_from_defs_folder``, but without a look for pyproject.toml, which an installed package has not.
    """
    return ComponentTree.from_module(embed_assets.defs, project_root=Path(__file__).parents[1]).build_defs()


defs = Definitions.merge(
    load_graph(),
    Definitions(executor=held_runs, resources={"workspace": WorkspaceResource(), "gpu": GpuResource()}),
)
