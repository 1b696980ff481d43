"""Edits and upgrades propagate by themselves, for each collection.

Settings, prompts, documents and human labels are files, of which Dagster knows nothing, and Dagster's
own conditions miss changes of partitioned assets: ``eager()`` ignores a new code version, and
``code_version_changed()`` asks for partitions that were never built. So one condition asks the artifact
store: is the partition made of what there is now?
"""

import functools
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from dagster import (
    AutomationCondition,
    AutomationConditionSensorDefinition,
    AutomationContext,
    AutomationResult,
    BetaWarning,
    DagsterInstance,
    DefaultSensorStatus,
    ResourceDefinition,
)

from embed_assets.artifacts.secrets import hide_secrets
from embed_assets.defs.names import ALL_OF_THIS_PACKAGE, NAME_TAG, select
from embed_assets.defs.partitions import collections
from embed_assets.defs.resources import WORKSPACE, configured_workspace
from embed_assets.graph import STAGES
from embed_assets.lineage import out_of_date


@dataclass(frozen=True)
class IngredientsChanged(AutomationCondition):
    """True for partitions that became out of date since the last look.

    An asset below one that is out of date is asked for in the same run; there, the store skips what
    turns out to be the same. The condition fires once for each change, so that a failing run is not
    started again and again: retry it from the UI, or with the next edit. Partitions that were never
    built are left to ``on_missing``.
    """

    @property
    def name(self) -> str:
        return "ingredients_changed"

    @property
    def requires_cursor(self) -> bool:
        return True

    def evaluate(self, context: AutomationContext) -> AutomationResult:
        asset = context.asset_graph.get(context.key).tags[NAME_TAG]
        seen: dict[str, str] = json.loads(context.cursor or "{}")
        tokens: dict[str, str] = {}
        view = context.asset_graph_view
        resource = context.asset_graph.get(context.key).assets_def.resource_defs[WORKSPACE]
        look = _looks_of(resource, view.instance, view.effective_dt)
        for collection in context.candidate_subset.expensively_compute_partition_keys():
            try:
                token = look(collection).get(asset)
            except Exception as error:  # an unreadable setting of one collection must not stop the others
                context.log.warning("%s of %s: %s", asset, collection, hide_secrets(error))
                token = seen.get(collection)
            if token is not None:
                tokens[collection] = token
        changed = {collection for collection, token in tokens.items() if seen.get(collection) != token}
        subset = view.get_subset_from_partition_keys(context.key, context.partitions_def or collections, changed)
        return AutomationResult(context, subset, cursor=json.dumps(tokens, sort_keys=True))


@functools.lru_cache(maxsize=2)
def _looks_of(resource: ResourceDefinition, instance: DagsterInstance, tick: datetime) -> Callable[[str], dict[str, str]]:
    """What is out of date of a collection in the workspace of the code location; looked up once in a tick, for all assets."""
    place = configured_workspace({WORKSPACE: resource}, instance)
    return functools.cache(functools.partial(out_of_date, place))


def automation_condition(optional: bool = False) -> AutomationCondition:
    """What every asset of the graph has: new collections are built, but for optional assets, changed ones are built again."""
    changed = IngredientsChanged().since_last_handled() & ~AutomationCondition.in_progress()
    if optional:
        return changed
    # Collections with files have no production table, so it must not be waited for.
    return AutomationCondition.on_missing().allow(select(*STAGES)) | changed


# The condition above reads files, so it has to run in the code location, which Dagster calls a beta feature.
warnings.filterwarnings("ignore", message=".*use_user_code_server.*", category=BetaWarning)
automation_sensor = AutomationConditionSensorDefinition(
    "propagate_changes",
    target=ALL_OF_THIS_PACKAGE,
    default_status=DefaultSensorStatus.STOPPED,
    minimum_interval_seconds=30,
    use_user_code_server=True,
    description="Builds new collections, and builds again what an edit or an upgrade made out of date.",
)
