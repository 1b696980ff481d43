import dataclasses
import json
import time

from dagster import (
    AssetObservation,
    DagsterRunStatus,
    DefaultSensorStatus,
    RunRequest,
    RunsFilter,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)

from embed_assets.artifacts.workspace import CollectionError, Workspace
from embed_assets.corpus import production_table as source
from embed_assets.defs.corpus.production_table import production_table
from embed_assets.defs.partitions import collections
from embed_assets.defs.resources import WorkspaceResource
from embed_assets.defs.run_collection import EVERYTHING
from embed_assets.production.retraining import Decision, Watch, decide
from embed_assets.settings import Settings, read_settings

REASON_TAG = "embed_assets/reason"
PARTITION_TAG = "dagster/partition"
UNFINISHED = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]


@sensor(
    target=EVERYTHING,
    minimum_interval_seconds=30,
    default_status=DefaultSensorStatus.STOPPED,
    description="Retrains a collection when enough rows of its production table changed and the table came to rest.",
)
def retrain_on_production_change(context: SensorEvaluationContext, workspace: WorkspaceResource) -> SensorResult:
    """Asks for one run of the whole graph for each change of a production table, and records what the table held.

    The cursor holds a Watch for each collection, as JSON.
    """
    place = workspace.open()
    before = {name: Watch(**fields) for name, fields in json.loads(context.cursor or "{}").items()}
    after, requests, observations, reasons = {}, [], [], []
    for collection in place.collections():
        watch = before.get(collection, Watch())
        try:
            settings = read_settings(place, collection)
            if not settings.production.uri:
                continue
            after[collection], decision = _look_at(context, place, collection, settings, watch)
        except Exception as error:  # a broken table of one collection must not stop the others
            context.log.warning("%s: %s", collection, error)
            after[collection], decision = watch, Decision(False, str(error))
        reasons.append(f"{collection}: {decision.reason}")
        if after[collection].observed != watch.observed:
            observations.append(_observation(collection, after[collection].observed, decision))
        if decision.run:
            requests.append(_request(collection, after[collection], decision))
    return SensorResult(
        run_requests=requests,
        asset_events=observations,
        cursor=json.dumps({name: dataclasses.asdict(watch) for name, watch in after.items()}),
        skip_reason=None if requests else "; ".join(reasons) or "no collection has a production table",
    )


def _look_at(
    context: SensorEvaluationContext, place: Workspace, collection: str, settings: Settings, watch: Watch
) -> tuple[Watch, Decision]:
    snapshot = source.look(place, collection, settings.production)
    if not context.instance.has_dynamic_partition(collections.name, collection):
        raise CollectionError("it is not a partition yet: the sensor register_collections adds it")
    change = source.change_since_built(place.store.current("corpus_chunks", collection), snapshot)
    of_collection = RunsFilter(tags={PARTITION_TAG: collection}, statuses=UNFINISHED)
    busy = bool(context.instance.get_runs(of_collection, limit=1))
    return decide(watch, snapshot.digest, change, settings.retraining, time.time(), busy)


def _observation(collection: str, digest: str, decision: Decision) -> AssetObservation:
    return AssetObservation(
        production_table.key,
        partition=collection,
        metadata={"change": decision.reason},
        tags={"dagster/data_version": digest},
    )


def _request(collection: str, watch: Watch, decision: Decision) -> RunRequest:
    # The same content may come back: the time tells this change from an earlier one to the same content.
    return RunRequest(
        run_key=f"{collection} {watch.asked_for} {watch.moved:.0f}",
        partition_key=collection,
        tags={REASON_TAG: f"production table: {decision.reason}"},
    )
