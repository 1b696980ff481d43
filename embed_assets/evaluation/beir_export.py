"""A collection with all that was made of it, in the formats that other retrieval tools read.

Queries and labels are written in BEIR format, runs in that of trec_eval.
"""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from embed_assets.artifacts.files import write_folder_atomically
from embed_assets.corpus.beir import CORPUS, QUERIES, without_spaces, write_jsonl, write_qrels
from embed_assets.evaluation.evaluation_set import HUMAN
from embed_assets.evaluation.labels import relevant_units


def export_beir(
    folder: Path,
    documents: pl.DataFrame,
    chunks: pl.DataFrame,
    triplets: pl.DataFrame,
    queries: pl.DataFrame,
    labels: pl.DataFrame,
    runs: pl.DataFrame,
    answers: Mapping[str, str] | None = None,
) -> dict[str, dict[str, int]]:
    """Write a BEIR folder for each label source, and the runs.

    Human labels name documents, all others chunks, so each source has the corpus that its labels name:

    - ``human/``: ``corpus.jsonl`` holds the documents;
    - ``own/``, ``synthetic/`` and ``look-up/``: it holds the chunks, each with the titles and headings above it in its text;
    - ``<source>/queries.jsonl`` and ``<source>/qrels/``: ``test.tsv`` and ``dev.tsv`` hold the queries of the evaluation
      set, ``train.tsv`` those that are trained on (all of them, whatever the source) with their positives;
    - ``runs/<source>-<system>.trec``: the retrieved units. trec_eval ranks by the score column and breaks ties by id, so
      the score written there counts down from the length of the run; the true scores are in runs.parquet.

    Each of the BEIR folders is a collection by itself. White space in an id, which runs cannot hold, is written as
    in URLs. The folder appears whole or not at all.

    Args:
        folder: does not exist yet, or is empty.
        documents: ``document_id``, ``title`` and ``text``.
        chunks: the collection's chunks.
        triplets: what is trained on.
        queries: queries of the evaluation set.
        labels: its labels, as they apply to the documents (evaluation_set.current_labels). As in scoring, queries
            without a label are left out.
        runs: the ``runs`` of scoring.Scores.
        answers: answers to queries by their ids, which go into the metadata of the queries.

    Returns:
        Label source → counts of ``corpus``, ``train``, ``dev`` and ``test`` (queries).

    Raises:
        FileExistsError: there is something in the folder.
    """
    counts = {}
    labelled = queries.filter(pl.col("query_id").is_in(labels["query_id"].to_list()))
    with write_folder_atomically(folder) as building:
        for source in labelled["source"].unique(maintain_order=True):
            of_source = labelled.filter(pl.col("source") == source)
            counts[source] = _export_source(
                building / source, source == HUMAN, documents, chunks, triplets, of_source, labels, answers or {}
            )
        for (source, system), run in runs.group_by("source", "system", maintain_order=True):
            _write_run(building / "runs" / f"{source}-{system}.trec", run, system)
    return counts


def _export_source(folder, by_document, documents, chunks, triplets, queries, labels, answers) -> dict[str, int]:
    (folder / "qrels").mkdir(parents=True)
    corpus = (
        documents.select("document_id", "title", "text")
        if by_document
        else chunks.select("chunk_id", pl.lit("").alias("title"), "passage")
    )
    write_jsonl(
        folder / CORPUS, ({"_id": without_spaces(i), "title": title, "text": text} for i, title, text in corpus.iter_rows())
    )
    trained = triplets.filter(pl.col("split") == "train").join(
        chunks, left_on="positive_chunk", right_on="chunk_id", maintain_order="left"
    )
    trained = trained.select(
        "query_id", pl.col("anchor").alias("query"), "style", unit="document_id" if by_document else "positive_chunk"
    ).unique(maintain_order=True)
    texts = {name: (text, style) for name, text, style, _ in trained.iter_rows()}
    texts |= {name: (text, style) for name, text, style in queries.select("query_id", "query", "style").iter_rows()}
    metadata = {
        name: {"style": style} | ({"answer": answers[name]} if name in answers else {}) for name, (_, style) in texts.items()
    }
    rows = ({"_id": without_spaces(name), "text": text, "metadata": metadata[name]} for name, (text, _) in texts.items())
    write_jsonl(folder / QUERIES, rows)
    qrels = {"train": [(name, unit, 1) for name, _, _, unit in trained.iter_rows()]}
    for split in ("dev", "test"):
        relevant = relevant_units(queries.filter(pl.col("split") == split), labels, chunks, by_document)
        qrels[split] = [(name, unit, relevance) for name, found in relevant.items() for unit, relevance in found.items()]
    for split, found in qrels.items():
        if found:
            write_qrels(folder / "qrels" / f"{split}.tsv", found)
    return {"corpus": len(corpus)} | {split: len({name for name, _, _ in found}) for split, found in qrels.items()}


def _write_run(path: Path, run: pl.DataFrame, system: str) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8") as stream:
        longest = run["rank"].max()
        for name, unit, rank in run.sort("query_id", "rank").select("query_id", "unit", "rank").iter_rows():
            stream.write(f"{without_spaces(name)} Q0 {without_spaces(unit)} {rank} {longest - rank + 1} {system}\n")
