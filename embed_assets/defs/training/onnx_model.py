import json
from pathlib import Path

import polars as pl
from dagster import AssetExecutionContext, MaterializeResult

from embed_assets.defs.resources import GpuResource, WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.evaluation.evaluation_set import read_evaluation_set
from embed_assets.evaluation.scoring import score_systems
from embed_assets.models.encoders import Encoder
from embed_assets.models.onnx import OnnxEncoder
from embed_assets.reports.training import write_export
from embed_assets.training.export import INT8_MODEL, export_onnx
from embed_assets.training.parity import check_parity
from embed_assets.training.stages import ONNX_MODEL


@stage_asset(ONNX_MODEL, group="model", kinds={"onnx"}, gpu=True)
def onnx_model(context: AssetExecutionContext, workspace: WorkspaceResource, gpu: GpuResource) -> MaterializeResult:
    """The fine-tuned model as ONNX, float32 and int8, compared with torch on real chunks and on the evaluation set."""
    place = workspace.open()
    collection = context.partition_key
    settings = place.settings(collection)

    def write(folder: Path, scratch: Path) -> None:
        corpus = place.store.current("corpus_chunks", collection).folder
        chunks = pl.read_parquet(corpus / "chunks.parquet")
        model = place.store.current("checkpoint", collection).folder / "model"
        export_onnx(model, folder, settings.base_model, settings.export)
        sample = chunks["passage"].sample(min(settings.export.parity_chunks, len(chunks)), seed=settings.scoring.seed)
        files = check_parity(model, folder, settings.base_model, sample.to_list())
        scores = []
        if settings.export.int8 and settings.export.score_int8:
            tuned = Encoder(settings.base_model, place.memos, str(model), gpu.compute())
            systems = {"tuned": tuned, "int8": OnnxEncoder(folder, INT8_MODEL)}
            queries, labels = read_evaluation_set(place.store.current("evaluation_set", collection).folder, corpus)
            scores = score_systems(
                collection, chunks, queries, labels, systems, settings.scoring, comparisons=[("int8", "tuned")]
            )
        (folder / "scores.json").write_text(json.dumps([score.summary for score in scores], indent=2))
        write_export(folder, files, [score.summary for score in scores])

    return materialize_stage(context, place, ONNX_MODEL, write)
