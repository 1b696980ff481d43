"""Documents read and cut into chunks, against the splitter alone."""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from embed_assets.benchmarks.machine import peak_memory
from embed_assets.corpus.chunking import chunk_documents
from embed_assets.corpus.documents import Document, read_documents
from embed_assets.corpus.settings import ChunkingSettings, DocumentsSettings
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.tokenizers import load_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True)
class Cutting:
    """What is cut.

    Args:
        folder: of the collection.
        model: whose tokens count.
        documents, chunking: settings of the collection.
    """

    folder: Path
    model: BaseModelSettings
    documents: DocumentsSettings
    chunking: ChunkingSettings

    def tokenizer(self) -> "Tokenizer":
        return load_tokenizer(self.model.name, self.model.revision)

    def read(self) -> Iterable[Document]:
        return read_documents(self.folder, self.documents, [])

    def cut(self, documents: Iterable[Document]) -> int:
        return sum(len(rows) for _, rows in chunk_documents(documents, self.chunking, self.tokenizer()))

    def split(self, documents: Iterable[Document]) -> int:
        """Without what makes passages of chunks: their headings, the names of their columns, their tokens."""
        from semantic_text_splitter import MarkdownSplitter

        settings = self.chunking
        tokenizer, overlap = self.tokenizer(), settings.overlap_tokens
        splitter = MarkdownSplitter.from_huggingface_tokenizer(tokenizer, settings.max_tokens, overlap=overlap)
        return sum(len(splitter.chunk_indices(document.text)) for document in documents)


# Way → what it does, and whether its documents are read before.
WAYS: dict[str, tuple[Callable[[Cutting, Iterable[Document]], int], bool]] = {
    "semantic-text-splitter": (Cutting.split, True),
    "embed_assets, read before": (Cutting.cut, True),
    "embed_assets": (Cutting.cut, False),
}


def benchmark_chunking(cutting: Cutting) -> pl.DataFrame:
    """Each way in a process of its own, on one core, with nothing converted before.

    Returns:
        ``system``, ``megabytes`` (10^6 characters of text), ``chunks``, ``cpu_seconds``, ``seconds_per_mb`` of the processor,
        ``memory_mb`` (10^6 bytes) that came while it was at work, and ``ratio``, how many times faster than the splitter alone.
    """
    rows = []
    for system in WAYS:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            rows.append({"system": system} | process.submit(_measure, system, cutting).result())
    return pl.DataFrame(rows).with_columns(
        pl.col("cpu_seconds").round(1),
        seconds_per_mb=(pl.col("cpu_seconds") / pl.col("megabytes")).round(3),
        ratio=(pl.col("cpu_seconds").first() / pl.col("cpu_seconds")).round(2),
    )


def _measure(system: str, cutting: Cutting) -> dict[str, float]:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    work, read_before = WAYS[system]
    characters = 0

    def counted(documents: Iterable[Document]) -> Iterable[Document]:
        nonlocal characters
        for document in documents:
            characters += len(document.text)
            yield document

    documents = list(cutting.read()) if read_before else cutting.read()
    before, worked = peak_memory(), time.process_time()
    chunks = work(cutting, counted(documents))
    return {
        "megabytes": round(characters / 1e6, 1),
        "chunks": chunks,
        "cpu_seconds": time.process_time() - worked,
        "memory_mb": round(peak_memory() - before),
    }
