from pathlib import Path

import polars as pl
from dagster import AssetExecutionContext, MaterializeResult

from embed_assets import production, reports
from embed_assets.chunking import chunk_documents, load_tokenizer
from embed_assets.defs.resources import WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.documents import read_documents
from embed_assets.lineage import ingredients
from embed_assets.stages import CORPUS_CHUNKS


@stage_asset(CORPUS_CHUNKS, group="data", kinds={"python", "polars"})
def corpus_chunks(context: AssetExecutionContext, workspace: WorkspaceResource) -> MaterializeResult:
    """The collection's documents, and the chunks they are cut into; or the rows of its production table, as they are."""
    place = workspace.open()
    collection = context.partition_key
    settings = place.settings(collection)
    made_of = ingredients(place, CORPUS_CHUNKS, collection)

    def write(folder: Path, scratch: Path) -> None:
        tokenizer = load_tokenizer(settings.base_model.name)
        if digest := made_of["sources"].get(production.SOURCE):
            documents, skipped, chunks = production.read_chunks(
                place, collection, digest, tokenizer, folder / production.ROWS_FILE
            )
        else:
            found, skipped = read_documents(place.collection_folder(collection), settings.documents)
            documents, chunks = pl.DataFrame(found), chunk_documents(found, settings.chunking, tokenizer)
        documents.write_parquet(folder / "documents.parquet")
        chunks.write_parquet(folder / "chunks.parquet")
        reports.write_corpus(folder, len(documents), skipped, chunks)

    return materialize_stage(context, place, CORPUS_CHUNKS, write, made_of)
