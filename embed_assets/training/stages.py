"""The stages from triplets to models."""

from collections.abc import Mapping
from functools import partial

from embed_assets.artifacts.blocks import Block
from embed_assets.artifacts.inputs import Asked, Source, source_of_files
from embed_assets.artifacts.stages import Stage
from embed_assets.models.locations import model_digest
from embed_assets.models.settings import CheckpointSettings
from embed_assets.models.sources import base_model, own_checkpoint, reranker_start
from embed_assets.queries.settings import IDENTIFIERS
from embed_assets.training.checks import EXPORT_CHECKS, RERANKER_EXPORT_CHECKS, TRAINING_CHECKS, TRIPLETS_CHECKS
from embed_assets.training.own_triplets import own_triplets_digest
from embed_assets.training.price import texts_to_encode, triplets_to_train
from embed_assets.training.settings import NegativesSettings

OWN_TRIPLETS = "own triplets"


def cross_encoder(asked: Asked) -> dict[str, Source]:
    """The cross-encoder that reads candidates for hard negatives, if the settings name one."""
    settings = asked.block(NegativesSettings)
    name, revision = settings.cross_encoder, settings.cross_encoder_revision
    return {"cross-encoder": Source(model_digest(name, revision))} if name else {}


def own_triplets(asked: Asked) -> dict[str, Source]:
    """The triplets that the user brings, if they are wanted and there are any."""
    wanted = asked.block(NegativesSettings).own_triplets != "ignore"
    return source_of_files(OWN_TRIPLETS, partial(own_triplets_digest, asked.folder)) if wanted else {}


def where_nothing_is_trained(blocks: Mapping[str, Block]) -> tuple[str, ...]:
    """The triplets, if the checkpoint was trained elsewhere."""
    own = blocks["checkpoint"]
    assert isinstance(own, CheckpointSettings)
    return ("triplets",) if own.name else ()


TRIPLETS = Stage(
    name="triplets",
    group="training",
    code_version="15",
    settings=("base_model", IDENTIFIERS, "evaluation_set", "negatives"),
    inputs=("corpus_chunks", "qa_pairs", "evaluation_set"),
    sources=(base_model, cross_encoder, own_triplets),
    checks=TRIPLETS_CHECKS,
    price=texts_to_encode,
)
CHECKPOINT = Stage(
    name="checkpoint",
    group="training",
    code_version="10",
    settings=("base_model", "training", "checkpoint"),
    inputs=("triplets",),
    sources=(base_model, own_checkpoint),
    checks=TRAINING_CHECKS,
    price=triplets_to_train,
    spared=where_nothing_is_trained,
)
ONNX_MODEL = Stage(
    name="onnx_model",
    group="training",
    code_version="5",
    settings=("base_model", "scoring", "export"),
    inputs=("corpus_chunks", "evaluation_set", "checkpoint"),
    sources=(base_model,),
    checks=EXPORT_CHECKS,
)
RERANKER = Stage(
    name="reranker",
    group="training",
    code_version="4",
    settings=("base_model", "reranker"),
    inputs=("triplets",),
    sources=(base_model, reranker_start),
    checks=TRAINING_CHECKS,
    optional=True,
)
ONNX_RERANKER = Stage(
    name="onnx_reranker",
    group="training",
    code_version="1",
    settings=("reranker", "export"),
    inputs=("triplets", "reranker"),
    sources=(reranker_start,),
    checks=RERANKER_EXPORT_CHECKS,
    optional=True,
)
