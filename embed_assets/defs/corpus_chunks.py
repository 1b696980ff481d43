from pathlib import Path

import polars as pl
from dagster import AssetExecutionContext, MaterializeResult

from embed_assets import reports
from embed_assets.chunking import chunk_documents, load_tokenizer
from embed_assets.defs.resources import WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.documents import read_documents
from embed_assets.stages import CORPUS_CHUNKS


@stage_asset(CORPUS_CHUNKS, group="data", kinds={"python", "polars"})
def corpus_chunks(context: AssetExecutionContext, workspace: WorkspaceResource) -> MaterializeResult:
    """The collection's documents, and the chunks they are cut into at headings, paragraphs and sentences."""
    place = workspace.open()
    source = place.collection_folder(context.partition_key)
    settings = place.settings(context.partition_key)

    def write(folder: Path, scratch: Path) -> None:
        documents, skipped = read_documents(source, settings.documents)
        chunks = chunk_documents(documents, settings.chunking, load_tokenizer(settings.base_model.name))
        pl.DataFrame(documents).write_parquet(folder / "documents.parquet")
        chunks.write_parquet(folder / "chunks.parquet")
        reports.write_corpus(folder, len(documents), skipped, chunks)

    return materialize_stage(context, place, CORPUS_CHUNKS, write)
