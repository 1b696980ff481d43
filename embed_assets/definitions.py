"""The code location."""

from dagster import Definitions

from embed_assets.defs.automation import automation_sensor
from embed_assets.defs.collections_sensor import register_collections
from embed_assets.defs.corpus.corpus_chunks import corpus_chunks
from embed_assets.defs.corpus.production_table import production_table
from embed_assets.defs.dead_runs import watch_runs
from embed_assets.defs.evaluation.beir_scores import beir_scores
from embed_assets.defs.evaluation.evaluation_set import evaluation_set
from embed_assets.defs.evaluation.forgetting import forgetting
from embed_assets.defs.evaluation.reranker_scores import reranker_scores
from embed_assets.defs.executor import held_runs
from embed_assets.defs.failures import tell_of_failures
from embed_assets.defs.production.production_drift import look_at_production, production_drift
from embed_assets.defs.production.production_sensor import retrain_on_production_change
from embed_assets.defs.production.published_index import published_index
from embed_assets.defs.production.rollback import roll_back
from embed_assets.defs.production.served_model import endpoint_agrees
from embed_assets.defs.queries.qa_pairs import qa_pairs
from embed_assets.defs.resources import GpuResource, WorkspaceResource
from embed_assets.defs.run_collection import run_collection
from embed_assets.defs.sweep.leaderboard import leaderboard
from embed_assets.defs.sweep.promote_trial import promote_trial
from embed_assets.defs.sweep.saturation_curve import saturation_curve
from embed_assets.defs.sweep.search_sensor import search_trials
from embed_assets.defs.sweep.trial import trial
from embed_assets.defs.training.checkpoint import checkpoint
from embed_assets.defs.training.onnx_model import onnx_model
from embed_assets.defs.training.onnx_reranker import onnx_reranker
from embed_assets.defs.training.reranker import reranker
from embed_assets.defs.training.triplets import triplets

defs = Definitions(
    assets=[
        production_table,
        corpus_chunks,
        qa_pairs,
        evaluation_set,
        triplets,
        checkpoint,
        beir_scores,
        onnx_model,
        published_index,
        production_drift,
        forgetting,
        trial,
        leaderboard,
        saturation_curve,
        reranker,
        reranker_scores,
        onnx_reranker,
    ],
    asset_checks=[endpoint_agrees],
    jobs=[run_collection, roll_back, promote_trial],
    sensors=[register_collections, watch_runs, tell_of_failures, automation_sensor, retrain_on_production_change, search_trials],
    schedules=[look_at_production],
    executor=held_runs,
    resources={"workspace": WorkspaceResource(), "gpu": GpuResource()},
)
