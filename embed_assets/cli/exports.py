"""Commands that write what was made of a collection in the formats of other tools."""

from pathlib import Path

import click
import polars as pl

from embed_assets.artifacts.store import REPORT
from embed_assets.artifacts.workspace import Workspace
from embed_assets.cli.arguments import data_option, echo_json, home_option, json_option, open_collection, read_table
from embed_assets.corpus.beir import write_jsonl
from embed_assets.evaluation.evaluation_set import read_evaluation_set


@click.command("export-beir")
@click.argument("collection")
@click.argument("folder", type=click.Path(path_type=Path))
@json_option("each label source")
@data_option
@home_option
def export_beir_command(collection: str, folder: Path, as_json: bool, data: str, home: str) -> None:
    """Write a collection's corpus, queries, labels and runs to a new folder, in the formats of BEIR and trec_eval.

    There is a BEIR folder for each label source: human/ with documents, own/, synthetic/ and look-up/ with chunks.
    """
    workspace, _ = open_collection(collection, data, home)
    from embed_assets.evaluation.beir_export import export_beir

    corpus, yardstick = (workspace.store.current(name, collection).folder for name in ("corpus_chunks", "evaluation_set"))
    try:
        counts = export_beir(
            folder,
            pl.read_parquet(corpus / "documents.parquet"),
            pl.read_parquet(corpus / "chunks.parquet"),
            _triplets(workspace, collection),
            *read_evaluation_set(yardstick, corpus),
            read_table(workspace, collection, "beir_scores", "runs.parquet"),
            _answers(workspace, collection),
        )
    except OSError as error:
        raise click.ClickException(str(error)) from None
    for source, row in counts.items():
        if as_json:
            echo_json({"collection": collection, "labels": source, "folder": folder / source, **row})
            continue
        click.echo(f"{folder / source}: " + ", ".join(f"{name} {count}" for name, count in row.items()))


@click.command("export-rag")
@click.argument("collection")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--contexts", default=5, show_default=True, type=click.IntRange(1), help="Retrieved passages of each question.")
@click.option("--system", default="hybrid", show_default=True, help="Whose passages: base, tuned, bm25, hybrid, …")
@json_option("the file")
@data_option
@home_option
def export_rag_command(collection: str, file: Path, contexts: int, system: str, as_json: bool, data: str, home: str) -> None:
    """Write the test questions of a collection with passages and answers as JSON Lines, to evaluate RAG systems with.

    The columns are those of ragas: question, contexts (what the system found), ground_truth (the answer, if the writer or
    you gave one), and reference_contexts (the passages that answer it).
    """
    workspace, _ = open_collection(collection, data, home)
    from embed_assets.evaluation.rag_export import rag_rows

    corpus, yardstick = (workspace.store.current(name, collection).folder for name in ("corpus_chunks", "evaluation_set"))
    queries, labels = read_evaluation_set(yardstick, corpus)
    runs = read_table(workspace, collection, "beir_scores", "runs.parquet")
    chunks = pl.read_parquet(corpus / "chunks.parquet")
    if system not in runs["system"]:
        raise click.ClickException(f"{system!r} was not scored: there are {', '.join(sorted(runs['system'].unique()))}")
    rows = list(rag_rows(queries, labels, chunks, runs, _answers(workspace, collection), contexts, system))
    if not rows:
        raise click.ClickException(f"{collection}: its evaluation set has no test question about a passage")
    try:
        write_jsonl(file, rows)
    except OSError as error:
        raise click.ClickException(str(error)) from None
    answered = sum("ground_truth" in row for row in rows)
    if as_json:
        echo_json({"collection": collection, "file": file, "questions": len(rows), "answered": answered})
    else:
        click.echo(f"{file}: {len(rows)} questions, {answered} of them with an answer")


@click.command("export-sdg")
@click.argument("collection")
@click.argument("folder", type=click.Path(path_type=Path))
@json_option("the folder")
@data_option
@home_option
def export_sdg_command(collection: str, folder: Path, as_json: bool, data: str, home: str) -> None:
    """Write the pairs of a collection to a new folder as NVIDIA's recipe for embedding models reads them.

    generated.jsonl is what its stage 0 writes; train.json, val.json and corpus/ are what its stage 1 makes of it, with the
    hard negatives of the triplets.
    """
    workspace, _ = open_collection(collection, data, home)
    from embed_assets.evaluation.sdg_export import export_sdg

    triplets = workspace.store.current("triplets", collection)
    # What they were made of, not what there is now: documents may have been edited since.
    qa_pairs, corpus = (
        workspace.store.find_content(name, collection, triplets.manifest["inputs"][name]).folder
        for name in ("qa_pairs", "corpus_chunks")
    )
    try:
        counts = export_sdg(
            folder,
            collection,
            pl.read_parquet(qa_pairs / REPORT / "all_pairs.parquet").filter(pl.col("dropped").is_null()),
            pl.read_parquet(corpus / "chunks.parquet"),
            pl.read_parquet(triplets.folder / "triplets.parquet"),
        )
    except OSError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        echo_json({"collection": collection, "folder": folder, **counts})
    else:
        click.echo(f"{folder}: " + ", ".join(f"{name} {count}" for name, count in counts.items()))


def _triplets(workspace: Workspace, collection: str) -> pl.DataFrame:
    """What is trained on; no row where nothing was trained."""
    if (triplets := workspace.store.find_current("triplets", collection)) is None:
        return pl.DataFrame(schema=dict.fromkeys(("query_id", "split", "style", "anchor", "positive_chunk"), pl.String))
    return pl.read_parquet(triplets.folder / "triplets.parquet")


def _answers(workspace: Workspace, collection: str) -> dict[str, str]:
    """The answers to queries, by id, as far as the writer or the user gave any."""
    if (qa_pairs := workspace.store.find_current("qa_pairs", collection)) is None:
        return {}
    pairs = pl.scan_parquet(qa_pairs.folder / "pairs.parquet")
    if "answer" not in pairs.collect_schema().names():
        return {}
    answered = pairs.select("query_id", "answer").filter(pl.col("answer").is_not_null()).unique("query_id", keep="first")
    return dict(answered.collect().iter_rows())
