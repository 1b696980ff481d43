"""The code location."""

from dagster import Definitions

from embed_assets.defs.automation import automation_sensor
from embed_assets.defs.beir_scores import beir_scores
from embed_assets.defs.checkpoint import checkpoint
from embed_assets.defs.collections_sensor import register_collections
from embed_assets.defs.corpus_chunks import corpus_chunks
from embed_assets.defs.dead_runs import watch_runs
from embed_assets.defs.evaluation_set import evaluation_set
from embed_assets.defs.executor import executor
from embed_assets.defs.forgetting import forgetting
from embed_assets.defs.leaderboard import leaderboard
from embed_assets.defs.onnx_model import onnx_model
from embed_assets.defs.onnx_reranker import onnx_reranker
from embed_assets.defs.production_drift import look_at_production, production_drift
from embed_assets.defs.production_sensor import retrain_on_production_change
from embed_assets.defs.production_table import production_table
from embed_assets.defs.promote_trial import promote_trial
from embed_assets.defs.published_index import published_index
from embed_assets.defs.qa_pairs import qa_pairs
from embed_assets.defs.reranker import reranker
from embed_assets.defs.reranker_scores import reranker_scores
from embed_assets.defs.resources import GpuResource, WorkspaceResource
from embed_assets.defs.rollback import roll_back
from embed_assets.defs.run_collection import run_collection
from embed_assets.defs.saturation_curve import saturation_curve
from embed_assets.defs.search_sensor import search_trials
from embed_assets.defs.served_model import endpoint_agrees
from embed_assets.defs.trial import trial
from embed_assets.defs.triplets import triplets

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
    sensors=[register_collections, watch_runs, automation_sensor, retrain_on_production_change, search_trials],
    schedules=[look_at_production],
    executor=executor,
    resources={"workspace": WorkspaceResource(), "gpu": GpuResource()},
)
