from pathlib import Path

import polars as pl
from dagster import AssetExecutionContext, MaterializeResult

from embed_assets import reports
from embed_assets.defs.resources import GpuResource, WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.models.encoders import Encoder
from embed_assets.negatives import mine_hard_negatives, training_pairs
from embed_assets.stages import TRIPLETS


@stage_asset(TRIPLETS, group="data", kinds={"polars"}, gpu=True)
def triplets(context: AssetExecutionContext, workspace: WorkspaceResource, gpu: GpuResource) -> MaterializeResult:
    """Training examples: a query, the chunk that answers it, and hard negatives from hybrid retrieval."""
    place = workspace.open()
    collection = context.partition_key
    settings = place.settings(collection)

    def write(folder: Path, scratch: Path) -> None:
        chunks = pl.read_parquet(place.store.current("corpus_chunks", collection).folder / "chunks.parquet")
        pairs = pl.read_parquet(place.store.current("qa_pairs", collection).folder / "pairs.parquet")
        tested = pl.read_parquet(place.store.current("evaluation_set", collection).folder / "queries.parquet")
        pairs, left_out = training_pairs(pairs, tested, settings.evaluation_set)
        encoder = Encoder(settings.base_model, place.memos, compute=gpu.compute())
        mined, counts = mine_hard_negatives(pairs, chunks, encoder, settings.negatives)
        mined.write_parquet(folder / "triplets.parquet")
        reports.write_triplets(folder, mined, tested, left_out | counts)

    return materialize_stage(context, place, TRIPLETS, write)
