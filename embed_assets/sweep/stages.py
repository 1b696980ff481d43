"""The stages of a sweep."""

from embed_assets.artifacts.stages import Stage
from embed_assets.evaluation.stages import BEIR_SCORES
from embed_assets.training.stages import CHECKPOINT

TRIAL = Stage(
    "trial",
    f"{CHECKPOINT.code_version}.{BEIR_SCORES.code_version}.1",  # it trains and scores with the code of these
    ("base_model", "training", "scoring"),
    ("corpus_chunks", "triplets", "evaluation_set"),
)
LEADERBOARD = Stage("leaderboard", "2", ("base_model", "training", "scoring"), ("trial",))
SATURATION_CURVE = Stage("saturation_curve", "1", ("base_model", "training", "scoring"), ("trial",))
