"""The source of a collection as documents and chunks, be it files or a production table."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from embed_assets.artifacts.workspace import Workspace
from embed_assets.corpus import production_table as production
from embed_assets.corpus.chunking import chunk_documents
from embed_assets.corpus.documents import SkippedDocument, read_documents
from embed_assets.models.tokenizers import load_tokenizer


def read_source(
    workspace: Workspace, collection: str, sources: Mapping[str, str], rows_file: Path
) -> tuple[pl.DataFrame, list[SkippedDocument], pl.DataFrame]:
    """Read the documents of a collection and cut them into chunks; or the rows of its production table, as they are.

    Args:
        workspace: settings and memos.
        collection: name of the collection.
        sources: digests of the source, from lineage.ingredients.
        rows_file: gets the snapshot of a production table.

    Returns:
        Documents (``document_id``, ``title``, ``text``), what was skipped, and chunks in CHUNK_SCHEMA.

    Raises:
        CollectionError: the source cannot be read, or is no longer the one with these digests.
    """
    settings = workspace.settings(collection)
    tokenizer = load_tokenizer(settings.base_model.name)
    if digest := sources.get(production.SOURCE):
        return production.read_chunks(workspace, collection, digest, tokenizer, rows_file)
    found, skipped = read_documents(workspace.collection_folder(collection), settings.documents)
    return pl.DataFrame(found), skipped, chunk_documents(found, settings.chunking, tokenizer)
