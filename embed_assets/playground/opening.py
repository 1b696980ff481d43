"""A playground of a collection, with all that it reads."""

from pathlib import Path

import polars as pl

from embed_assets.artifacts.workspace import Workspace
from embed_assets.models.hardware import Compute
from embed_assets.playground.labels import Labels, LabelSplit, read_log
from embed_assets.playground.pages import Playground
from embed_assets.playground.systems import SideBySide
from embed_assets.queries.pairs import with_column_of_chunks
from embed_assets.settings import read_settings

PAIRS_SCHEMA = dict.fromkeys(("query_id", "query", "style", "writer", "document_id", "text"), pl.String)


def open_playground(
    workspace: Workspace,
    collection: str,
    log: Path | None = None,
    split: LabelSplit | None = None,
    compute: Compute = Compute("cpu"),
) -> Playground:
    """Load the models of a scored collection, its questions and its labels.

    Args:
        workspace: where data and results lie.
        collection: name of the collection.
        log: file of real queries, one on each line, which wait for labels.
        split: where the labels of new queries go; None: by a hash of the query.
        compute: where to encode.

    Raises:
        MissingArtifactError: the collection has no scores yet.
        CollectionError: the log, or a file in the collection's folder, cannot be used.
    """
    queue = read_log(log) if log is not None else []
    folder = workspace.writable_folder(collection)
    settings = read_settings(workspace, collection)
    labels = Labels(folder, settings.evaluation_set, workspace.home / "playground", split, _documents(workspace, collection))
    labels.judged()  # so that a file that cannot be used is told of before the models are loaded
    systems = SideBySide(workspace, collection, compute)
    return Playground(systems, labels, folder, _kept_pairs(workspace, collection), queue)


def _documents(workspace: Workspace, collection: str) -> set[str]:
    """Ids of the documents that were scored."""
    scores = workspace.store.current("beir_scores", collection)
    corpus = workspace.store.find_content("corpus_chunks", collection, scores.manifest["inputs"]["corpus_chunks"])
    return set(pl.read_parquet(corpus.folder / "chunks.parquet", columns=["document_id"])["document_id"])


def _kept_pairs(workspace: Workspace, collection: str) -> pl.DataFrame:
    """The kept QA pairs, one row for each query, with the text of the first chunk that answers it."""
    qa_pairs, corpus = (workspace.store.find_current(name, collection) for name in ("qa_pairs", "corpus_chunks"))
    if qa_pairs is None or corpus is None:
        return pl.DataFrame(schema=PAIRS_SCHEMA)
    pairs = pl.read_parquet(qa_pairs.folder / "pairs.parquet")
    chunks = pl.read_parquet(corpus.folder / "chunks.parquet", columns=["document_id", "start", "end", "text"])
    joined = with_column_of_chunks(pairs, chunks, "text")
    return joined.unique("query_id", keep="first", maintain_order=True).select(*PAIRS_SCHEMA).fill_null("")
