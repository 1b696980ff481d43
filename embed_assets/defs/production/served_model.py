from contextlib import suppress

import polars as pl
from dagster import AssetCheckExecutionContext, AssetCheckResult, AssetCheckSeverity, MetadataValue, asset_check

from embed_assets.artifacts.store import MissingArtifactError
from embed_assets.artifacts.workspace import Workspace
from embed_assets.defs.partitions import collections
from embed_assets.defs.resources import WorkspaceResource
from embed_assets.evaluation.dev_set import read_dev_set
from embed_assets.lineage import open_published
from embed_assets.production.checks import LEAST_SERVED_COSINE
from embed_assets.production.published_index import PublishingError
from embed_assets.production.serving import ServingError, check_served_model
from embed_assets.production.stages import PUBLISHED_INDEX
from embed_assets.reports.writing import inert, markdown_table

ENDPOINT_AGREES = "endpoint_agrees"


@asset_check(
    asset=PUBLISHED_INDEX.name,
    name=ENDPOINT_AGREES,
    partitions_def=collections,
    description=f"The endpoint in the settings serves the model in production: cosines of at least {LEAST_SERVED_COSINE}, and "
    "the same metrics on the dev queries.",
)
def endpoint_agrees(context: AssetCheckExecutionContext, workspace: WorkspaceResource) -> AssetCheckResult:
    """Whether the endpoint in the settings serves the model in production."""
    place, dev = workspace.open(), None
    try:
        published = open_published(place, context.partition_key)
        if not published.settings.endpoint_url:  # before anything is read: it may lie on an object store
            return AssetCheckResult(passed=True, description="no endpoint is set: publishing.endpoint_url is empty")
        queries = _texts(place, "evaluation_set", context.partition_key, "queries", "query")
        passages = _texts(place, "corpus_chunks", context.partition_key, "chunks", "passage")
        with suppress(MissingArtifactError):  # where nothing was trained
            dev = read_dev_set(place.store.current("triplets", context.partition_key).folder)
        found = check_served_model(published, queries, passages, dev)
    except (ServingError, PublishingError, MissingArtifactError) as error:
        return AssetCheckResult(passed=False, description=inert(str(error)), severity=AssetCheckSeverity.ERROR)
    differs = found.metrics.filter(~pl.col("agrees"))["metric"].to_list()
    passed = found.least >= LEAST_SERVED_COSINE and not differs
    words = f"least cosine {found.least:.5f}, mean {found.mean:.5f} on {found.texts} texts"
    if differs:
        words += f"; it scores otherwise by {', '.join(differs)}"
    if not passed:
        words += ": the endpoint serves another model: start it anew with the one in production"
    return AssetCheckResult(
        passed=passed,
        description=inert(words),
        severity=AssetCheckSeverity.ERROR,
        metadata={
            "least_cosine": found.least,
            "mean_cosine": found.mean,
            "metrics": MetadataValue.md(markdown_table(found.metrics)),
        },
    )


def _texts(workspace: Workspace, asset: str, collection: str, table: str, column: str) -> pl.Series:
    folder = workspace.store.current(asset, collection).folder
    return pl.read_parquet(folder / f"{table}.parquet", columns=[column])[column]
