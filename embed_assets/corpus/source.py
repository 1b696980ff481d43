"""The source of a collection as documents and chunks, be it files or a production table."""

from pathlib import Path

import polars as pl

from embed_assets.artifacts.inputs import Inputs
from embed_assets.artifacts.workspace import Workspace
from embed_assets.corpus import production_table
from embed_assets.corpus.chunking import chunk_documents
from embed_assets.corpus.documents import read_documents
from embed_assets.corpus.files import SkippedDocument
from embed_assets.corpus.front_matter import check_keys
from embed_assets.corpus.settings import ChunkingSettings, DocumentsSettings, ProductionSettings
from embed_assets.corpus.spans import with_language
from embed_assets.models.lengths import PASSAGE, check_length, tokens_of
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.tokenizers import load_tokenizer, tokens_around_passages


def read_source(
    workspace: Workspace, inputs: Inputs, rows_file: Path
) -> tuple[pl.DataFrame, list[SkippedDocument], pl.DataFrame]:
    """Read the documents of a collection and cut them into chunks; or the rows of its production table, as they are.

    Args:
        workspace: folders and memos.
        inputs: of corpus_chunks.
        rows_file: gets the snapshot of a production table.

    Returns:
        Documents (with the columns of ``Document``), what was skipped, and chunks in CHUNK_SCHEMA with a column
        ``language``.

    Raises:
        CollectionError: the source cannot be read, or is no longer the one that the inputs name.
    """
    model = inputs.block(BaseModelSettings)
    check_length(model)
    tokenizer = load_tokenizer(model.name, model.revision)
    if table := inputs.sources.get(production_table.SOURCE):
        settings = inputs.block(ProductionSettings)
        read = production_table.read_chunks(workspace, inputs.collection, settings, table.digest, tokenizer, rows_file)
        documents, skipped, chunks = read
    else:
        folder = workspace.documents_folder(inputs.collection)
        found, skipped = read_documents(folder, inputs.block(DocumentsSettings), workspace.memos)
        check_keys(found, inputs.block(DocumentsSettings).metadata_columns)
        room = tokens_of(model, PASSAGE) - tokens_around_passages(model, tokenizer)
        documents, chunks = pl.DataFrame(found), chunk_documents(found, inputs.block(ChunkingSettings), tokenizer, room)
    return documents, skipped, with_language(chunks, inputs.block(DocumentsSettings).language)
