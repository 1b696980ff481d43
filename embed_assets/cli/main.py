"""The command ``embed-assets``."""

import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import click
import polars as pl
from dagster import DagsterInstance

from embed_assets.artifacts.blocks import SettingsError
from embed_assets.artifacts.store import HTML_REPORT, MissingArtifactError
from embed_assets.artifacts.workspace import CollectionError, Workspace
from embed_assets.defs.resources import WorkspaceResource
from embed_assets.evaluation.evaluation_set import read_evaluation_set
from embed_assets.evaluation.scoring import scores_table
from embed_assets.graph import DEFAULT_STAGES, STAGES
from embed_assets.lineage import dev_scores, finished_trials, open_published
from embed_assets.models.locations import ModelNotFoundError
from embed_assets.production.published_index import PublishingError
from embed_assets.production.search import Mode, search_index
from embed_assets.settings import Settings, describe_settings, read_settings
from embed_assets.sweep.stages import LEADERBOARD, SATURATION_CURVE
from embed_assets.sweep.trials import TrialError, planned_trials, promote_trial, read_trials, suggest_trial, with_trial

OPTIONAL = [name for name in STAGES if name not in DEFAULT_STAGES]
data_option = click.option(
    "--data",
    default="",
    help="Folder with collections/ and settings.yaml, or one BEIR folder.  [default: $EMBED_ASSETS_DATA or data]",
)
home_option = click.option(
    "--home",
    default="",
    help="Folder of all that is computed.  [default: $EMBED_ASSETS_HOME, $DAGSTER_HOME or .dagster_home]",
)


@click.group()
def main() -> None:
    """Fine-tune an embedding model on your own documents, and prove that it is better."""


@main.command()
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
def run(collections: tuple[str, ...], data: str, home: str, until: tuple[str, ...]) -> None:
    """Materialize the assets of collections (all, if none is named) and print the score tables.

    What is already built is taken from the store. One failing collection does not stop the others.
    """
    workspace = _workspace(data, home)
    names = _known(workspace, collections)
    _set_environment(workspace)
    from embed_assets.cli.runs import materialize_collection, open_instance

    _log_to_stderr()
    failed = []
    with open_instance(workspace.home) as instance:
        for name in names:
            started = time.monotonic()
            if not materialize_collection(instance, name, *until):
                failed.append(name)
                continue
            click.echo(f"{name}: done in {time.monotonic() - started:.0f} s", err=True)
            for asset in ("beir_scores", "reranker_scores"):
                if _builds(until or DEFAULT_STAGES, asset):
                    _echo_scores(workspace, name, asset)
    if failed:
        raise click.ClickException(f"failed: {', '.join(failed)}; what was built is kept, and a new run goes on from there")


@main.command()
@click.argument("collection")
@data_option
@home_option
@click.option("--reranked", is_flag=True, help="With the re-ranker, from reranker_scores.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, one line for each label source.")
def scores(collection: str, data: str, home: str, reranked: bool, as_json: bool) -> None:
    """Print the scores of a collection again."""
    workspace = _workspace(data, home)
    _known(workspace, [collection])
    _echo_scores(workspace, collection, "reranker_scores" if reranked else "beir_scores", as_json)


@main.command()
@click.argument("collection")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, one line for each label source.")
@data_option
@home_option
def compare(collection: str, models: tuple[str, ...], as_json: bool, data: str, home: str) -> None:
    """Score any models on the evaluation set of a collection; each is tested against the first one.

    A MODEL is 'base', the name or folder of a model, or the fingerprint of a checkpoint (or how it begins). Checkpoints
    are encoded with the prompts and the length that they were trained with, all other models with the query_prompt,
    passage_prompt and max_tokens of this collection's base_model.
    """
    workspace = _workspace(data, home)
    _known(workspace, [collection])
    from embed_assets.evaluation.comparison import AmbiguousModelError, compare_models

    try:
        settings = read_settings(workspace, collection)
        summaries = compare_models(workspace, collection, models, settings.base_model, settings.scoring)
    except (MissingArtifactError, ModelNotFoundError, AmbiguousModelError) as error:
        raise click.ClickException(str(error)) from None
    for summary in summaries:
        click.echo(json.dumps(summary) if as_json else f"\n{scores_table(summary)}\n")


@main.command()
@click.argument("collection")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@data_option
@home_option
def report(collection: str, file: Path, data: str, home: str) -> None:
    """Write all about the checkpoint of a collection into one HTML file, which can be mailed."""
    workspace = _workspace(data, home)
    _known(workspace, [collection])
    try:
        shutil.copyfile(workspace.store.current("beir_scores", collection).report / HTML_REPORT, file)
    except (MissingArtifactError, OSError) as error:
        raise click.ClickException(str(error)) from None


@main.command("export-beir")
@click.argument("collection")
@click.argument("folder", type=click.Path(path_type=Path))
@data_option
@home_option
def export_beir_command(collection: str, folder: Path, data: str, home: str) -> None:
    """Write a collection's corpus, queries, labels and runs to a new folder, in the formats of BEIR and trec_eval.

    There is a BEIR folder for each label source: human/ with documents, own/ and synthetic/ with chunks.
    """
    workspace = _workspace(data, home)
    _known(workspace, [collection])
    from embed_assets.evaluation.beir_export import export_beir

    try:
        corpus, yardstick = (workspace.store.current(name, collection).folder for name in ("corpus_chunks", "evaluation_set"))
        counts = export_beir(
            folder,
            pl.read_parquet(corpus / "documents.parquet"),
            pl.read_parquet(corpus / "chunks.parquet"),
            _read(workspace, collection, "triplets", "triplets.parquet"),
            *read_evaluation_set(yardstick, corpus),
            _read(workspace, collection, "beir_scores", "runs.parquet"),
        )
    except (MissingArtifactError, FileExistsError) as error:
        raise click.ClickException(str(error)) from None
    for source, row in counts.items():
        click.echo(f"{folder / source}: " + ", ".join(f"{name} {count}" for name, count in row.items()))


@main.command()
@click.argument("collection")
@click.argument("trials", metavar="[TRIAL]...", nargs=-1)
@click.option("--suggested", default=0, help="So many trials are suggested by Optuna, after the others.")
@data_option
@home_option
def sweep(collection: str, trials: tuple[str, ...], suggested: int, data: str, home: str) -> None:
    """Train and score trials of a collection, such as 'epochs=2_seed=14', and print which settings are best.

    Without names, the settings block 'trials' says which; finished ones are taken from the store. One failing trial
    does not stop the others.
    """
    workspace = _workspace(data, home)
    _known(workspace, [collection])
    _set_environment(workspace)
    from embed_assets.cli.runs import compare_trials, materialize_collection, open_instance
    from embed_assets.sweep.saturation import missing_for_curve

    _log_to_stderr()
    chosen = read_settings(workspace, collection)
    names = list(dict.fromkeys(trials)) or planned_trials(chosen.training, chosen.trials)
    try:
        for name in names:
            with_trial(chosen.training, name)
    except TrialError as error:
        raise click.ClickException(str(error)) from None
    with open_instance(workspace.home) as instance:
        if not materialize_collection(instance, collection, "triplets"):
            raise click.ClickException(f"{collection}: there are no triplets to train on")
        problems = [f"the trial {name} failed" for name in _run_trials(workspace, instance, collection, names, suggested)]
        missing = missing_for_curve(read_trials(finished_trials(workspace, collection)), chosen.training)
        for asset in [LEADERBOARD.name] if missing else [LEADERBOARD.name, SATURATION_CURVE.name]:
            if not compare_trials(instance, collection, asset):
                problems.append(f"there is no {asset}")
                continue
            report = workspace.store.current(asset, collection).report
            click.echo("\n".join(["", *(path.read_text(encoding="utf-8") for path in sorted(report.glob("*.md")))]))
    if missing:
        click.echo(f"{collection}: without a saturation curve: {missing}", err=True)
    if problems:
        raise click.ClickException(f"{collection}: {'; '.join(problems)}; finished trials are kept")


def _run_trials(workspace: Workspace, instance: DagsterInstance, collection: str, names: list[str], suggested: int) -> list[str]:
    """Materialize the named trials, and then so many suggested ones; returns those that failed."""
    from embed_assets.cli.runs import materialize_trial

    settings = read_settings(workspace, collection)
    training, mined = settings.training, settings.negatives.per_query
    tried: dict[str, bool] = {}
    for number in range(len(names) + suggested):
        name = names[number] if number < len(names) else suggest_trial(training, mined, dev_scores(workspace, collection))
        if name in tried:  # nothing was learned from it, so it would be suggested for ever
            click.echo(f"{collection}: {name} is suggested again, so there are no more suggestions", err=True)
            break
        click.echo(f"{collection}: trial {number + 1} of {len(names) + suggested}, {name}", err=True)
        tried[name] = materialize_trial(instance, collection, name)
    return [name for name, done in tried.items() if not done]


@main.command()
@click.argument("collection")
@click.argument("trial")
@data_option
@home_option
def promote(collection: str, trial: str, data: str, home: str) -> None:
    """Write the settings of a trial into the collection's settings.yaml, so that it becomes the checkpoint.

    What the trial has trained is used again by the next run.
    """
    workspace = _workspace(data, home)
    _known(workspace, [collection])
    try:
        training = read_settings(workspace, collection).training
        path = promote_trial(workspace.collection_folder(collection), training, trial)
    except TrialError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{path}: written; 'embed-assets run {collection}' takes it over")


@main.command()
@data_option
@home_option
def collections(data: str, home: str) -> None:
    """List the collections, and which assets of each are built."""
    workspace = _workspace(data, home)
    for name in _known(workspace, ()):
        built = [stage for stage in STAGES if _is_built(workspace, stage, name)]
        click.echo(f"{name}\t{', '.join(built) or 'nothing built yet'}")


@main.command()
@click.argument("collection")
@click.argument("query")
@click.option("--mode", type=click.Choice(get_args(Mode)), default="hybrid", show_default=True, help="How.")
@click.option("--limit", default=10, show_default=True, help="Number of hits.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, one line for each hit.")
@data_option
@home_option
def search(collection: str, query: str, mode: Mode, limit: int, as_json: bool, data: str, home: str) -> None:
    """Search the published index of a collection, with the model that it was made with."""
    workspace = _workspace(data, home)
    _known(workspace, [collection])
    try:
        settings = read_settings(workspace, collection)
        hits = search_index(open_published(workspace, collection), query, settings.reranking, settings.scoring.rrf_k, mode, limit)
    except (PublishingError, MissingArtifactError) as error:
        raise click.ClickException(str(error)) from None
    if not hits:
        click.echo("nothing was found", err=True)
    for place, hit in enumerate(hits, start=1):
        text = " ".join(hit.text.split())
        click.echo(json.dumps(asdict(hit)) if as_json else f"{place:3} {hit.score:.4f}  {hit.chunk_id}  {text:.100}")


@main.command()
@click.argument("collection")
@data_option
@home_option
def rollback(collection: str, data: str, home: str) -> None:
    """Bring the previous index of a collection, and its model, back into production.

    A second rollback undoes the first.
    """
    workspace = _workspace(data, home)
    _known(workspace, [collection])
    try:
        pointer = open_published(workspace, collection).index.rollback()
    except PublishingError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{collection}: {pointer.current} is in production")


@main.group()
def benchmark() -> None:
    """Measure speed against the libraries underneath."""


@benchmark.command("questions")
@click.argument("collection")
@click.option("--count", default=200, show_default=True, help="Number of prompts.")
@data_option
@home_option
def benchmark_questions(collection: str, count: int, data: str, home: str) -> None:
    """Questions per second against bare vLLM, with the writer and the chunks of a collection."""
    workspace = _workspace(data, home)
    _known(workspace, [collection])
    from embed_assets.benchmarks.questions import benchmark_questions as measure
    from embed_assets.models.encoders import Encoder
    from embed_assets.queries.prompts import load_question_prompts

    settings = read_settings(workspace, collection)
    chunks = _read(workspace, collection, "corpus_chunks", "chunks.parquet")
    prompts = load_question_prompts(settings.questions, workspace.prompt_folders(collection))
    encoder = Encoder(settings.base_model, workspace.memos)
    _echo_table(measure(chunks, prompts, settings.questions, encoder, workspace.memos, count))


@benchmark.command("mining")
@click.argument("collection")
@click.option("--count", default=1000, show_default=True, help="Number of QA pairs.")
@data_option
@home_option
def benchmark_mining(collection: str, count: int, data: str, home: str) -> None:
    """Time and memory of mining hard negatives against sentence-transformers, with the pairs and chunks of a collection."""
    workspace = _workspace(data, home)
    _known(workspace, [collection])
    from embed_assets.benchmarks.mining import Mining, benchmark_mining

    settings = read_settings(workspace, collection)
    chunks = _read(workspace, collection, "corpus_chunks", "chunks.parquet")
    pairs = _read(workspace, collection, "qa_pairs", "pairs.parquet").head(count).with_columns(split=pl.lit("train"))
    _echo_table(benchmark_mining(Mining(chunks, pairs, settings.base_model, settings.negatives)))


@benchmark.command("training")
@click.argument("collection")
@click.option("--examples", default=256, show_default=True, help="Number of triplets.")
@data_option
@home_option
def benchmark_training(collection: str, examples: int, data: str, home: str) -> None:
    """Examples per second against the trainer of sentence-transformers, with the triplets of a collection."""
    workspace = _workspace(data, home)
    _known(workspace, [collection])
    from embed_assets.benchmarks.training import benchmark_training

    settings = read_settings(workspace, collection)
    triplets = _read(workspace, collection, "triplets", "triplets.parquet")
    try:
        table = benchmark_training(triplets, settings.base_model, settings.training, examples)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    _echo_table(table)


@main.command()
@click.argument("collection", required=False)
@data_option
def settings(collection: str | None, data: str) -> None:
    """Print the settings of a collection, or the built-in defaults, with what each one means."""
    if collection is None:
        click.echo(describe_settings(Settings()))
        return
    workspace = _workspace(data)
    _known(workspace, [collection])
    click.echo(describe_settings(read_settings(workspace, collection)))


def _workspace(data: str, home: str = "") -> Workspace:
    return WorkspaceResource(data=data, home=home).open()


def _set_environment(workspace: Workspace) -> None:
    """The assets, and the processes that they start, find their folders in the environment."""
    os.environ["DAGSTER_HOME"] = os.environ["EMBED_ASSETS_HOME"] = str(workspace.home)
    os.environ["EMBED_ASSETS_DATA"] = str(workspace.data)


def _known(workspace: Workspace, names: tuple[str, ...] | list[str]) -> list[str]:
    """The named collections, or all; their settings are checked before anything runs."""
    try:
        found = list(names) or list(workspace.collections())
        if not found:
            raise CollectionError(f"{workspace.data}: no folder with documents/, corpus.jsonl or a production table in it")
        for name in found:
            read_settings(workspace, name)
    except (CollectionError, SettingsError) as error:
        raise click.ClickException(str(error)) from None
    return found


def _read(workspace: Workspace, collection: str, asset: str, file: str) -> pl.DataFrame:
    try:
        return pl.read_parquet(workspace.store.current(asset, collection).folder / file)
    except MissingArtifactError as error:
        raise click.ClickException(str(error)) from None


def _builds(until: Iterable[str], asset: str) -> bool:
    """Whether an asset is one of these, or one that they are made from."""
    return any(name == asset or _builds(STAGES[name].inputs, asset) for name in until)


def _is_built(workspace: Workspace, stage: str, collection: str) -> bool:
    try:
        workspace.store.current(stage, collection)
    except MissingArtifactError:
        return False
    return True


def _echo_scores(workspace: Workspace, collection: str, asset: str = "beir_scores", as_json: bool = False) -> None:
    try:
        artifact = workspace.store.current(asset, collection)
    except MissingArtifactError as error:
        raise click.ClickException(str(error)) from None
    summaries = json.loads((artifact.folder / "scores.json").read_text())
    for summary in summaries:
        click.echo(json.dumps(summary) if as_json else f"\n{scores_table(summary)}\n")
    if not summaries:
        click.echo(f"{collection}: {artifact.findings[0]['message']}", err=True)


def _echo_table(table: pl.DataFrame) -> None:
    with pl.Config(
        tbl_formatting="ASCII_MARKDOWN",
        tbl_hide_column_data_types=True,
        tbl_hide_dataframe_shape=True,
        tbl_cols=-1,
        tbl_width_chars=200,
    ):
        click.echo(table)


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    logger = logging.getLogger("embed_assets")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
