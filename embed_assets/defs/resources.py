"""What the assets need from outside: the folders, and the device."""

import dataclasses
import os
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self

from dagster import ConfigurableResource, DagsterInstance, ResourceDefinition, build_resources
from pydantic import Field, ValidationError

from embed_assets.artifacts.workspace import Workspace, open_workspace
from embed_assets.cluster.ray_cluster import Cluster
from embed_assets.models.hardware import Compute

WORKSPACE, GPU = "workspace", "gpu"
# Names the environment variable that the resource gpu is configured with.
GPU_OPTIONS = "EMBED_ASSETS_GPU"


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
    """Device, dtype, memory, loggers and cluster. Nothing here changes what is computed, so it is not part of any fingerprint."""

    device: str = Field(default="auto", description="cpu, cuda, cuda:1 …; auto takes a GPU if there is one")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="auto is bfloat16 where the hardware has it, float16 on older GPUs"
    )
    batch_size: int = Field(default=64, ge=1, description="texts encoded at once")
    mini_batch_tokens: int = Field(default=0, ge=0, description="overrides training.mini_batch_tokens where memory is short")
    memory_share: float = Field(default=0.85, gt=0, le=1, description="share of the GPU's memory for the language model")
    processes: int = Field(default=1, ge=1, description="GPUs that train, encode and re-rank together, each in a process")
    sharded: bool = Field(
        default=False,
        description="divide weights, gradients and optimizer states over the processes (FSDP), where one GPU has no room",
    )
    loggers: list[str] = Field(
        default=["tensorboard"],
        description="where the loss curve also goes: tensorboard, mlflow, wandb; keys come from their own environment variables",
    )

    cluster: Literal["none", "ray"] = Field(
        default="none", description="ray: workers on the Ray cluster at $RAY_ADDRESS compute; none: this machine does"
    )
    workers: int = Field(default=1, ge=1, description="how many workers of the cluster compute at once")
    worker_gpus: float = Field(default=1.0, ge=0, description="GPUs of each worker; 0 computes on the CPU")
    worker_cpus: float = Field(default=1.0, gt=0, description="CPU cores of each worker")
    cluster_grows: bool = Field(
        default=False, description="the cluster adds nodes by itself, so workers without room are waited for, not refused"
    )

    def compute(self) -> Compute:
        options = self.model_dump(include={field.name for field in dataclasses.fields(Compute)})
        cluster = Cluster(self.workers, self.worker_gpus, self.worker_cpus, self.cluster_grows) if self.cluster == "ray" else None
        return Compute(**options | {"loggers": tuple(self.loggers), "cluster": cluster})

    @classmethod
    def configured(cls) -> Self:
        """The resource as $EMBED_ASSETS_GPU says: settings with their values, as in "cluster=ray workers=4".

        Raises:
            ValueError: it names no setting of the resource, or a value that does not do.
        """
        return cls(**options_of_environment())


def options_of_environment() -> dict[str, Any]:
    """What $EMBED_ASSETS_GPU says, as read_options reads it."""
    try:
        return read_options(os.environ.get(GPU_OPTIONS, "").split())
    except ValueError as error:
        raise ValueError(f"${GPU_OPTIONS}: {error}") from None


def read_options(options: Iterable[str]) -> dict[str, Any]:
    """Settings of the resource gpu from words such as "workers=4"; loggers are separated by commas.

    Raises:
        ValueError: a word names no setting of the resource, or a value that does not do.
    """
    found: dict[str, Any] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or name not in GpuResource.model_fields:
            raise ValueError(f"{option!r}: the settings of the resource 'gpu' are {', '.join(GpuResource.model_fields)}")
        found[name] = [it for it in value.split(",") if it] if name == "loggers" else value
    try:
        resource = GpuResource(**found)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{first['loc'][0]}={first['input']}: {first['msg']}") from None
    return resource.model_dump(include=set(found))
