"""The source of a collection as documents and chunks, be it files or a production table."""

import json
import tempfile
from pathlib import Path

import polars as pl

from embed_assets.artifacts.inputs import Inputs
from embed_assets.artifacts.workspace import Workspace
from embed_assets.corpus import production_table
from embed_assets.corpus.chunking import chunk_documents
from embed_assets.corpus.documents import read_documents
from embed_assets.corpus.files import SkippedDocument
from embed_assets.corpus.front_matter import check_keys
from embed_assets.corpus.parts import Parts
from embed_assets.corpus.settings import ChunkingSettings, DocumentsSettings, ProductionSettings
from embed_assets.corpus.spans import with_language
from embed_assets.models.lengths import PASSAGE, check_length, tokens_of
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.tokenizers import load_tokenizer, tokens_around_passages

# Rows that are in memory at once while a table is written.
DOCUMENTS_IN_A_GROUP, CHUNKS_IN_A_GROUP = 10_000, 50_000


def write_source(workspace: Workspace, inputs: Inputs, folder: Path, scratch: Path) -> list[SkippedDocument]:
    """Read the documents of a collection and cut them into chunks; or the rows of its production table, as they are.

    Args:
        workspace: folders and memos.
        inputs: of corpus_chunks.
        folder: gets documents.parquet (with the columns of ``Document``), chunks.parquet (CHUNK_SCHEMA with a column
            ``language``), and the snapshot of a production table.
        scratch: for files that are gone afterwards.

    Returns:
        What was skipped.

    Raises:
        CollectionError: the source cannot be read, or is no longer the one that the inputs name.
    """
    model, settings = inputs.block(BaseModelSettings), inputs.block(DocumentsSettings)
    check_length(model)
    tokenizer = load_tokenizer(model.name, model.revision)
    if table := inputs.sources.get(production_table.SOURCE):
        of_table, rows_file = inputs.block(ProductionSettings), folder / production_table.ROWS_FILE
        read = production_table.read_chunks(workspace, inputs.collection, of_table, table.digest, tokenizer, rows_file)
        documents, skipped, chunks = read
        _write(folder, documents.lazy(), chunks.lazy(), settings)
        return skipped
    skipped = []
    found = read_documents(workspace.documents_folder(inputs.collection), settings, skipped, workspace.memos)
    room = tokens_of(model, PASSAGE) - tokens_around_passages(model, tokenizer)
    keys: set[str] = set()
    with tempfile.TemporaryDirectory(dir=scratch) as place:
        documents, chunks = Parts(Path(place) / "documents"), Parts(Path(place) / "chunks")
        for block, cut in chunk_documents(found, inputs.block(ChunkingSettings), tokenizer, room):
            documents.add(pl.DataFrame(block))
            chunks.add(cut)
            if settings.metadata_columns:
                keys.update(key for document in block for key in json.loads(document.metadata))
        check_keys(keys, settings.metadata_columns)
        _write(folder, documents.rows(), chunks.rows(), settings)
    return skipped


def _write(folder: Path, documents: pl.LazyFrame, chunks: pl.LazyFrame, settings: DocumentsSettings) -> None:
    documents.sink_parquet(folder / "documents.parquet", row_group_size=DOCUMENTS_IN_A_GROUP)
    with_language(chunks, settings.language).sink_parquet(folder / "chunks.parquet", row_group_size=CHUNKS_IN_A_GROUP)
