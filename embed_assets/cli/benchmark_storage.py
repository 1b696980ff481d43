"""Commands that measure what is found against the bytes that are stored."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
import polars as pl
from polars import selectors as cs

from embed_assets.cli.arguments import data_option, echo_table, home_option, json_option, open_collection, read_table

if TYPE_CHECKING:
    from embed_assets.benchmarks.token_index import Collection


@click.command("token-storage")
@click.argument("collection")
@click.option("--chart", type=click.Path(dir_okay=False, writable=True), help="PNG file for nDCG@10 against bytes.")
@json_option("each way")
@data_option
@home_option
def token_storage(collection: str, chart: str | None, as_json: bool, data: str, home: str) -> None:
    """nDCG@10 of late interaction against the bytes of a chunk, with the checkpoint and the test queries of a collection."""
    from embed_assets.benchmarks.token_index import benchmark_token_storage
    from embed_assets.reports.charts import draw_storage

    table = benchmark_token_storage(_collection_of_tokens(collection, data, home))
    if chart is not None:
        draw_storage(Path(chart), collection, table)
    echo_table(table.with_columns(cs.float().round(4)), as_json)


@click.command("token-search")
@click.argument("collection")
@json_option("each way")
@data_option
@home_option
def token_search(collection: str, as_json: bool, data: str, home: str) -> None:
    """Milliseconds a query and bytes on disk of search with tokens in LanceDB, with the checkpoint of a collection."""
    from embed_assets.benchmarks.token_index import benchmark_token_search

    echo_table(benchmark_token_search(_collection_of_tokens(collection, data, home)), as_json)


@click.command("vector-storage")
@click.argument("collection")
@click.option("--dimensions", type=click.IntRange(1), multiple=True, help="First dimensions; may be given more than once.")
@click.option("--chart", type=click.Path(dir_okay=False, writable=True), help="PNG file for nDCG@10 against bytes.")
@click.option(
    "--rescore",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="As publishing.rescore, of 100 hits; 10 times are all of few chunks.",
)
@json_option("each way")
@data_option
@home_option
def vector_storage(
    collection: str, dimensions: tuple[int, ...], chart: str | None, rescore: int, as_json: bool, data: str, home: str
) -> None:
    """nDCG@10 of dense search in LanceDB against the bytes of a chunk, with the checkpoint and the test queries of a collection.

    Without --dimensions, those that the checkpoint was trained for are looked at, else a half, a quarter and an eighth.
    """
    workspace, settings = open_collection(collection, data, home)
    from embed_assets.benchmarks.vector_storage import benchmark_vector_storage
    from embed_assets.evaluation.evaluation_set import read_evaluation_set
    from embed_assets.evaluation.systems import encoder_of
    from embed_assets.reports.charts import draw_storage

    chunks = read_table(workspace, collection, "corpus_chunks", "chunks.parquet")
    names = ("evaluation_set", "corpus_chunks", "checkpoint")
    labels, corpus, tuned = (workspace.store.current(name, collection) for name in names)
    dimensions = dimensions or tuple(tuned.manifest["settings"]["training"]["matryoshka_dimensions"])
    asked = read_evaluation_set(labels.folder, corpus.folder)
    _require_test_queries(collection, *asked)
    encoder = encoder_of(tuned, workspace.memos)
    try:
        table = benchmark_vector_storage(chunks, *asked, encoder, dimensions, rescore, settings.scoring)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    if chart is not None:
        draw_storage(Path(chart), collection, table)
    echo_table(table.with_columns(cs.float().round(4)), as_json)


def _collection_of_tokens(collection: str, data: str, home: str) -> "Collection":
    from embed_assets.benchmarks.token_index import Collection
    from embed_assets.evaluation.scoring import LabelledCollection
    from embed_assets.evaluation.systems import encoder_of, token_encoder_of

    workspace, settings = open_collection(collection, data, home)
    names = ("corpus_chunks", "evaluation_set", "checkpoint")
    corpus, asked, checkpoint = (workspace.store.current(name, collection) for name in names)
    labelled = LabelledCollection.read(collection, corpus.folder, asked.folder)
    _require_test_queries(collection, labelled.queries, labelled.labels)
    encoder, tokens = encoder_of(checkpoint, workspace.memos), token_encoder_of(checkpoint)
    return Collection(labelled, encoder, tokens, settings.scoring, settings.late_interaction)


def _require_test_queries(collection: str, queries: pl.DataFrame, labels: pl.DataFrame) -> None:
    from embed_assets.evaluation.labels import tested_queries

    if not any(tested_queries(queries, labels, "test")):
        raise click.ClickException(
            f"{collection}: no query is there to test with: add labels, or raise evaluation_set.test_share"
        )
