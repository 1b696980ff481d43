from pathlib import Path

import polars as pl
from dagster import AssetExecutionContext, MaterializeResult

from embed_assets import reports
from embed_assets.defs.resources import GpuResource, WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.models.encoders import Encoder
from embed_assets.models.language_models import LanguageModel
from embed_assets.questions import filter_pairs, load_prompts, take_lookups, write_questions
from embed_assets.stages import QA_PAIRS


@stage_asset(QA_PAIRS, group="data", kinds={"vllm", "polars"}, gpu=True)
def qa_pairs(context: AssetExecutionContext, workspace: WorkspaceResource, gpu: GpuResource) -> MaterializeResult:
    """Synthetic queries and the chunks that answer them: written by a language model, and taken from the text."""
    place = workspace.open()
    settings = place.settings(context.partition_key)

    def write(folder: Path, scratch: Path) -> None:
        prompts = load_prompts(settings.questions.prompts, place.prompt_folders(context.partition_key))
        chunks = pl.read_parquet(place.store.current("corpus_chunks", context.partition_key).folder / "chunks.parquet")
        writer = LanguageModel(settings.questions.writer, place.memos, compute=gpu.compute())
        written, reused = write_questions(chunks, prompts, writer, settings.questions)
        candidates = pl.concat([written, take_lookups(chunks, settings.questions)])
        encoder = Encoder(settings.base_model, place.memos, compute=gpu.compute())
        pairs = filter_pairs(candidates, chunks, encoder, settings.questions)
        pairs.filter(pl.col("dropped").is_null()).select(
            "query_id", "query", "style", "document_id", "start", "end"
        ).write_parquet(folder / "pairs.parquet")
        reports.write_pairs(folder, pairs, reused, encoder.saved_work)

    return materialize_stage(context, place, QA_PAIRS, write)
