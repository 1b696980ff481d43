"""Commands of sweeps."""

from typing import TYPE_CHECKING

import click

from embed_assets.artifacts.workspace import Workspace
from embed_assets.cli.arguments import (
    data_option,
    echo_json,
    gpu_option,
    home_option,
    json_option,
    log_to_stderr,
    open_collection,
    read_table,
    set_environment,
)
from embed_assets.lineage import dev_scores, finished_trials
from embed_assets.settings import read_settings
from embed_assets.sweep.stages import LEADERBOARD, SATURATION_CURVE
from embed_assets.sweep.trials import planned_trials, promote_trial, read_trials, suggest_trial, with_trial

if TYPE_CHECKING:
    from dagster import DagsterInstance


@click.command()
@click.argument("collection")
@click.argument("trials", metavar="[TRIAL]...", nargs=-1)
@click.option("--suggested", default=0, type=click.IntRange(0), help="So many trials are suggested by Optuna, after the others.")
@gpu_option
@json_option("each finished trial, best first")
@data_option
@home_option
def sweep(collection: str, trials: tuple[str, ...], suggested: int, as_json: bool, data: str, home: str) -> None:
    """Train and score trials of a collection, such as 'epochs=2_seed=14', and print which settings are best.

    Without names, the settings block 'trials' says which; finished ones are taken from the store. One failing trial
    does not stop the others. As many run at once as the pool 'gpu' has slots; suggested ones take turns.
    """
    workspace, chosen = open_collection(collection, data, home)
    set_environment(workspace)
    from embed_assets.cli.runs import compare_trials, materialize_collection, open_instance
    from embed_assets.sweep.saturation import missing_for_curve

    log_to_stderr()
    names = list(dict.fromkeys(trials)) or planned_trials(chosen.training, chosen.trials)
    for name in names:
        with_trial(chosen.training, name)
    with open_instance(workspace.home) as instance:
        if not materialize_collection(instance, collection, "triplets"):
            raise click.ClickException(f"{collection}: there are no triplets to train on")
        problems = [f"the trial {name} failed" for name in _run_trials(workspace, instance, collection, names, suggested)]
        missing = missing_for_curve(read_trials(finished_trials(workspace, collection)), chosen.training)
        for asset in [LEADERBOARD.name] if missing else [LEADERBOARD.name, SATURATION_CURVE.name]:
            if not compare_trials(instance, collection, asset):
                problems.append(f"there is no {asset}")
                continue
            if as_json:
                if asset == LEADERBOARD.name:
                    for row in read_table(workspace, collection, asset, "leaderboard.parquet").iter_rows(named=True):
                        echo_json({"collection": collection, **row})
                continue
            report = workspace.store.current(asset, collection).report
            click.echo("\n".join(["", *(path.read_text(encoding="utf-8") for path in sorted(report.glob("*.md")))]))
    if missing:
        click.echo(f"{collection}: without a saturation curve: {missing}", err=True)
    if problems:
        raise click.ClickException(f"{collection}: {'; '.join(problems)}; finished trials are kept")


def _run_trials(
    workspace: Workspace, instance: "DagsterInstance", collection: str, names: list[str], suggested: int
) -> list[str]:
    """Materialize the named trials, and then so many suggested ones; returns those that failed."""
    from embed_assets.cli.runs import materialize_trial, materialize_trials

    settings = read_settings(workspace, collection)
    training, mined, total = settings.training, settings.negatives.per_query, len(names) + suggested

    def tell(number: int, name: str) -> None:
        click.echo(f"{collection}: trial {number + 1} of {total}, {name}", err=True)

    tried = materialize_trials(instance, workspace.home, collection, names, tell)
    for number in range(len(names), total):
        name = suggest_trial(training, mined, dev_scores(workspace, collection))
        if name in tried:  # nothing was learned from it, so it would be suggested for ever
            click.echo(f"{collection}: {name} is suggested again, so there are no more suggestions", err=True)
            break
        tell(number, name)
        tried[name] = materialize_trial(instance, collection, name)
    return [name for name, done in tried.items() if not done]


@click.command()
@click.argument("collection")
@click.argument("trial")
@json_option("the file that was written")
@data_option
@home_option
def promote(collection: str, trial: str, as_json: bool, data: str, home: str) -> None:
    """Write the settings of a trial into the collection's settings.yaml, so that it becomes the checkpoint.

    What the trial has trained is used again by the next run, unless 'prune' has removed its weights.
    """
    workspace, settings = open_collection(collection, data, home)
    path = promote_trial(workspace.writable_folder(collection), settings.training, trial)
    if as_json:
        echo_json({"collection": collection, "trial": trial, "settings": path})
        return
    what = (
        "takes it over"
        if trial in finished_trials(workspace, collection, settings)
        else "trains it: no such trial was trained with what there is now"
    )
    click.echo(f"{path}: written; 'embed-assets run {collection}' {what}")
