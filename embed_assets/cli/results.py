"""Commands that show, copy and compare what was built."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from embed_assets.artifacts.store import HTML_REPORT
from embed_assets.artifacts.workspace import Workspace
from embed_assets.cli.arguments import data_option, echo_json, gpu_option, home_option, json_option, open_collection
from embed_assets.evaluation.scoring import read_summaries, scores_table
from embed_assets.graph import STAGES
from embed_assets.sweep.stages import LEADERBOARD, SATURATION_CURVE
from embed_assets.training.stages import CHECKPOINT, RERANKER

HOLD_A_MODEL, MODEL = (CHECKPOINT.name, RERANKER.name), "model"


@click.command()
@click.argument("collection")
@data_option
@home_option
@click.option("--reranked", is_flag=True, help="With the re-ranker, from reranker_scores.")
@json_option("each label source")
def scores(collection: str, data: str, home: str, reranked: bool, as_json: bool) -> None:
    """Print the scores of a collection again."""
    workspace, _ = open_collection(collection, data, home)
    echo_scores(workspace, collection, "reranker_scores" if reranked else "beir_scores", as_json)


@click.command()
@click.argument("collection")
@click.argument("asset", type=click.Choice([*STAGES, LEADERBOARD.name, SATURATION_CURVE.name]), metavar="ASSET")
@json_option("the folder")
@data_option
@home_option
def path(collection: str, asset: str, as_json: bool, data: str, home: str) -> None:
    """Print the folder of what an asset of a collection holds now.

    Of 'checkpoint' and 'reranker', that is the folder of the model, which other libraries load.
    """
    workspace, _ = open_collection(collection, data, home)
    folder = workspace.store.current(asset, collection).folder
    found = folder / MODEL if asset in HOLD_A_MODEL else folder
    if as_json:
        echo_json({"collection": collection, "asset": asset, "path": found})
    else:
        click.echo(found)


@click.command()
@click.argument("collection")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@gpu_option
@json_option("each label source")
@data_option
@home_option
def compare(collection: str, models: tuple[str, ...], as_json: bool, data: str, home: str) -> None:
    """Score any models on the evaluation set of a collection; each is tested against the first one.

    A MODEL is 'base', the name or folder of a model, or the fingerprint of a checkpoint (or how it begins). Checkpoints
    are encoded with the prompts and the length that they were trained with, all other models as their own configuration
    says.
    """
    workspace, settings = open_collection(collection, data, home)
    from embed_assets.defs.resources import GpuResource
    from embed_assets.evaluation.comparison import compare_models

    compute = GpuResource.configured().compute()
    _echo_summaries(compare_models(workspace, collection, models, settings.base_model, settings.scoring, compute), as_json)


@click.command()
@click.argument("collection")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@data_option
@home_option
def report(collection: str, file: Path, data: str, home: str) -> None:
    """Write all about the checkpoint of a collection into one HTML file, which can be mailed."""
    workspace, _ = open_collection(collection, data, home)
    page = workspace.store.current("beir_scores", collection).report / HTML_REPORT
    try:
        shutil.copyfile(page, file)
    except OSError as error:
        raise click.ClickException(str(error)) from None


def echo_scores(workspace: Workspace, collection: str, asset: str = "beir_scores", as_json: bool = False) -> None:
    """Print the scores that are current."""
    artifact = workspace.store.current(asset, collection)
    summaries = read_summaries(artifact.folder)
    _echo_summaries(summaries, as_json)
    if not summaries:
        click.echo(f"{collection}: {artifact.findings[0]['message']}", err=True)


def _echo_summaries(summaries: Iterable[Mapping[str, Any]], as_json: bool) -> None:
    for summary in summaries:
        if as_json:
            echo_json(summary)
        else:
            click.echo(f"\n{scores_table(summary)}\n")
