"""Commands that measure speed."""

from dataclasses import replace
from pathlib import Path

import click
import polars as pl

from embed_assets.cli.arguments import (
    data_option,
    echo_table,
    gpu_option,
    home_option,
    json_option,
    open_collection,
    read_table,
)
from embed_assets.cli.benchmark_all import benchmark_all
from embed_assets.cli.benchmark_storage import token_search, token_storage, vector_storage


@click.group()
def benchmark() -> None:
    """Measure speed against the libraries underneath."""


for command in (benchmark_all, token_storage, token_search, vector_storage):
    benchmark.add_command(command)


@benchmark.command("questions")
@click.argument("collection")
@click.option("--count", default=200, show_default=True, type=click.IntRange(1), help="Number of prompts.")
@json_option("each way")
@data_option
@home_option
def benchmark_questions(collection: str, count: int, as_json: bool, data: str, home: str) -> None:
    """Questions per second against bare vLLM, with the writer and the chunks of a collection."""
    workspace, settings = open_collection(collection, data, home)
    from embed_assets.benchmarks.questions import benchmark_questions as measure
    from embed_assets.models.encoders import Encoder
    from embed_assets.queries.prompts import load_question_prompts

    chunks = read_table(workspace, collection, "corpus_chunks", "chunks.parquet")
    # A collection that has no questions written may be asked how fast they would be.
    asked = settings.questions.model_copy(update={"max_questions": count})
    prompts = load_question_prompts(asked, workspace.prompt_folders(collection))
    encoder = Encoder(settings.base_model, workspace.memos)
    try:
        table = measure(chunks, prompts, asked, encoder, workspace.memos)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    echo_table(table, as_json)


@benchmark.command("mining")
@click.argument("collection")
@click.option("--count", default=1000, show_default=True, type=click.IntRange(1), help="Number of QA pairs.")
@click.option(
    "--chunks",
    type=click.IntRange(1),
    multiple=True,
    help="Repeat chunks and pairs with other words up to this many, with random vectors; may be given more than once.",
)
@click.option("--alone", is_flag=True, help="Leave sentence-transformers out, which may need too much memory.")
@click.option("--chart", type=click.Path(dir_okay=False, writable=True), help="PNG file for time and memory against chunks.")
@json_option("each way and number of chunks")
@data_option
@home_option
def benchmark_mining(
    collection: str, count: int, chunks: tuple[int, ...], alone: bool, chart: str | None, as_json: bool, data: str, home: str
) -> None:
    """Time and memory of mining hard negatives against sentence-transformers, with the pairs and chunks of a collection."""
    workspace, settings = open_collection(collection, data, home)
    from embed_assets.benchmarks.mining import Mining, benchmark_mining, enlarged
    from embed_assets.reports.charts import draw_growth

    there = read_table(workspace, collection, "corpus_chunks", "chunks.parquet")
    pairs = read_table(workspace, collection, "qa_pairs", "pairs.parquet").with_columns(split=pl.lit("train"))
    task = Mining(there, pairs, settings.base_model, settings.negatives)
    small = replace(task, pairs=pairs.head(count))
    sizes = (enlarged(task, size, count) for size in chunks) if chunks else (small,)
    table = pl.concat(benchmark_mining(it, alone) for it in sizes)
    if chart is not None:
        draw_growth(Path(chart), f"{count:,} queries", table)
    echo_table(table, as_json)


@benchmark.command("chunking")
@click.argument("collection")
@json_option("each way")
@data_option
@home_option
def benchmark_chunking(collection: str, as_json: bool, data: str, home: str) -> None:
    """Processor time and memory of reading and cutting the documents of a collection, against the splitter alone."""
    workspace, settings = open_collection(collection, data, home)
    from embed_assets.benchmarks.chunking import Cutting, benchmark_chunking

    folder = workspace.documents_folder(collection)
    echo_table(benchmark_chunking(Cutting(folder, settings.base_model, settings.documents, settings.chunking)), as_json)


@benchmark.command("encoding")
@click.argument("collection")
@click.option("--count", default=500, show_default=True, type=click.IntRange(1), help="Number of passages.")
@json_option("each way")
@data_option
@home_option
def benchmark_encoding(collection: str, count: int, as_json: bool, data: str, home: str) -> None:
    """Passages per second against sentence-transformers, and of the ONNX files where there are any."""
    workspace, settings = open_collection(collection, data, home)
    from embed_assets.benchmarks.encoding import benchmark_encoding as measure

    passages = read_table(workspace, collection, "corpus_chunks", "chunks.parquet")["passage"].head(count).to_list()
    exported = workspace.store.find_current("onnx_model", collection)
    echo_table(measure(passages, settings.base_model, exported.folder if exported else None), as_json)


@benchmark.command("readers")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@json_option("each file name ending")
def benchmark_readers(folder: Path, as_json: bool) -> None:
    """Words that the readers of documents keep of the files in a folder, against a plain extraction, and their time."""
    from embed_assets.benchmarks.readers import benchmark_readers as measure

    try:
        table = measure(folder)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    echo_table(table, as_json)


@benchmark.command("training")
@click.argument("collection")
@click.option("--examples", default=256, show_default=True, type=click.IntRange(1), help="Number of triplets.")
@json_option("each way")
@data_option
@home_option
def benchmark_training(collection: str, examples: int, as_json: bool, data: str, home: str) -> None:
    """Examples per second against the trainer of sentence-transformers, with the triplets of a collection."""
    workspace, settings = open_collection(collection, data, home)
    from embed_assets.benchmarks.training import benchmark_training

    triplets = read_table(workspace, collection, "triplets", "triplets.parquet")
    try:
        table = benchmark_training(triplets, settings.base_model, settings.training, examples)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    echo_table(table, as_json)


# How many passages, prompts, queries or examples each takes, unless it is said.
WORKS = {"encoding": 2000, "writing": 256, "searching": 2048, "training": 64}


@benchmark.command("cluster")
@click.argument("work", type=click.Choice(WORKS))
@click.argument("collection")
@click.option(
    "--count", type=click.IntRange(1), help=f"Of passages, prompts, queries or examples.  [default: {[*WORKS.values()]}]"
)
@json_option("each way")
@gpu_option
@data_option
@home_option
def benchmark_cluster(work: str, collection: str, count: int | None, as_json: bool, data: str, home: str) -> None:
    """Rates of one and of all workers on a Ray cluster against this process, their start, and what goes over the network.

    Name the workers with --gpu cluster=ray --gpu workers=N. Queries are searched for among random vectors.
    """
    workspace, settings = open_collection(collection, data, home)
    from embed_assets.benchmarks import cluster
    from embed_assets.benchmarks.questions import asked
    from embed_assets.defs.resources import GpuResource
    from embed_assets.models.encoders import Encoder
    from embed_assets.queries.prompts import load_question_prompts

    count = count or WORKS[work]
    compute = GpuResource.configured().compute()
    if compute.cluster is None:
        raise click.UsageError("no workers are named: --gpu cluster=ray --gpu workers=N")
    if work == "training":
        triplets = read_table(workspace, collection, "triplets", "triplets.parquet")
        measured = cluster.training(triplets, settings.base_model, settings.training, count)
    elif work == "searching":
        measured = cluster.searching(count)
    else:
        chunks = read_table(workspace, collection, "corpus_chunks", "chunks.parquet")
        passages = chunks["passage"].to_list()
        if work == "encoding":
            measured = cluster.encoding((passages * -(-count // len(passages)))[:count], settings.base_model)
        else:
            questions = settings.questions.model_copy(update={"max_questions": count})
            prompts = load_question_prompts(questions, workspace.prompt_folders(collection))
            told = asked(chunks, prompts, questions, Encoder(settings.base_model, workspace.memos))
            measured, count = cluster.writing(*told, questions.writer, workspace.memos), len(told[0])
    try:
        table = cluster.benchmark_cluster(measured, count, compute)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    echo_table(table, as_json)


@benchmark.command("sizing")
@click.option(
    "--chunks", multiple=True, type=click.IntRange(1), help="May be given more than once.  [default: 1, 10, 100 million]"
)
@click.option("--parameters", default=110e6, show_default=True, help="Of the embedding model.")
@click.option("--dimensions", default=768, show_default=True, help="Of its vectors.")
@click.option("--tokens", default=256, show_default=True, help="Of a chunk, with its title.")
@click.option("--queries", default=100_000, show_default=True, help="That are mined for and trained on.")
@click.option("--calls", default=60_000, show_default=True, help="Of the language model that writes and judges.")
@json_option("each step and figure")
def benchmark_sizing(
    chunks: tuple[int, ...], parameters: float, dimensions: int, tokens: int, queries: int, calls: int, as_json: bool
) -> None:
    """Compute, from rates, what collections of some sizes take; nothing is measured."""
    from embed_assets.benchmarks.sizing import SIZES, Work, sizing_table

    work = Work(parameters=parameters, dimensions=dimensions, tokens=tokens, queries=queries, calls=calls)
    echo_table(sizing_table(work, sizes=chunks or SIZES), as_json)


@benchmark.command("late-interaction")
@click.argument("collection")
@click.option("--count", default=100, show_default=True, type=click.IntRange(1), help="Number of queries.")
@click.option(
    "--candidates", default=100, show_default=True, type=click.IntRange(1), help="Number of chunks that each is compared with."
)
@json_option("each way")
@data_option
@home_option
def benchmark_late_interaction(collection: str, count: int, candidates: int, as_json: bool, data: str, home: str) -> None:
    """Milliseconds a query against MaxSim of sentence-transformers, with the queries and chunks of a collection."""
    workspace, settings = open_collection(collection, data, home)
    from embed_assets.benchmarks.late_interaction import benchmark_late_interaction as measure

    passages = read_table(workspace, collection, "corpus_chunks", "chunks.parquet")["passage"].head(candidates)
    queries = read_table(workspace, collection, "qa_pairs", "pairs.parquet")["query"].head(count)
    echo_table(measure(queries.to_list(), passages.to_list(), settings.base_model), as_json)
