"""Commands that build, and that say what there is to build from."""

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from embed_assets.artifacts.blocks import SettingsError
from embed_assets.artifacts.workspace import CollectionError, Workspace, open_workspace
from embed_assets.cli.arguments import (
    data_option,
    echo_json,
    gpu_option,
    home_option,
    json_option,
    known_collections,
    log_to_stderr,
    open_collection,
    set_environment,
)
from embed_assets.cli.results import echo_scores
from embed_assets.cli.settled import Settled
from embed_assets.evaluation.human_labels import check_labels
from embed_assets.evaluation.scoring import read_summaries
from embed_assets.evaluation.stages import EVALUATION_SET
from embed_assets.graph import DEFAULT_STAGES, STAGES
from embed_assets.plan import stages_of_run
from embed_assets.queries.unread_files import unread_files
from embed_assets.settings import Settings, describe_settings, read_settings

if TYPE_CHECKING:
    from dagster import DagsterInstance

OPTIONAL = [name for name in STAGES if name not in DEFAULT_STAGES]


@click.command()
@click.argument("collections", metavar="[COLLECTION]...", nargs=-1)
@data_option
@home_option
@click.option(
    "--until",
    type=click.Choice(list(STAGES)),
    metavar="ASSET",
    multiple=True,
    help=f"Stop after this asset; may be given more than once: {', '.join(STAGES)}.  [default: all but {', '.join(OPTIONAL)}]",
)
@gpu_option
@json_option("each collection that was built, with its scores")
def run(collections: tuple[str, ...], data: str, home: str, until: tuple[str, ...], as_json: bool) -> None:
    """Materialize the assets of collections (all, if none is named) and print the score tables.

    What is already built is taken from the store. One failing collection does not stop the others.
    """
    workspace = open_workspace(data, home)
    names = known_collections(workspace, collections)
    set_environment(workspace)
    if workspace.remote:
        workspace.home_id  # noqa: B018  # who may not write there learns it before anything is computed
    log_to_stderr()
    failed = []
    with ExitStack() as opened:
        instance: DagsterInstance | None = None
        for name in names:
            started = time.monotonic()
            for words in unread_files(workspace.collection_folder(name)):
                click.echo(f"{name}: {words}", err=True)
            stages = {stage.name for stage in stages_of_run(workspace, name, until)}
            settled = Settled(workspace, name, until)
            in_place = settled.holds()
            if not in_place:
                if EVALUATION_SET.name in stages and not _has_sound_labels(workspace, name):
                    failed.append(name)
                    continue
                from embed_assets.cli.runs import materialize_collection, open_instance

                instance = instance or opened.enter_context(open_instance(workspace.home))
                if not materialize_collection(instance, name, *until):
                    failed.append(name)
                    continue
                settled.remember()
            seconds = time.monotonic() - started
            click.echo(f"{name}: {'all results are in place' if in_place else f'done in {seconds:.0f} s'}", err=True)
            scored = [asset for asset in ("beir_scores", "reranker_scores") if asset in stages]
            if as_json:
                scores = {asset: read_summaries(workspace.store.current(asset, name).folder) for asset in scored}
                echo_json({"collection": name, "seconds": round(seconds, 1), **scores})
                continue
            for asset in scored:
                echo_scores(workspace, name, asset)
    if failed:
        raise click.ClickException(f"failed: {', '.join(failed)}; what was built is kept, and a new run goes on from there")


@click.command()
@json_option("each collection")
@data_option
@home_option
def collections(as_json: bool, data: str, home: str) -> None:
    """List the collections, and which assets of each are built, or why its settings are refused."""
    workspace = open_workspace(data, home)
    for name in workspace.some_collections():
        built = [stage for stage in STAGES if workspace.store.find_current(stage, name) is not None]
        refused = _refusal(workspace, name)
        if as_json:
            echo_json({"collection": name, "built": built} | ({"refused": refused} if refused else {}))
        else:
            click.echo(f"{name}\t{', '.join(built) or 'nothing built yet'}{f'; {refused}' if refused else ''}")


@click.command()
@click.argument("collection", required=False)
@json_option("all of them")
@data_option
def settings(collection: str | None, as_json: bool, data: str) -> None:
    """Print the settings of a collection, or the built-in defaults, with what each one means."""
    found = Settings() if collection is None else open_collection(collection, data)[1]
    if as_json:
        echo_json(found.model_dump(mode="json"))
    else:
        click.echo(describe_settings(found))


def _has_sound_labels(workspace: Workspace, collection: str) -> bool:
    """Whether the files with labels can be read; if not, it is told."""
    try:
        check_labels(workspace.collection_folder(collection))
    except CollectionError as error:
        click.echo(f"{collection}: {error}", err=True)
        return False
    return True


def _refusal(workspace: Workspace, collection: str) -> str:
    """What is wrong with the settings of a collection; empty if nothing is."""
    try:
        read_settings(workspace, collection)
    except (CollectionError, SettingsError) as error:
        return str(error)
    return ""
