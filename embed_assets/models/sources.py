"""The models that a step computes with, as its sources."""

from functools import partial

from embed_assets.artifacts.inputs import Asked, Source
from embed_assets.models.locations import model_digest
from embed_assets.models.settings import BaseModelSettings, CheckpointSettings, CrossEncoderSettings

BASE_MODEL = "base model"


def base_model(asked: Asked) -> dict[str, Source]:
    """The embedding model that is fine-tuned."""
    return {BASE_MODEL: Source(digest_of_base(asked.block(BaseModelSettings)))}


def digest_of_base(settings: BaseModelSettings) -> str:
    """What tells the base model from others."""
    return model_digest(settings.name, settings.revision)


def own_checkpoint(asked: Asked) -> dict[str, Source]:
    """The model that was trained elsewhere, if the settings name one."""
    own = asked.block(CheckpointSettings)
    if not own.name:
        return {}
    now = partial(model_digest, own.name, own.revision)
    return {"checkpoint": Source(now(), digest_now=now)}


def reranker_start(asked: Asked) -> dict[str, Source]:
    """The model that the re-ranker starts from, if the settings name one."""
    start = asked.block(CrossEncoderSettings)
    return {"re-ranker": Source(model_digest(start.name, start.revision))} if start.name else {}
