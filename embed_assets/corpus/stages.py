"""The stage that reads a collection."""

from functools import partial

from embed_assets.artifacts.inputs import Asked, Source
from embed_assets.artifacts.stages import Stage
from embed_assets.corpus import production_table
from embed_assets.corpus.checks import CORPUS_CHECKS
from embed_assets.corpus.files import source_digest, source_parts
from embed_assets.corpus.settings import ProductionSettings
from embed_assets.models.sources import base_model


def documents_or_table(asked: Asked) -> dict[str, Source]:
    """The documents of the collection, or the rows of its production table."""
    settings = asked.block(ProductionSettings)
    if not settings.uri:
        folder = asked.workspace.documents_folder(asked.collection)
        now = partial(source_digest, folder)
        return {"documents": Source(now(), digest_now=partial(now, anew=True), parts=partial(source_parts, folder))}
    # Its reader checks the digest itself: the table may have moved on without any harm.
    known = asked.looked_at.get(production_table.SOURCE)
    digest = known or production_table.look(asked.workspace, asked.collection, settings).digest
    return {production_table.SOURCE: Source(digest)}


CORPUS_CHUNKS = Stage(
    name="corpus_chunks",
    group="corpus",
    code_version="21",
    settings=("base_model", "documents", "production", "chunking"),
    sources=(base_model, documents_or_table),
    checks=CORPUS_CHECKS,
)
