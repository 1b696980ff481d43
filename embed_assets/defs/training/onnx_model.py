from pathlib import Path
from typing import Any

from dagster import AssetExecutionContext, MaterializeResult

from embed_assets.artifacts.inputs import Inputs
from embed_assets.defs.resources import GpuResource, WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.evaluation.scoring import Contest, LabelledCollection, score_systems, write_summaries
from embed_assets.evaluation.settings import ScoringSettings
from embed_assets.evaluation.systems import tuned
from embed_assets.models.encoders import TextEncoder
from embed_assets.models.hardware import Compute
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
        model, passages = inputs.folder("checkpoint") / "model", inputs.table("corpus_chunks", "chunks", ["passage"])["passage"]
        export_onnx(model, folder, base_model, export)
        sample = passages.sample(min(export.parity_chunks, len(passages)), seed=inputs.block(ScoringSettings).seed)
        files = check_parity(model, folder, base_model, sample.to_list())
        scored = export.int8 and export.score_int8
        summaries = _score_int8(folder, inputs, place.memos, gpu.compute()) if scored else []
        write_summaries(folder, summaries)
        write_export(folder, files, summaries)

    return materialize_stage(context, place, ONNX_MODEL, write)


def _score_int8(folder: Path, inputs: Inputs, memos: Path, compute: Compute) -> list[dict[str, Any]]:
    """The summaries of the int8 file beside the float model in torch."""
    encoder = tuned(inputs.block(BaseModelSettings), inputs.artifacts["checkpoint"], memos, compute)
    int8: TextEncoder = OnnxEncoder(folder, INT8_MODEL)
    if isinstance(encoder, TwoTowers):
        int8 = TwoTowers(int8, encoder.passages)
    contest = Contest({"tuned": encoder, "int8": int8}, comparisons=[("int8", "tuned")])
    scores = score_systems(LabelledCollection.of(inputs), contest, inputs.block(ScoringSettings))
    return [score.summary for score in scores]
