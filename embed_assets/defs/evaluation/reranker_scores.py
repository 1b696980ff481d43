from dataclasses import replace
from pathlib import Path

from dagster import AssetExecutionContext, MaterializeResult

from embed_assets.artifacts.inputs import Inputs
from embed_assets.defs.resources import GpuResource, WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.evaluation.reranked_queries import draw_queries
from embed_assets.evaluation.runs import RerankedSystem
from embed_assets.evaluation.scoring import Contest, LabelledCollection, score_systems, write_scored
from embed_assets.evaluation.settings import RerankingSettings, ScoringSettings
from embed_assets.evaluation.stages import RERANKER_SCORES
from embed_assets.evaluation.systems import base_and_tuned
from embed_assets.models.rerankers import open_reranker
from embed_assets.models.settings import BaseModelSettings
from embed_assets.reports.evaluation import write_reranker_scores
from embed_assets.text.settings import IdentifierSettings
from embed_assets.training.settings import RerankerSettings

COMPARISONS = (("hybrid_reranked", "hybrid"), ("hybrid_reranked", "tuned"), ("hybrid_reranked", "bm25"), ("hybrid", "tuned"))


@stage_asset(RERANKER_SCORES, kinds={"ranx"}, gpu=True)
def reranker_scores(context: AssetExecutionContext, workspace: WorkspaceResource, gpu: GpuResource) -> MaterializeResult:
    """The scores of beir_scores with the hybrid re-ranked beside the others, and paired tests. Built only if asked for."""
    place = workspace.open()

    def write(folder: Path, scratch: Path, inputs: Inputs) -> None:
        reranking, scoring, compute = inputs.block(RerankingSettings), inputs.block(ScoringSettings), gpu.compute()
        labelled = LabelledCollection.of(inputs)
        drawn = replace(labelled, queries=draw_queries(labelled.queries, labelled.labels, reranking))
        checkpoint = inputs.artifacts["checkpoint"]
        encoders = base_and_tuned(inputs.block(BaseModelSettings), checkpoint, place.memos, compute)
        model = inputs.folder("reranker") / "model"
        reranker = open_reranker(model, place.memos, inputs.block(RerankerSettings), compute)
        reranked = {"hybrid_reranked": RerankedSystem("hybrid", reranker, reranking.top_k, reranking.weight)}
        contest = Contest(encoders, {"hybrid": "tuned"}, reranked, COMPARISONS)
        patterns = inputs.block(IdentifierSettings).all_patterns
        scores = score_systems(drawn, contest, scoring, patterns=patterns, cluster=compute.cluster)
        write_scored(folder, scores)
        write_reranker_scores(folder, [score.summary for score in scores])

    return materialize_stage(context, place, RERANKER_SCORES, write)
