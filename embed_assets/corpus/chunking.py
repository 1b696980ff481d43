"""Documents cut into chunks at headings, paragraphs, sentences and words."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from embed_assets.corpus.documents import Document, markdown_headings
from embed_assets.corpus.settings import ChunkingSettings
from embed_assets.corpus.spans import CHUNK_SCHEMA
from embed_assets.progress import track

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def chunk_documents(documents: Sequence[Document], settings: ChunkingSettings, tokenizer: "Tokenizer") -> pl.DataFrame:
    """Cut documents into chunks.

    Args:
        documents: documents in Markdown or plain text.
        settings: sizes, in tokens.
        tokenizer: counts the tokens; that of the base model.

    Returns:
        One row for each chunk, in document order: ``chunk_id``, ``document_id``, ``start`` and ``end``
        (character span in the document's text), ``text`` (the span), ``passage`` (what is encoded: title
        and heading path, then the text) and ``tokens`` (of the passage).
    """
    from semantic_text_splitter import MarkdownSplitter

    splitter = MarkdownSplitter.from_huggingface_tokenizer(
        tokenizer, settings.max_tokens, overlap=min(settings.overlap_tokens, settings.max_tokens - 1)
    )
    rows = []
    for document in track(documents, "chunking"):
        headings = markdown_headings(document.text) if settings.heading_path else []
        for number, (start, text) in enumerate(splitter.chunk_indices(document.text)):
            path = _heading_path(headings, start, document.title) if settings.heading_path else []
            rows.append(
                {
                    "chunk_id": f"{document.document_id}::{number}",
                    "document_id": document.document_id,
                    "start": start,
                    "end": start + len(text),
                    "text": text,
                    "passage": "\n".join([" > ".join(path), text]) if path else text,
                }
            )
    passages = [row["passage"] for row in rows]
    encodings = tokenizer.encode_batch_fast(passages, add_special_tokens=False) if passages else []
    for row, encoding in zip(rows, encodings, strict=True):
        row["tokens"] = len(encoding)
    return pl.DataFrame(rows, schema=CHUNK_SCHEMA)


def _heading_path(headings: list[tuple[int, int, str]], start: int, title: str) -> list[str]:
    """The document's title and the headings above the offset, outermost first.

    A heading that begins at the offset is in the chunk's own text: its path is that of its parents.
    """
    path: list[tuple[int, str]] = []
    for offset, level, heading in headings[: bisect_right(headings, start, key=lambda heading: heading[0])]:
        path = [item for item in path if item[0] < level]
        if offset < start:
            path.append((level, heading))
    names = [title, *(heading for _, heading in path)]
    return [name for i, name in enumerate(names) if name and name not in names[:i]]
