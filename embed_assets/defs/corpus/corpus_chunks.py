from pathlib import Path

from dagster import AssetExecutionContext, MaterializeResult

from embed_assets.artifacts.inputs import Inputs
from embed_assets.corpus.source import write_source
from embed_assets.corpus.stages import CORPUS_CHUNKS
from embed_assets.defs.resources import WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.reports.corpus import write_corpus


@stage_asset(CORPUS_CHUNKS, kinds={"python", "polars"})
def corpus_chunks(context: AssetExecutionContext, workspace: WorkspaceResource) -> MaterializeResult:
    """The collection's documents, and the chunks they are cut into; or the rows of its production table, as they are."""
    place = workspace.open()

    def write(folder: Path, scratch: Path, inputs: Inputs) -> None:
        write_corpus(folder, write_source(place, inputs, folder, scratch))

    return materialize_stage(context, place, CORPUS_CHUNKS, write)
