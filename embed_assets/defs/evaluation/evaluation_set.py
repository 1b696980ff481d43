from pathlib import Path

import polars as pl
from dagster import AssetExecutionContext, MaterializeResult

from embed_assets.defs.resources import WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.evaluation.evaluation_set import hold_out_queries, read_human_labels
from embed_assets.evaluation.stages import EVALUATION_SET
from embed_assets.reports.evaluation import write_evaluation_set


@stage_asset(EVALUATION_SET, group="evaluation", kinds={"polars"})
def evaluation_set(context: AssetExecutionContext, workspace: WorkspaceResource) -> MaterializeResult:
    """The fixed yardstick: human labels, and synthetic queries held out once and then frozen."""
    place = workspace.open()
    collection = context.partition_key
    source = place.collection_folder(collection)
    settings = place.settings(collection).evaluation_set

    def hold_out(folder: Path, scratch: Path) -> None:
        pairs = pl.read_parquet(place.store.current("qa_pairs", collection).folder / "pairs.parquet")
        chunks = pl.read_parquet(place.store.current("corpus_chunks", collection).folder / "chunks.parquet")
        queries, labels = hold_out_queries(pairs, chunks, settings)
        queries.write_parquet(folder / "queries.parquet")
        labels.write_parquet(folder / "labels.parquet")

    # Only its own settings make up the fingerprint of the held-out queries: nothing else ever draws new ones.
    frozen = place.store.build("held_out_queries", collection, {"settings": settings.model_dump(mode="json")}, hold_out)

    def write(folder: Path, scratch: Path) -> None:
        documents = pl.read_parquet(place.store.current("corpus_chunks", collection).folder / "documents.parquet")
        queries, labels, notes = read_human_labels(source, documents["document_id"].to_list())
        queries = pl.concat([queries, pl.read_parquet(frozen.folder / "queries.parquet")])
        queries.write_parquet(folder / "queries.parquet")
        pl.concat([labels, pl.read_parquet(frozen.folder / "labels.parquet")]).write_parquet(folder / "labels.parquet")
        write_evaluation_set(folder, queries, notes)

    return materialize_stage(context, place, EVALUATION_SET, write)
