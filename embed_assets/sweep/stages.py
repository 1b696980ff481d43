"""The stages of a sweep."""

from embed_assets.artifacts.stages import Stage
from embed_assets.evaluation.stages import BEIR_SCORES
from embed_assets.models.sources import base_model
from embed_assets.sweep.checks import LEADERBOARD_CHECKS
from embed_assets.training.checks import TRAINING_CHECKS
from embed_assets.training.stages import CHECKPOINT

TRIAL = Stage(
    name="trial",
    group="sweep",
    code_version=f"{CHECKPOINT.code_version}.{BEIR_SCORES.code_version}.1",  # it trains and scores with the code of these
    settings=("base_model", "training", "checkpoint", "scoring"),
    inputs=("corpus_chunks", "triplets", "evaluation_set"),
    sources=(base_model,),
    checks=TRAINING_CHECKS,
)
LEADERBOARD = Stage(
    name="leaderboard",
    group="sweep",
    code_version="3",
    settings=("base_model", "training", "scoring"),
    inputs=(TRIAL.name,),
    sources=(base_model,),
    checks=LEADERBOARD_CHECKS,
)
SATURATION_CURVE = Stage(
    name="saturation_curve",
    group="sweep",
    code_version="2",
    settings=("base_model", "training", "scoring"),
    inputs=(TRIAL.name,),
    sources=(base_model,),
)
