from pathlib import Path
from tempfile import TemporaryDirectory

from dagster import AssetExecutionContext, AutomationCondition, MaterializeResult, asset

from embed_assets.artifacts.store import REPORT
from embed_assets.defs.failures import RETRIES
from embed_assets.defs.names import named
from embed_assets.defs.resources import WorkspaceResource
from embed_assets.defs.stage_asset import pictures_and_texts
from embed_assets.evaluation.stages import BEIR_SCORES
from embed_assets.overview import contradictions, in_production, score_overview
from embed_assets.production.stages import PUBLISHED_INDEX
from embed_assets.reports.overview import overview_figures, write_overview

NAME = "overview"


@asset(
    name=NAME,
    deps=[BEIR_SCORES.name, PUBLISHED_INDEX.name],
    group_name="production",
    kinds={"polars"},
    owners=["team:search"],
    tags={"compute": "cpu", **named(NAME)},
    retry_policy=RETRIES,
    automation_condition=AutomationCondition.any_deps_updated().since_last_handled() & ~AutomationCondition.in_progress(),
)
def overview(context: AssetExecutionContext, workspace: WorkspaceResource) -> MaterializeResult:
    """All collections side by side: what fine-tuning gained by each source of labels, what is in production, what is out of date.

    It looks at what is there now, so nothing of it is kept in the store.
    """
    place = workspace.open()
    names = place.collections()
    scores = score_overview(place, names)
    contrary = contradictions(scores)
    for name in contrary:
        context.log.warning("%s: written questions say the opposite of people", name)
    with TemporaryDirectory() as folder:
        write_overview(Path(folder), scores, [in_production(place, name) for name in names])
        shown = pictures_and_texts(Path(folder) / REPORT)
    return MaterializeResult(metadata=shown | overview_figures(scores) | {"contradictions": len(contrary)})
