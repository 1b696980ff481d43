"""The job of a whole collection; what is built only if somebody asks for it is not in it."""

from dagster import define_asset_job

from embed_assets.defs.names import select
from embed_assets.defs.partitions import collections
from embed_assets.graph import DEFAULT_STAGES

EVERYTHING = select(*DEFAULT_STAGES)
run_collection = define_asset_job(
    "run_collection",
    selection=EVERYTHING,
    partitions_def=collections,
    description="From the documents of a collection to its scores and, if they are better, to the published index.",
)
