"""What the commands have in common: where data and home are, which collections are named, and output for programs."""

import json
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click
import polars as pl

from embed_assets.artifacts.workspace import Workspace, open_workspace
from embed_assets.settings import Settings, read_settings

data_option = click.option(
    "--data",
    default="",
    help="Folder with collections/ and settings.yaml, or one BEIR folder; or its address on an object store "
    "(s3://BUCKET/PATH).  [default: $EMBED_ASSETS_DATA or data]",
)
home_option = click.option(
    "--home",
    default="",
    help="Folder of artifacts and memos, or its address on an object store (s3://BUCKET/PATH); runs are recorded in "
    "$DAGSTER_HOME, if it is set.  "
    "[default: $EMBED_ASSETS_HOME, $DAGSTER_HOME or .dagster_home]",
)


def _keep_gpu_options(context: click.Context, parameter: click.Parameter, words: tuple[str, ...]) -> None:
    if not words:
        return
    from embed_assets.defs.resources import GPU_OPTIONS, read_options

    try:
        read_options(words)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    os.environ[GPU_OPTIONS] = " ".join(words)


gpu_option = click.option(
    "--gpu",
    metavar="NAME=VALUE",
    multiple=True,
    envvar="EMBED_ASSETS_GPU",
    expose_value=False,
    callback=_keep_gpu_options,
    help="A setting of the resource gpu, such as batch_size=128 or cluster=ray; may be given more than once.  "
    "[default: $EMBED_ASSETS_GPU]",
)


def json_option(of: str) -> Callable[[Any], Any]:
    """The option --json, for commands that print results.

    Args:
        of: what there is a line for.
    """
    return click.option("--json", "as_json", is_flag=True, help=f"Print JSON instead, for programs: one line for {of}.")


def echo_json(row: Any) -> None:
    """Print a line of JSON; paths become their names."""
    click.echo(json.dumps(row, ensure_ascii=False, default=str))


def echo_table(table: pl.DataFrame, as_json: bool) -> None:
    """Print a table as Markdown, or its rows as JSON."""
    if as_json:
        for row in table.iter_rows(named=True):
            echo_json(row)
        return
    with pl.Config(
        tbl_formatting="ASCII_MARKDOWN",
        tbl_hide_column_data_types=True,
        tbl_hide_dataframe_shape=True,
        tbl_cols=-1,
        tbl_rows=-1,
        fmt_str_lengths=60,
        tbl_width_chars=200,
    ):
        click.echo(table)


def set_environment(workspace: Workspace) -> None:
    """The assets, and the processes that they start, find their folders in the environment."""
    os.environ["EMBED_ASSETS_HOME"] = workspace.address
    os.environ["EMBED_ASSETS_DATA"] = workspace.data_address


def named_collections(workspace: Workspace, names: Sequence[str]) -> list[str]:
    """The named collections, each once, or all."""
    for name in names:
        workspace.collection_folder(name)
    return list(dict.fromkeys(names)) or list(workspace.some_collections())


def known_collections(workspace: Workspace, names: Sequence[str]) -> list[str]:
    """The same; their settings are checked before anything runs."""
    found = named_collections(workspace, names)
    for name in found:
        read_settings(workspace, name)
    return found


def open_collection(collection: str, data: str, home: str = "") -> tuple[Workspace, Settings]:
    """The workspace of a command about one collection, and the settings of that."""
    workspace = open_workspace(data, home)
    return workspace, read_settings(workspace, collection)


def read_table(workspace: Workspace, collection: str, asset: str, file: str) -> pl.DataFrame:
    """A table of a current artifact."""
    return pl.read_parquet(workspace.store.current(asset, collection).folder / file)


def printable(text: str) -> str:
    """The text for a terminal: ids of rows and of corpora may hold what it would take for commands."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", lambda match: f"\\x{ord(match[0]):02x}", text)


class _Printable(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def log_to_stderr() -> None:
    """Print what the package logs, with the time."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Printable("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    logger = logging.getLogger("embed_assets")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
