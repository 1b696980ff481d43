"""Commands of what is in production."""

from dataclasses import asdict
from typing import get_args

import click

from embed_assets.cli.arguments import data_option, echo_json, home_option, json_option, open_collection, printable
from embed_assets.corpus.encodings import composed
from embed_assets.lineage import open_published
from embed_assets.production.published import without_fine_tuning
from embed_assets.production.search import Mode, search_index


@click.command()
@click.argument("collection")
@click.argument("query")
@click.option("--mode", type=click.Choice(get_args(Mode)), default="hybrid", show_default=True, help="How.")
@click.option("--limit", type=click.IntRange(min=1), default=10, show_default=True, help="Number of hits.")
@json_option("each hit")
@data_option
@home_option
def search(collection: str, query: str, mode: Mode, limit: int, as_json: bool, data: str, home: str) -> None:
    """Search the published index of a collection, with the model that it was made with."""
    if not composed(query).strip():
        raise click.BadParameter("the query is empty", param_hint="QUERY")
    workspace, settings = open_collection(collection, data, home)
    published = open_published(workspace, collection)
    hits = search_index(published, query, settings.late_interaction, settings.reranking, mode, limit)
    if why := without_fine_tuning(published):
        click.echo(why, err=True)
    if not hits:
        click.echo("nothing was found", err=True)
    for place, hit in enumerate(hits, start=1):
        text = " ".join(hit.text.split())
        if as_json:
            echo_json(asdict(hit))
        else:
            click.echo(printable(f"{place:3} {hit.score:.4f}  {hit.chunk_id}  {text:.100}"))


@click.command()
@click.argument("collection")
@json_option("the collection")
@data_option
@home_option
def rollback(collection: str, as_json: bool, data: str, home: str) -> None:
    """Bring the previous index of a collection, and its model, back into production.

    A second rollback undoes the first.
    """
    workspace, _ = open_collection(collection, data, home)
    pointer = open_published(workspace, collection).rollback()
    if as_json:
        echo_json({"collection": collection, "current": pointer.current, "previous": pointer.previous, "reason": pointer.reason})
    else:
        click.echo(f"{collection}: {pointer.current} is in production")
