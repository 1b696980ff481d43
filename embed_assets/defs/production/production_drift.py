from collections.abc import Callable
from datetime import timedelta

from dagster import (
    AssetCheckKey,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    DefaultScheduleStatus,
    FreshnessPolicy,
    MaterializeResult,
    RunRequest,
    ScheduleEvaluationContext,
    SkipReason,
    asset,
    schedule,
)

from embed_assets.artifacts.checks import Finding
from embed_assets.artifacts.secrets import hide_secrets
from embed_assets.corpus.stages import CORPUS_CHUNKS
from embed_assets.defs.corpus.production_table import PRODUCTION_TABLE
from embed_assets.defs.failures import RETRIES
from embed_assets.defs.names import key_of, named, select
from embed_assets.defs.partitions import COLLECTION, collections
from embed_assets.defs.production.served_model import ENDPOINT_AGREES
from embed_assets.defs.resources import WorkspaceResource
from embed_assets.lineage import resolve
from embed_assets.models.hardware import Compute
from embed_assets.production import drift
from embed_assets.production.checks import DRIFT_CHECKS
from embed_assets.production.published import NOTHING, Published
from embed_assets.production.stages import PUBLISHED_INDEX
from embed_assets.reports.writing import inert
from embed_assets.settings import read_settings

NAME = "production_drift"
# The schedule below looks once a day: it is late after one look that did not come, and out of order after two.
FRESHNESS = FreshnessPolicy.time_window(fail_window=timedelta(hours=50), warn_window=timedelta(hours=26))


@asset(
    name=NAME,
    deps=[PRODUCTION_TABLE, PUBLISHED_INDEX.name],
    partitions_def=collections,
    group_name="production",
    kinds={"lancedb"},
    owners=["team:search"],
    tags={"compute": "cpu", **named(NAME)},
    retry_policy=RETRIES,
    freshness_policy=FRESHNESS,
    check_specs=[
        AssetCheckSpec(name, asset=NAME, description=check.description, partitions_def=collections)
        for name, check in DRIFT_CHECKS.items()
    ],
)
def production_drift(context: AssetExecutionContext, workspace: WorkspaceResource) -> MaterializeResult:
    """A look at production: does the model know what is there now, and does the index find what it found at first?

    It looks at the world outside, so nothing of it is kept in the store.
    """
    place = workspace.open()
    collection = context.partition_key
    settings = read_settings(place, collection)
    published = Published(place, collection, settings.publishing)
    figures: dict[str, float] = {}

    def chunks_covered() -> Finding:
        coverage = drift.measure_coverage(published, drift.texts_now(place, resolve(place, CORPUS_CHUNKS, collection)))
        if coverage is not None:
            figures.update(chunks=coverage.chunks, new_chunks=coverage.new, chunks_without_query=coverage.without_query)
            figures["uncovered_share"] = coverage.uncovered
        return drift.judge_coverage(coverage, settings.drift)

    def score_holds() -> Finding:
        scores = drift.measure_live_scores(published, Compute("cpu"))
        figures.update({f"{score.source}_ndcg_at_10": score.now for score in scores})
        figures.update({f"{score.source}_ndcg_at_10_when_published": score.noted for score in scores})
        return drift.judge_live_scores(scores, settings.drift)

    if not settings.publishing.uri:
        results = [AssetCheckResult(check_name=name, passed=True, description=NOTHING) for name in DRIFT_CHECKS]
    else:
        results = [_result(context, "chunks_covered", chunks_covered), _result(context, "score_holds", score_holds)]
    return MaterializeResult(metadata=figures, check_results=results)


def _result(context: AssetExecutionContext, name: str, look: Callable[[], Finding]) -> AssetCheckResult:
    """What was found; whatever keeps from looking is a finding too."""
    try:
        finding, severity = look(), AssetCheckSeverity.WARN
    except Exception as error:
        context.log.error("%s: %s", context.partition_key, hide_secrets(error))
        finding, severity = Finding(name, False, hide_secrets(error)), AssetCheckSeverity.ERROR
    return AssetCheckResult(check_name=name, passed=finding.passed, description=inert(finding.message), severity=severity)


@schedule(
    cron_schedule="0 5 * * *",
    target=select(NAME, PUBLISHED_INDEX.name),
    default_status=DefaultScheduleStatus.STOPPED,
    description="Looks at production once a day, and at its endpoint, for every collection that publishes an index.",
)
def look_at_production(context: ScheduleEvaluationContext, workspace: WorkspaceResource) -> list[RunRequest] | SkipReason:
    """Asks for production_drift of every collection that publishes an index, and for the check of its endpoint."""
    place = workspace.open()
    registered = context.instance.get_dynamic_partitions(COLLECTION)
    drift_key = key_of(context.repository_def, NAME)
    checked = [AssetCheckKey(drift_key, name) for name in DRIFT_CHECKS]
    checked.append(AssetCheckKey(key_of(context.repository_def, PUBLISHED_INDEX.name), ENDPOINT_AGREES))
    requests = []
    for collection in place.collections():
        try:
            publishes = bool(read_settings(place, collection).publishing.uri)
        except Exception as error:  # unreadable settings of one collection must not stop the others
            context.log.warning("%s: %s", collection, hide_secrets(error))
            continue
        if publishes and collection in registered:
            run_key = f"{collection} {context.scheduled_execution_time.isoformat()}"
            requests.append(RunRequest(run_key, partition_key=collection, asset_selection=[drift_key], asset_check_keys=checked))
    return requests or SkipReason("no collection publishes an index")
