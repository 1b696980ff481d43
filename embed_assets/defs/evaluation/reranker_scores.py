import json
from pathlib import Path

import polars as pl
from dagster import AssetExecutionContext, MaterializeResult

from embed_assets.defs.resources import GpuResource, WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.evaluation.evaluation_set import read_evaluation_set
from embed_assets.evaluation.reranked_queries import draw_queries
from embed_assets.evaluation.scoring import RerankedSystem, join_scores, score_systems
from embed_assets.evaluation.stages import RERANKER_SCORES
from embed_assets.models.encoders import Encoder
from embed_assets.models.rerankers import open_reranker
from embed_assets.reports.evaluation import write_reranker_scores

COMPARISONS = (("hybrid_reranked", "hybrid"), ("hybrid_reranked", "tuned"), ("hybrid_reranked", "bm25"), ("hybrid", "tuned"))


@stage_asset(RERANKER_SCORES, group="evaluation", kinds={"ranx"}, gpu=True)
def reranker_scores(context: AssetExecutionContext, workspace: WorkspaceResource, gpu: GpuResource) -> MaterializeResult:
    """The scores of beir_scores with the hybrid re-ranked beside the others, and paired tests. Built only if asked for."""
    place = workspace.open()
    collection = context.partition_key
    settings = place.settings(collection)

    def write(folder: Path, scratch: Path) -> None:
        corpus = place.store.current("corpus_chunks", collection).folder
        queries, labels = read_evaluation_set(place.store.current("evaluation_set", collection).folder, corpus)
        model = place.store.current("checkpoint", collection).folder / "model"
        reranker = open_reranker(
            place.store.current("reranker", collection).folder / "model", place.memos, settings.reranker, gpu.compute()
        )
        scores = score_systems(
            collection,
            pl.read_parquet(corpus / "chunks.parquet"),
            draw_queries(queries, labels, settings.reranking),
            labels,
            {
                "base": Encoder(settings.base_model, place.memos, compute=gpu.compute()),
                "tuned": Encoder(settings.base_model, place.memos, str(model), gpu.compute()),
            },
            settings.scoring,
            {"hybrid": "tuned"},
            COMPARISONS,
            {"hybrid_reranked": RerankedSystem("hybrid", reranker, settings.reranking.top_k, settings.reranking.weight)},
        )
        (folder / "scores.json").write_text(json.dumps([score.summary for score in scores], indent=2))
        per_query, runs = join_scores(scores)
        per_query.write_parquet(folder / "per_query.parquet")
        runs.write_parquet(folder / "runs.parquet")
        write_reranker_scores(folder, [score.summary for score in scores])

    return materialize_stage(context, place, RERANKER_SCORES, write)
