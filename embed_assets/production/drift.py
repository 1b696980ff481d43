"""What became of production since the model was trained and the index published.

Texts come that no training query asks for, and an index can lose rows or find less than on its first day.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from embed_assets.artifacts.checks import Finding
from embed_assets.artifacts.inputs import Inputs
from embed_assets.artifacts.workspace import Workspace
from embed_assets.corpus import production_table
from embed_assets.corpus.source import write_source
from embed_assets.corpus.spans import SpanIndex
from embed_assets.evaluation.evaluation_set import HUMAN, LOOKUP, SYNTHETIC, read_evaluation_set
from embed_assets.evaluation.labels import own_units, relevant_units, tested_queries
from embed_assets.evaluation.metrics import HEADLINE, score_first_ten
from embed_assets.models.hardware import Compute
from embed_assets.production.published import Published, model_of_table
from embed_assets.production.published_index import metadata_of
from embed_assets.production.published_vectors import search_vectors
from embed_assets.production.publishing import system_of
from embed_assets.production.settings import DriftSettings

if TYPE_CHECKING:
    from lancedb.table import Table


@dataclass(frozen=True)
class Coverage:
    """How much of a source the model in production was trained for.

    Args:
        chunks: number of chunks that the source has now.
        new: those whose text was not in the corpus when the model was trained.
        without_query: those that were, but that no QA pair has as its positive.
    """

    chunks: int
    new: int
    without_query: int

    @property
    def uncovered(self) -> float:
        """Share of the chunks that are new or without a query."""
        return (self.new + self.without_query) / max(1, self.chunks)


@dataclass(frozen=True)
class LiveScore:
    """nDCG@10 of the published index on the queries of one label source, when it was published and now."""

    source: str
    queries: int
    noted: float
    now: float


def measure_coverage(published: Published, now: pl.Series) -> Coverage | None:
    """Compare the source of a collection as it is now with what the model in production was trained on.

    Args:
        published: what is in production.
        now: the texts of the chunks that the source has now.

    Returns:
        None where the base model is in production, or one that was trained elsewhere: on nothing of the collection.

    Raises:
        PublishingError: nothing is published.
        MissingArtifactError: the checkpoint in production, or what it was made of, is not in the store.
    """
    store = published.workspace.store
    metadata = metadata_of(published.open())
    if model_of_table(metadata).is_base:
        return None
    checkpoint = published.checkpoint(metadata)
    if "triplets" not in checkpoint.manifest["inputs"]:
        return None
    collection = checkpoint.manifest["collection"]  # another one if the folder has got a new name since
    trained_on = store.find_content("triplets", collection, checkpoint.manifest["inputs"]["triplets"]).manifest["inputs"]
    corpus = store.find_content("corpus_chunks", collection, trained_on["corpus_chunks"])
    pairs = store.find_content("qa_pairs", collection, trained_on["qa_pairs"])
    chunks = pl.read_parquet(corpus.folder / "chunks.parquet", columns=["document_id", "start", "end", "text"])
    spans = pl.read_parquet(pairs.folder / "pairs.parquet", columns=["document_id", "start", "end"]).unique()
    index = SpanIndex(chunks)
    asked_for = sorted({best for span in spans.iter_rows() if (best := index.best(*span)) is not None})
    known = now.is_in(chunks["text"].implode())
    with_query = now.is_in(chunks["text"].gather(asked_for).implode())
    return Coverage(len(now), int((~known).sum()), int((known & ~with_query).sum()))


def texts_now(workspace: Workspace, inputs: Inputs) -> pl.Series:
    """The texts of the chunks that a source has now; they are not stored.

    Args:
        workspace: folders, store and memos.
        inputs: of corpus_chunks, as they are now.

    Raises:
        CollectionError: the source cannot be read.
    """
    built = workspace.store.find(inputs.stage, inputs.place, inputs.fingerprint)
    if built is not None:
        return pl.read_parquet(built.folder / "chunks.parquet", columns=["text"])["text"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / production_table.ROWS_FILE).parent.mkdir()
        write_source(workspace, inputs, folder, folder)
        return pl.read_parquet(folder / "chunks.parquet", columns=["text"])["text"]


def measure_live_scores(published: Published, compute: Compute = Compute()) -> list[LiveScore]:
    """Score the published index, by dense search in the table itself, on the evaluation set it was published with.

    Args:
        published: what is in production.
        compute: where to encode queries that were never encoded.

    Returns:
        One score for each label source that has test queries.

    Raises:
        PublishingError: nothing is published, or its table is gone.
        MissingArtifactError: the model, the corpus or the evaluation set of the index is not in the store.
    """
    store = published.workspace.store
    table = published.open()
    metadata = metadata_of(table)
    collection = published.owner(metadata)
    model = model_of_table(metadata)
    encoder = published.encoder(model, compute)
    corpus = store.find_content("corpus_chunks", collection, metadata["chunks"])
    evaluation_set = store.find_content("evaluation_set", collection, metadata["evaluation_set"])
    queries, labels = read_evaluation_set(evaluation_set.folder, corpus.folder)
    rows = pl.DataFrame(table.search().select(["id", "document_id", "start", "end"]).to_arrow()).rename({"id": "chunk_id"})
    scores, tables = [], dict(tested_queries(queries, labels))
    # An index that was published before look-ups were a source of their own notes them among the synthetic queries.
    mixed = LOOKUP in tables and LOOKUP not in metadata["scores"]
    for source, tested in tables.items():
        if source not in metadata["scores"] or (mixed and source == SYNTHETIC):
            continue
        relevant = relevant_units(tested, labels, rows, by_document=source == HUMAN)
        vectors = encoder.encode_queries(tested["query"].to_list())
        found = first_tens(table, vectors, relevant, "document_id" if source == HUMAN else "id", published.settings.rescore)
        noted = metadata["scores"][source][system_of(model)[0]]
        scores.append(LiveScore(source, len(tested), noted, float(score_first_ten(relevant, found).mean())))
    return scores


def first_tens(
    table: "Table",
    vectors: np.ndarray,
    relevant: Mapping[str, Mapping[str, int]],
    unit: Literal["document_id", "id"],
    rescore: int,
) -> dict[str, list[str]]:
    """Query → the ids of the ten best chunks, or of the ten documents with the best chunks.

    The document that a query itself is does not count as found, as in all scores (labels.own_units).

    Args:
        table: the published index.
        vectors: of the queries, shape (queries, dimensions).
        relevant: from relevant_units, of these queries in their order.
        unit: the column with the ids.
        rescore: as in search_vectors.
    """
    units = pl.DataFrame(table.search().select([unit]).to_arrow())[unit].unique().to_list() if unit == "document_id" else []
    own = own_units(relevant, units)
    return {
        name: _first_ten(table, vectors[row], unit, units[own[row]] if row in own else None, rescore)
        for row, name in enumerate(relevant)
    }


def _first_ten(table: "Table", vector: np.ndarray, unit: str, own: str | None, rescore: int) -> list[str]:
    limit = 10
    while True:
        hits = search_vectors(table, vector, limit, [unit], rescore)
        found = [name for name in dict.fromkeys(hits[unit].to_pylist()) if name != own]
        if len(found) >= 10 or len(hits) < limit:
            return found[:10]
        limit *= 4


def judge_coverage(coverage: Coverage | None, settings: DriftSettings) -> Finding:
    """chunks_covered; without a coverage, the model in production was not trained here."""
    if coverage is None:
        words = "the model in production was not trained on this collection: there was no training that could be out of date"
        return Finding("chunks_covered", True, words)
    return Finding(
        "chunks_covered",
        coverage.uncovered <= settings.max_uncovered,
        f"{coverage.uncovered:.1%} of {coverage.chunks:,} chunks are not covered by the training of the model in production: "
        f"{coverage.new:,} are new, {coverage.without_query:,} have no query (drift.max_uncovered: {settings.max_uncovered:.1%})",
    )


def judge_live_scores(scores: Sequence[LiveScore], settings: DriftSettings) -> Finding:
    """score_holds, on every label source."""
    words = [
        f"{score.now:.3f} {HEADLINE} on {score.queries} {score.source} queries, {score.noted:.3f} when it was published"
        for score in scores
    ]
    holds = all(score.noted - score.now <= settings.max_drop for score in scores)
    return Finding("score_holds", holds, "; ".join(words) or "there is no test query")
