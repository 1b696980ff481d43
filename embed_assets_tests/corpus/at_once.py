"""All documents and chunks of a small collection, which the package reads and cuts a few at a time."""

from collections.abc import Iterable
from pathlib import Path

import polars as pl
from tokenizers import Tokenizer

from embed_assets.corpus import chunking, documents
from embed_assets.corpus.documents import Document
from embed_assets.corpus.files import SkippedDocument
from embed_assets.corpus.settings import ChunkingSettings, DocumentsSettings
from embed_assets.corpus.spans import CHUNK_SCHEMA


def read_documents(
    folder: Path, settings: DocumentsSettings, memos: Path | None = None
) -> tuple[list[Document], list[SkippedDocument]]:
    skipped: list[SkippedDocument] = []
    return list(documents.read_documents(folder, settings, skipped, memos)), skipped


def chunk_documents(
    found: Iterable[Document], settings: ChunkingSettings, tokenizer: Tokenizer, room: int | None = None
) -> pl.DataFrame:
    parts = chunking.chunk_documents(found, settings, tokenizer, room)
    return pl.concat([pl.DataFrame(schema=CHUNK_SCHEMA), *(rows for _, rows in parts)])
