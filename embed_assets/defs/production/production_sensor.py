import time

from dagster import (
    AssetKey,
    AssetObservation,
    DagsterInstance,
    DagsterRunStatus,
    DefaultSensorStatus,
    RunRequest,
    RunsFilter,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)
from pydantic import TypeAdapter, ValidationError

from embed_assets.artifacts.secrets import hide_secrets
from embed_assets.artifacts.workspace import CollectionError, Workspace
from embed_assets.corpus import production_table as source
from embed_assets.defs.corpus.production_table import PRODUCTION_TABLE
from embed_assets.defs.names import key_of
from embed_assets.defs.partitions import COLLECTION, PARTITION_TAG
from embed_assets.defs.resources import WorkspaceResource
from embed_assets.defs.run_collection import EVERYTHING
from embed_assets.production.retraining import Decision, Watch, decide
from embed_assets.settings import Settings, read_settings

REASON_TAG = "embed_assets/reason"
RUN_KEY_TAG = "dagster/run_key"
ROOT_RUN_TAG = "dagster/root_run_id"
WATCHES = TypeAdapter(dict[str, Watch])  # fields of a newer version are passed over
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

    A run that failed is asked for again, so many times as the settings say. The cursor holds a Watch for each
    collection, as JSON.
    """
    place = workspace.open()
    unfinished = context.instance.get_runs(RunsFilter(statuses=UNFINISHED))
    busy = {run.tags.get(PARTITION_TAG) for run in unfinished}
    registered = set(context.instance.get_dynamic_partitions(COLLECTION))
    before = _watches(context)
    after, requests, observations, reasons = {}, [], [], []
    for collection in place.collections():
        watch = before.get(collection, Watch())
        try:
            settings = read_settings(place, collection)
            if not settings.production.uri:
                continue
            if collection not in registered:
                raise CollectionError("it is not a partition yet: the sensor register_collections adds it")
            failed_at = _failed_at(context.instance, collection, watch)
            after[collection], decision = _look_at(place, collection, settings, watch, collection in busy, failed_at)
        except Exception as error:  # a broken table of one collection must not stop the others
            context.log.warning("%s: %s", collection, hide_secrets(error))
            after[collection], decision = watch, Decision(False, hide_secrets(error))
        reasons.append(f"{collection}: {decision.reason}")
        if after[collection].observed != watch.observed:
            key = key_of(context.repository_def, PRODUCTION_TABLE)
            observations.append(_observation(key, collection, after[collection].observed, decision))
        if decision.run:
            requests.append(_request(collection, after[collection], decision))
    return SensorResult(
        run_requests=requests,
        asset_events=observations,
        cursor=WATCHES.dump_json(after).decode(),
        skip_reason=None if requests else "; ".join(reasons) or "no collection has a production table",
    )


def _watches(context: SensorEvaluationContext) -> dict[str, Watch]:
    """What the cursor remembers; nothing where it cannot be read, as one that was edited by hand, or by another version."""
    try:
        return WATCHES.validate_json(context.cursor or "{}")
    except ValidationError as error:
        context.log.warning("the cursor cannot be read, and is begun anew: %s", error)
        return {}


def _look_at(
    place: Workspace, collection: str, settings: Settings, watch: Watch, busy: bool, failed_at: float | None
) -> tuple[Watch, Decision]:
    snapshot = source.look(place, collection, settings.production)
    change = source.change_since_built(place.store.current("corpus_chunks", collection), snapshot)
    return decide(watch, snapshot.digest, change, settings.retraining, time.time(), busy, failed_at)


def _failed_at(instance: DagsterInstance, collection: str, watch: Watch) -> float | None:
    """When the run that was asked for last failed; None if it did not, or somebody ran it again with success."""
    asked = RunsFilter(tags={RUN_KEY_TAG: _run_key(collection, watch)})
    records = instance.get_run_records(asked, limit=1) if watch.request else []
    if not records or records[0].dagster_run.status != DagsterRunStatus.FAILURE:
        return None
    again = RunsFilter(tags={ROOT_RUN_TAG: records[0].dagster_run.run_id}, statuses=[DagsterRunStatus.SUCCESS])
    return None if instance.get_runs(again, limit=1) else records[0].end_time or records[0].update_timestamp.timestamp()


def _observation(key: AssetKey, collection: str, digest: str, decision: Decision) -> AssetObservation:
    return AssetObservation(
        key,
        partition=collection,
        metadata={"change": decision.reason},
        tags={"dagster/data_version": digest},
    )


def _request(collection: str, watch: Watch, decision: Decision) -> RunRequest:
    return RunRequest(
        run_key=_run_key(collection, watch),
        partition_key=collection,
        tags={REASON_TAG: f"production table: {decision.reason}"},
    )


def _run_key(collection: str, watch: Watch) -> str:
    return f"{collection} {watch.request}"
