from dagster import Config, OpExecutionContext, job, op
from pydantic import Field

from embed_assets.defs.names import named
from embed_assets.defs.partitions import collections
from embed_assets.defs.resources import WorkspaceResource
from embed_assets.settings import read_settings
from embed_assets.sweep import trials


class PromotionConfig(Config):
    """Which trial becomes the collection's checkpoint."""

    trial: str = Field(description="name of the trial, as its partition is called")


@op(description="Writes the settings of a trial into the collection's settings.yaml.")
def write_settings(context: OpExecutionContext, config: PromotionConfig, workspace: WorkspaceResource) -> None:
    """Writes the settings of a trial into the collection's settings.yaml."""
    place = workspace.open()
    training = read_settings(place, context.partition_key).training
    path = trials.promote_trial(place.writable_folder(context.partition_key), training, config.trial)
    context.log.info("%s has the settings of %s: materialize checkpoint and what lies below it", path, config.trial)


@job(
    tags=named("promote_trial"),
    partitions_def=collections,
    description="Makes a trial the checkpoint of its collection: its settings are written, and the next run takes it over.",
)
def promote_trial() -> None:
    """Makes a trial the checkpoint of its collection."""
    write_settings()
