"""What the assets need from outside: the folders, and the device."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

from dagster import ConfigurableResource, DagsterInstance, ResourceDefinition, build_resources
from pydantic import Field

from embed_assets.artifacts.workspace import Workspace, open_workspace
from embed_assets.models.hardware import Compute

WORKSPACE = "workspace"


class WorkspaceResource(ConfigurableResource):
    """The data folder and the home folder."""

    data: str = Field(default="", description="folder with collections/ and settings.yaml; empty: $EMBED_ASSETS_DATA, else data")
    home: str = Field(default="", description="folder of results; empty: $EMBED_ASSETS_HOME, $DAGSTER_HOME, else .dagster_home")

    def open(self) -> Workspace:
        return open_workspace(self.data, self.home)


def configured_workspace(resources: Mapping[str, ResourceDefinition], instance: DagsterInstance) -> Workspace:
    """The workspace that the definitions of a code location are configured with.

    Args:
        resources: of an asset or a job, by key.
        instance: for the resource to be set up with.
    """
    with build_resources({WORKSPACE: resources[WORKSPACE]}, instance) as built:
        return built.workspace.open()


class GpuResource(ConfigurableResource):
    """Device, dtype, memory and loggers. Nothing here changes what is computed, so it is not part of any fingerprint."""

    device: str = Field(default="auto", description="cpu, cuda, cuda:1 …; auto takes a GPU if there is one")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="auto is bfloat16 where the hardware has it, float16 on older GPUs"
    )
    batch_size: int = Field(default=64, ge=1, description="texts encoded at once")
    mini_batch_tokens: int = Field(default=0, ge=0, description="overrides training.mini_batch_tokens where memory is short")
    memory_share: float = Field(default=0.85, gt=0, le=1, description="share of the GPU's memory for the language model")
    processes: int = Field(default=1, ge=1, description="processes that train together, each on a GPU of its own")
    loggers: list[str] = Field(
        default=["tensorboard"],
        description="where the loss curve also goes: tensorboard, mlflow, wandb; keys come from their own environment variables",
    )

    def compute(self) -> Compute:
        options = self.model_dump(include={field.name for field in dataclasses.fields(Compute)})
        return Compute(**options | {"loggers": tuple(self.loggers)})
