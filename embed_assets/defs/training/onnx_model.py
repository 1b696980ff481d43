from pathlib import Path

from dagster import AssetExecutionContext, MaterializeResult

from embed_assets.artifacts.inputs import Inputs
from embed_assets.defs.resources import GpuResource, WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.evaluation.evaluation_set import read_evaluation_set
from embed_assets.evaluation.scoring import score_systems, write_summaries
from embed_assets.evaluation.settings import ScoringSettings
from embed_assets.evaluation.systems import tuned
from embed_assets.models.encoders import TextEncoder
from embed_assets.models.onnx import INT8_MODEL, OnnxEncoder
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.two_towers import TwoTowers
from embed_assets.reports.training import write_export
from embed_assets.training.export import export_onnx
from embed_assets.training.parity import check_parity
from embed_assets.training.settings import ExportSettings
from embed_assets.training.stages import ONNX_MODEL


@stage_asset(ONNX_MODEL, kinds={"onnx"}, gpu=True)
def onnx_model(context: AssetExecutionContext, workspace: WorkspaceResource, gpu: GpuResource) -> MaterializeResult:
    """The fine-tuned model as ONNX, float32 and int8, compared with torch on real chunks and on the evaluation set."""
    place = workspace.open()

    def write(folder: Path, scratch: Path, inputs: Inputs) -> None:
        base_model, export = inputs.block(BaseModelSettings), inputs.block(ExportSettings)
        scoring = inputs.block(ScoringSettings)
        model, chunks = inputs.folder("checkpoint") / "model", inputs.table("corpus_chunks", "chunks")
        export_onnx(model, folder, base_model, export)
        sample = chunks["passage"].sample(min(export.parity_chunks, len(chunks)), seed=scoring.seed)
        files = check_parity(model, folder, base_model, sample.to_list())
        summaries = []
        if export.int8 and export.score_int8:
            encoder = tuned(base_model, inputs.artifacts["checkpoint"], place.memos, gpu.compute())
            int8: TextEncoder = OnnxEncoder(folder, INT8_MODEL)
            if isinstance(encoder, TwoTowers):
                int8 = TwoTowers(int8, encoder.passages)
            systems: dict[str, TextEncoder] = {"tuned": encoder, "int8": int8}
            comparisons = [("int8", "tuned")]
            queries, labels = read_evaluation_set(inputs.folder("evaluation_set"), inputs.folder("corpus_chunks"))
            scores = score_systems(inputs.collection, chunks, queries, labels, systems, scoring, comparisons=comparisons)
            summaries = [score.summary for score in scores]
        write_summaries(folder, summaries)
        write_export(folder, files, summaries)

    return materialize_stage(context, place, ONNX_MODEL, write)
