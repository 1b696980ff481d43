from functools import partial
from pathlib import Path

import polars as pl
from dagster import AssetExecutionContext, MaterializeResult

from embed_assets.artifacts.inputs import Inputs, Source
from embed_assets.defs.resources import GpuResource, WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.evaluation.evaluation_set import held_out_documents
from embed_assets.evaluation.settings import EvaluationSetSettings
from embed_assets.models.encoders import Encoder
from embed_assets.models.language_models import LanguageModel, why_no_vllm
from embed_assets.models.settings import BaseModelSettings
from embed_assets.queries.qa_pairs import make_qa_pairs
from embed_assets.queries.reviews import refused_of
from embed_assets.queries.settings import QuestionsSettings
from embed_assets.queries.stages import NOT_INSTALLED, PROMPT, QA_PAIRS
from embed_assets.reports.queries import write_pairs
from embed_assets.text.columns import with_identifiers


@stage_asset(QA_PAIRS, kinds={"vllm", "polars"}, gpu=True)
def qa_pairs(context: AssetExecutionContext, workspace: WorkspaceResource, gpu: GpuResource) -> MaterializeResult:
    """Queries and the chunks that answer them: written by a language model, taken from the text, and the user's own."""
    place = workspace.open()

    def write(folder: Path, scratch: Path, inputs: Inputs) -> None:
        settings = inputs.block(QuestionsSettings)
        # A collection without own pairs needs no more of its documents than their names.
        documents = pl.scan_parquet(inputs.folder("corpus_chunks") / "documents.parquet")
        names = inputs.table("corpus_chunks", "documents", ["document_id"])["document_id"].to_list()
        chunks = with_identifiers(inputs.table("corpus_chunks", "chunks"), settings.identifiers.all_patterns)
        prompts = {name.removeprefix(PROMPT): it.value for name, it in inputs.sources.items() if name.startswith(PROMPT)}
        open_model = partial(LanguageModel, memos=place.memos, compute=gpu.compute())
        encoder = Encoder(inputs.block(BaseModelSettings), place.memos, compute=gpu.compute())
        source = place.collection_folder(inputs.collection)
        if without_writer := inputs.sources.get("writer") == Source(NOT_INSTALLED):
            settings = settings.model_copy(update={"max_questions": 0})
        held_out = held_out_documents(names, inputs.block(EvaluationSetSettings))
        refused = refused_of(inputs)
        pairs = make_qa_pairs(source, documents, chunks, prompts, open_model, encoder, settings, held_out, refused)
        if without_writer:
            pairs.notes.append(f"no questions were written: {why_no_vllm()} (questions.if_no_writer)")
        kept = pairs.table.filter(pl.col("dropped").is_null())
        answers = ["answer"] if kept["answer"].null_count() < len(kept) else []
        columns = ("query_id", "query", "style", "writer", "document_id", "start", "end", *answers)
        kept.select(columns).write_parquet(folder / "pairs.parquet")
        write_pairs(folder, pairs, chunks, settings, encoder.saved_work)

    return materialize_stage(context, place, QA_PAIRS, write)
