import json
from pathlib import Path

import polars as pl
from dagster import AssetExecutionContext, MaterializeResult

from embed_assets.defs.resources import GpuResource, WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.evaluation.evaluation_set import read_evaluation_set
from embed_assets.evaluation.scoring import score_systems
from embed_assets.evaluation.stages import FORGETTING
from embed_assets.models.encoders import Encoder
from embed_assets.reports.evaluation import write_forgetting


@stage_asset(FORGETTING, group="evaluation", kinds={"ranx"}, gpu=True)
def forgetting(context: AssetExecutionContext, workspace: WorkspaceResource, gpu: GpuResource) -> MaterializeResult:
    """The base and the fine-tuned model on a collection that was not trained on. Built only if asked for."""
    place = workspace.open()
    settings = place.settings(context.partition_key)

    def write(folder: Path, scratch: Path) -> None:
        scores = []
        if other := settings.forgetting.collection:
            corpus = place.store.current("corpus_chunks", other).folder
            queries, labels = read_evaluation_set(place.store.current("evaluation_set", other).folder, corpus)
            model = place.store.current("checkpoint", context.partition_key).folder / "model"
            encoders = {
                "base": Encoder(settings.base_model, place.memos, compute=gpu.compute()),
                "tuned": Encoder(settings.base_model, place.memos, str(model), gpu.compute()),
            }
            chunks = pl.read_parquet(corpus / "chunks.parquet")
            scores = score_systems(other, chunks, queries, labels, encoders, settings.scoring, comparisons=[("tuned", "base")])
        (folder / "scores.json").write_text(json.dumps([score.summary for score in scores], indent=2))
        write_forgetting(folder, [score.summary for score in scores])

    return materialize_stage(context, place, FORGETTING, write)
