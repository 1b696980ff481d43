"""How a stage becomes an asset: the same for all of them."""

import base64
import logging
import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetsDefinition,
    DagsterRunStatus,
    DataVersion,
    FreshnessPolicy,
    MaterializeResult,
    MetadataValue,
    PartitionsDefinition,
    PreviewWarning,
    TableColumn,
    TableSchema,
    asset,
)

from embed_assets.artifacts.inputs import Inputs
from embed_assets.artifacts.stages import Stage
from embed_assets.artifacts.store import HTML_REPORT, REPORT, Artifact
from embed_assets.artifacts.workspace import Workspace
from embed_assets.corpus.child_processes import end_with_run
from embed_assets.defs.automation import automation_condition
from embed_assets.defs.failures import RETRIES, lasting_errors_end_at_once
from embed_assets.defs.names import named
from embed_assets.defs.partitions import collections
from embed_assets.defs.placement import op_tags
from embed_assets.defs.pools import GPU_POOL
from embed_assets.lineage import resolve
from embed_assets.models.hardware import release_memory
from embed_assets.plan import reasons_of
from embed_assets.reports.columns import description_of
from embed_assets.reports.small_charts import as_markdown
from embed_assets.reports.writing import inert

logger = logging.getLogger(__name__)
# Is set where dagster-ray has placed a step as a job of its own.
PLACED = "DAGSTER_RUN_STEP_KEY"
SECONDS_BETWEEN_LOOKS = 10.0
ENDED = (DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
# Without partitions, the result of one collection would hide that of another; Dagster calls it a preview feature.
warnings.filterwarnings("ignore", message="Specifying a partitions_def on an AssetCheckSpec", category=PreviewWarning)


def stage_asset(
    stage: Stage,
    kinds: set[str],
    gpu: bool = False,
    automatic: bool = True,
    partitions: PartitionsDefinition = collections,
    freshness: FreshnessPolicy | None = None,
) -> Callable[[Callable[..., Any]], AssetsDefinition]:
    """Decorator: an asset with the stage's name, inputs and code version.

    Args:
        stage: the stage.
        kinds: what it is made with, shown as icons.
        gpu: whether it takes a slot of the gpu pool.
        automatic: whether changes propagate to it by themselves; what is only worth its time when asked for does without.
        partitions: one for each collection, unless there is a second dimension.
        freshness: how old the last run may be.
    """
    define = asset(
        name=stage.name,
        deps=[*stage.inputs, *(["production_table"] if "production" in stage.settings else [])],
        partitions_def=partitions,
        code_version=stage.code_version,
        group_name=stage.group,
        kinds=kinds,
        owners=["team:search"],
        tags={"compute": "gpu" if gpu else "cpu", **named(stage.name)},
        pool=GPU_POOL if gpu else None,
        op_tags=op_tags(stage.name, gpu),
        retry_policy=RETRIES,
        freshness_policy=freshness,
        automation_condition=automation_condition(stage.optional) if automatic else None,
        check_specs=[
            AssetCheckSpec(
                name, asset=stage.name, description=check.description, blocking=check.blocking, partitions_def=partitions
            )
            for name, check in stage.checks.items()
        ],
    )
    return lambda body: define(lasting_errors_end_at_once(body))


def materialize_stage(
    context: AssetExecutionContext,
    workspace: Workspace,
    stage: Stage,
    write: Callable[[Path, Path, Inputs], None],
    inputs: Inputs | None = None,
) -> MaterializeResult:
    """Build the stage's artifact for the partition, or take the one that is there.

    Args:
        context: names the partition.
        workspace: settings and store.
        stage: the stage.
        write: called as write(folder, scratch, inputs) to write the artifact; folders as in ArtifactStore.build.
        inputs: what it is made of, if that was resolved before.
    """
    _die_with_run(context)
    started = time.monotonic()
    inputs = inputs or resolve(workspace, stage, context.partition_key)
    reasons = [str(reason) for reason in reasons_of(workspace.store, inputs)]
    artifact = build_stage(workspace, stage, inputs, write)
    release_memory()  # of a process that goes on with other steps
    words = "reused" if artifact.reused else f"computed ({'; '.join(reasons)})"
    context.log.info("%s of %s: %s in %.1f s", stage.name, inputs.place, words, time.monotonic() - started)
    # On the command line nobody sees checks. What ends the run is said each time.
    told = stage.refusals(artifact) if artifact.reused else [it for it in artifact.findings if not it["passed"]]
    for finding in told:
        logger.warning("%s of %s: check %s: %s", stage.name, inputs.place, finding["name"], finding["message"])
    found = {finding["name"]: finding for finding in artifact.findings}
    return MaterializeResult(
        data_version=DataVersion(artifact.digest),
        metadata=metadata_of(artifact) | _computed_because(artifact, reasons),
        check_results=[
            AssetCheckResult(
                check_name=name,
                passed=finding["passed"],
                description=inert(finding["message"]),  # the UI reads it as Markdown, and it may name queries
                severity=AssetCheckSeverity.ERROR if check.error else AssetCheckSeverity.WARN,
            )
            # Dagster wants an outcome of each check, also where a stage had nothing to look at.
            for name, check in stage.checks.items()
            for finding in [found.get(name, {"passed": True, "message": "there was nothing to look at"})]
        ],
    )


def build_stage(
    workspace: Workspace, stage: Stage, inputs: Inputs, write: Callable[[Path, Path, Inputs], None], settle: bool = True
) -> Artifact:
    """The stage's artifact, built of these inputs if it is not there yet.

    It becomes the current one, unless a blocking check refused it; what lies downstream goes on with the one before.

    Args:
        workspace: the store.
        stage: the stage.
        inputs: what it is made of.
        write: as in materialize_stage.
        settle: whether it may become the current one.

    Raises:
        ChangedWhileReadError: a source changed meanwhile, so that nothing was stored.
    """

    def write_and_check(folder: Path, scratch: Path) -> None:
        logger.info("computing %s of %s", stage.name, inputs.place)
        write(folder, scratch, inputs)
        inputs.check_unchanged()
        inputs.write_parts(folder / REPORT)

    def may_settle(artifact: Artifact) -> bool:
        return settle and not stage.refusals(artifact)

    return workspace.store.build(stage.name, inputs.place, inputs.ingredients, write_and_check, may_settle)


def _die_with_run(context: AssetExecutionContext) -> None:
    """Kill this step as soon as the process of its run is gone; on another machine, as soon as the run is known to have ended.

    It would go on computing, beside the run that gets its slot of the gpu pool.
    """

    def follow_status() -> None:
        while (of := context.instance.get_run_by_id(context.run.run_id)) is not None and of.status not in ENDED:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        os.kill(os.getpid(), signal.SIGKILL)

    if multiprocessing.parent_process() is not None:
        end_with_run()
    elif PLACED in os.environ:
        threading.Thread(target=follow_status, daemon=True).start()


def metadata_of(artifact: Artifact) -> dict[str, MetadataValue]:
    """All that is in the artifact's report/ folder, the columns of its main table, and what it was made of.

    Of an artifact that was there already, large charts and texts are left out: the event log has them from when it was built.
    """
    manifest = artifact.manifest
    metadata: dict[str, Any] = small_pictures(artifact.report) | artifact.summary
    metadata["reused"] = artifact.reused
    tables = [pl.scan_parquet(path) for path in artifact.path.glob("*.parquet")]  # none are fetched for this
    if tables:
        widest = max(tables, key=lambda table: len(table.collect_schema()))
        columns = [TableColumn(name, str(dtype), description_of(name)) for name, dtype in widest.collect_schema().items()]
        metadata["dagster/column_schema"] = TableSchema(columns)
        metadata["dagster/row_count"] = widest.select(pl.len()).collect().item()
    if not artifact.reused:
        metadata |= pictures_and_texts(artifact.report)
    if (artifact.report / HTML_REPORT).is_file():
        metadata["html_report"] = MetadataValue.path(str(artifact.report / HTML_REPORT))
    metadata["digest"] = manifest["digest"]
    metadata["artifact"] = MetadataValue.path(artifact.address)
    metadata["made_of"] = MetadataValue.json(
        {key: manifest[key] for key in ("code_version", "settings", "inputs", "sources", "built_at", "seconds")}
    )
    return metadata


def _computed_because(artifact: Artifact, reasons: list[str]) -> dict[str, MetadataValue]:
    """What is different from what the result before was made of; nothing where this one was there already."""
    lines = ["- `" + reason.replace("`", "'") + "`" for reason in reasons]  # names of documents are no markup
    return {} if artifact.reused else {"computed_because": MetadataValue.md("\n".join(lines))}


def pictures_and_texts(report: Path) -> dict[str, MetadataValue]:
    """The charts and the texts in a folder, by name."""
    names = sorted({path.stem for path in report.iterdir() if path.suffix in (".png", ".md")})
    return {name: MetadataValue.md(_picture_and_text(report, name)) for name in names}


def small_pictures(report: Path) -> dict[str, MetadataValue]:
    """The charts in a folder that the UI shows without a click, by name."""
    return {
        path.stem: MetadataValue.md(as_markdown(path.stem, path.read_text(encoding="utf-8")))
        for path in sorted(report.glob("*.svg"))
    }


def _picture_and_text(report: Path, name: str) -> str:
    """<name>.png and <name>.md, those there are: the UI hides long entries behind a click, so one has to do."""
    picture, text = report / f"{name}.png", report / f"{name}.md"
    parts = []
    if picture.is_file():
        parts.append(f"![{name}](data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()})")
    if text.is_file():
        parts.append(text.read_text(encoding="utf-8"))
    return "\n\n".join(parts)
