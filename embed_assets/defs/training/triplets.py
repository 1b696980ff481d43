from pathlib import Path

import polars as pl
from dagster import AssetExecutionContext, MaterializeResult

from embed_assets.defs.resources import GpuResource, WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.models.encoders import Encoder
from embed_assets.reports.training import write_triplets
from embed_assets.training.leaks import training_pairs
from embed_assets.training.negatives import mine_triplets
from embed_assets.training.stages import TRIPLETS


@stage_asset(TRIPLETS, group="data", kinds={"polars"}, gpu=True)
def triplets(context: AssetExecutionContext, workspace: WorkspaceResource, gpu: GpuResource) -> MaterializeResult:
    """Training examples: a query, the chunk that answers it, and hard negatives from hybrid retrieval."""
    place = workspace.open()
    collection = context.partition_key
    settings = place.settings(collection)

    def write(folder: Path, scratch: Path) -> None:
        chunks = pl.read_parquet(place.store.current("corpus_chunks", collection).folder / "chunks.parquet")
        pairs = pl.read_parquet(place.store.current("qa_pairs", collection).folder / "pairs.parquet")
        yardstick = place.store.current("evaluation_set", collection).folder
        tested = pl.read_parquet(yardstick / "queries.parquet")
        encoder = Encoder(settings.base_model, place.memos, compute=gpu.compute())
        pairs, left_out = training_pairs(pairs, chunks, tested, encoder, settings.evaluation_set)
        mined, counts = mine_triplets(pairs, chunks, settings.base_model, settings.negatives, place.memos, scratch, gpu.compute())
        mined.write_parquet(folder / "triplets.parquet")
        labels = pl.read_parquet(yardstick / "labels.parquet")
        write_triplets(folder, mined, chunks, tested, labels, left_out, counts)

    return materialize_stage(context, place, TRIPLETS, write)
