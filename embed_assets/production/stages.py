"""The stage that publishes."""

from embed_assets.artifacts.inputs import Asked, Source
from embed_assets.artifacts.stages import Stage
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.sources import base_model, digest_of_base
from embed_assets.production.checks import PUBLISHED_INDEX_CHECKS
from embed_assets.production.published import Published, base_model_of
from embed_assets.production.settings import PublishingSettings
from embed_assets.queries.settings import IDENTIFIERS

IN_PRODUCTION = "in production"


def in_production(asked: Asked) -> dict[str, Source]:
    """What a candidate has to beat, if the settings say where to publish."""
    settings = asked.block(PublishingSettings)
    if not settings.uri:
        return {}
    checkpoint, chunks = (asked.artifacts[name] for name in ("checkpoint", "corpus_chunks"))
    block = asked.block(BaseModelSettings)
    base = base_model_of(block, digest_of_base(block))
    return {IN_PRODUCTION: Source(Published(asked.workspace, asked.collection, settings).to_beat(checkpoint, chunks, base))}


PUBLISHED_INDEX = Stage(
    name="published_index",
    group="production",
    code_version="7",
    settings=("base_model", IDENTIFIERS, "scoring", "publishing"),
    inputs=("corpus_chunks", "evaluation_set", "checkpoint", "beir_scores"),
    sources=(base_model, in_production),
    checks=PUBLISHED_INDEX_CHECKS,
)
