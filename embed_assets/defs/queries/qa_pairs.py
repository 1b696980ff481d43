from functools import partial
from pathlib import Path

import polars as pl
from dagster import AssetExecutionContext, MaterializeResult

from embed_assets.defs.resources import GpuResource, WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.models.encoders import Encoder
from embed_assets.models.language_models import LanguageModel
from embed_assets.queries.prompts import load_question_prompts
from embed_assets.queries.qa_pairs import make_qa_pairs
from embed_assets.queries.stages import QA_PAIRS
from embed_assets.reports.queries import write_pairs


@stage_asset(QA_PAIRS, group="data", kinds={"vllm", "polars"}, gpu=True)
def qa_pairs(context: AssetExecutionContext, workspace: WorkspaceResource, gpu: GpuResource) -> MaterializeResult:
    """Queries and the chunks that answer them: written by a language model, taken from the text, and the user's own."""
    place = workspace.open()
    settings = place.settings(context.partition_key)

    def write(folder: Path, scratch: Path) -> None:
        corpus = place.store.current("corpus_chunks", context.partition_key).folder
        documents, chunks = (pl.read_parquet(corpus / f"{name}.parquet") for name in ("documents", "chunks"))
        prompts = load_question_prompts(settings.questions, place.prompt_folders(context.partition_key))
        open_model = partial(LanguageModel, memos=place.memos, compute=gpu.compute())
        encoder = Encoder(settings.base_model, place.memos, compute=gpu.compute())
        source = place.collection_folder(context.partition_key)
        pairs = make_qa_pairs(source, documents, chunks, prompts, open_model, encoder, settings.questions)
        kept = pairs.table.filter(pl.col("dropped").is_null())
        kept.select("query_id", "query", "style", "writer", "document_id", "start", "end").write_parquet(folder / "pairs.parquet")
        write_pairs(folder, pairs, chunks, settings.questions, encoder.saved_work)

    return materialize_stage(context, place, QA_PAIRS, write)
