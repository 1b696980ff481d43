import json
from pathlib import Path

import polars as pl
from dagster import AssetExecutionContext, MaterializeResult

from embed_assets import reports
from embed_assets.defs.resources import GpuResource, WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.evaluation_set import read_evaluation_set
from embed_assets.models.encoders import Encoder
from embed_assets.scoring import join_scores, score_systems
from embed_assets.stages import BEIR_SCORES

HYBRIDS = {"hybrid_base": "base", "hybrid": "tuned"}
COMPARISONS = (("tuned", "base"), ("tuned", "bm25"), ("hybrid", "bm25"), ("hybrid", "hybrid_base"), ("hybrid", "tuned"))


@stage_asset(BEIR_SCORES, group="evaluation", kinds={"ranx"}, gpu=True)
def beir_scores(context: AssetExecutionContext, workspace: WorkspaceResource, gpu: GpuResource) -> MaterializeResult:
    """nDCG, Recall, MAP and MRR of the base model, the fine-tuned one, BM25 and the hybrids, with paired tests."""
    place = workspace.open()
    collection = context.partition_key
    settings = place.settings(collection)

    def write(folder: Path, scratch: Path) -> None:
        corpus = place.store.current("corpus_chunks", collection).folder
        chunks = pl.read_parquet(corpus / "chunks.parquet")
        queries, labels = read_evaluation_set(place.store.current("evaluation_set", collection).folder, corpus)
        model = place.store.current("checkpoint", collection).folder / "model"
        scores = score_systems(
            collection,
            chunks,
            queries,
            labels,
            {
                "base": Encoder(settings.base_model, place.memos, compute=gpu.compute()),
                "tuned": Encoder(settings.base_model, place.memos, str(model), gpu.compute()),
            },
            settings.scoring,
            HYBRIDS,
            COMPARISONS,
        )
        (folder / "scores.json").write_text(json.dumps([score.summary for score in scores], indent=2))
        per_query, runs = join_scores(scores)
        per_query.write_parquet(folder / "per_query.parquet")
        runs.write_parquet(folder / "runs.parquet")
        reports.write_scores(folder, [score.summary for score in scores])

    return materialize_stage(context, place, BEIR_SCORES, write)
