"""The command that tells what a run would compute."""

import textwrap
from collections import Counter
from functools import partial

import click

from embed_assets.artifacts.workspace import open_workspace
from embed_assets.cli.arguments import (
    data_option,
    echo_json,
    gpu_option,
    home_option,
    json_option,
    log_to_stderr,
    named_collections,
    open_collection,
    read_table,
)
from embed_assets.graph import STAGES
from embed_assets.plan import Outcome, Planned, in_words, plan


@click.command("plan")
@click.argument("collections", metavar="[COLLECTION]...", nargs=-1)
@click.option("--until", type=click.Choice(list(STAGES)), metavar="ASSET", multiple=True, help="As of 'run'.")
@click.option("--price/--no-price", default=True, help="Tell what it takes: prompts, texts, triplets.  [default: price]")
@json_option("each stage of each collection")
@data_option
@home_option
def plan_command(collections: tuple[str, ...], until: tuple[str, ...], price: bool, as_json: bool, data: str, home: str) -> None:
    """Tell what a run of collections (all, if none is named) would compute, why, and what it takes.

    It computes nothing. What is computed may come out as it was; whatever waits for it is then reused.
    """
    workspace = open_workspace(data, home)
    planned = [row for name in named_collections(workspace, collections) for row in plan(workspace, name, until, price)]
    if as_json:
        for row in planned:
            echo_json(row.as_json())
        return
    for name in dict.fromkeys(row.collection for row in planned):
        click.echo(in_words([row for row in planned if row.collection == name]))
    _echo_summary(planned)


@click.command()
@click.argument("collection")
@click.option(
    "--count",
    default=3,
    show_default=True,
    type=click.IntRange(1),
    help="Questions of each style; in batch mode, calls, and as many for multi-hop questions.",
)
@gpu_option
@json_option("each question and passage")
@data_option
@home_option
def preview(collection: str, count: int, as_json: bool, data: str, home: str) -> None:
    """Let the writer write a few questions of each style about a collection, and print them with their passages.

    So that prompts, styles and writers can be tried before a run. The answers are kept: a run does not ask for them again.
    """
    workspace, settings = open_collection(collection, data, home)
    chunks = read_table(workspace, collection, "corpus_chunks", "chunks.parquet")
    if not settings.questions.max_questions:
        raise click.ClickException(f"{collection}: questions.max_questions is 0: no question is written")
    from embed_assets.defs.resources import GpuResource
    from embed_assets.models.answers import GenerationError
    from embed_assets.models.encoders import Encoder
    from embed_assets.models.language_models import LanguageModel
    from embed_assets.queries.prompts import load_question_prompts
    from embed_assets.queries.qa_pairs import preview_questions
    from embed_assets.queries.shares import MULTI_HOP, hops_in_words

    log_to_stderr()
    compute = GpuResource.configured().compute()
    encoder = Encoder(settings.base_model, workspace.memos, compute=compute)
    open_model = partial(LanguageModel, memos=workspace.memos, compute=compute)
    try:
        prompts = load_question_prompts(settings.questions, workspace.prompt_folders(collection))
        written = preview_questions(chunks, prompts, open_model, encoder, settings.questions, count)
    except GenerationError as error:
        raise click.ClickException(str(error)) from None
    if written.is_empty():
        click.echo(f"{collection}: the writer wrote no question about the {len(chunks):,} chunks that there are", err=True)
    before = None
    for row in written.iter_rows(named=True):
        if as_json:
            echo_json(row)
            continue
        what = f"{row['style']}, {hops_in_words(row['hops'])}" if row["hops"] > 1 or row["style"] == MULTI_HOP else row["style"]
        refused = f"   (refused: {row['dropped']})" if row["dropped"] else ""
        if (title := f"{what}: {row['query']}{refused}") != before or row["hops"] == 1:
            click.echo(title)
        before = title
        click.echo(textwrap.indent(textwrap.fill(textwrap.shorten(row["passage"], 300, placeholder=" …"), 100), "    ") + "\n")


def _echo_summary(planned: list[Planned]) -> None:
    """How many collections need what."""
    collections = dict.fromkeys(row.collection for row in planned)
    busy = {row.collection for row in planned if row.outcome is not Outcome.REUSED}
    plural = "" if len(collections) == 1 else "s"
    click.echo(f"\n{len(collections)} collection{plural}, {len(collections) - len(busy)} with all results in place")
    counts = Counter((row.stage, row.outcome) for row in planned)
    for stage in dict.fromkeys(row.stage for row in planned):
        parts = [f"{outcome} in {counts[stage, outcome]}" for outcome in Outcome if counts[stage, outcome]]
        if counts[stage, Outcome.REUSED] < len(collections):
            click.echo(f"  {stage:16} {', '.join(parts)}")
