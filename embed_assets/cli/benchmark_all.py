"""The command that measures everything on this machine."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from embed_assets.artifacts.workspace import Workspace
from embed_assets.cli.arguments import data_option, echo_json, home_option, json_option, open_collection
from embed_assets.graph import STAGES

# Of the other benchmarks, those of one collection's own models and data.
MEASURED = ("questions", "encoding", "mining", "training", "late-interaction", "vector-storage")
LONGEST_ERROR = 300  # characters
# Sizes that show whether everything runs here, in some minutes; the figures are rough.
QUICK = {
    "questions": ("--count", "16"),
    "encoding": ("--count", "48"),
    "mining": ("--count", "48"),
    "training": ("--examples", "32"),
    "late-interaction": ("--count", "8", "--candidates", "16"),
}


@click.command("all")
@click.argument("collection")
@click.option("--only", type=click.Choice(MEASURED), multiple=True, help="Only these; may be given more than once.")
@click.option("--quick", is_flag=True, help="Few texts in each, to see whether all run; the figures are rough.")
@json_option("each way of each benchmark")
@data_option
@home_option
def benchmark_all(collection: str, only: tuple[str, ...], quick: bool, as_json: bool, data: str, home: str) -> None:
    """All benchmarks of a collection that was built, each in a process of its own, and what its stages took.

    The first line says on what machine. What cannot be measured here, such as questions without vLLM, has an error in its place.
    """
    workspace, _ = open_collection(collection, data, home)
    from embed_assets.benchmarks.machine import machine

    on = machine()
    echo_json({"benchmark": "machine", **on}) if as_json else click.echo(_in_words(on))
    for name in only or MEASURED:
        for row in _measured(name, collection, workspace, QUICK.get(name, ()) if quick else ()):
            _echo(name, row, as_json)
    for row in _stages(workspace, collection):
        _echo("stages", row, as_json)


def _measured(name: str, collection: str, workspace: Workspace, sizes: Sequence[str]) -> Iterator[dict[str, Any]]:
    command = [sys.executable, "-m", "embed_assets.cli", "benchmark", name, collection, *sizes, "--json"]
    folders = ["--data", workspace.data_address, "--home", workspace.address]
    done = subprocess.run([*command, *folders], capture_output=True, text=True)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["it ended without a word"]
        yield {"error": last[0].removeprefix("Error: ")[:LONGEST_ERROR]}
        return
    yield from rows_of(done.stdout)


def rows_of(output: str) -> Iterator[dict[str, Any]]:
    """The rows in what a command printed with --json; libraries print lines of their own among them, such as {'loss': 1.2}."""
    for line in output.splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            if isinstance(row := json.loads(line), dict):
                yield row


def _stages(workspace: Workspace, collection: str) -> Iterator[dict[str, Any]]:
    """What the assets that are there took when they were built, which may have been on another machine."""
    for name in STAGES:
        if (built := workspace.store.find_current(name, collection)) is not None:
            yield {"asset": name, "seconds": round(built.manifest["seconds"], 1), "built_at": built.manifest["built_at"]}


def _echo(name: str, row: dict[str, Any], as_json: bool) -> None:
    if as_json:
        echo_json({"benchmark": name, **row})
    else:
        click.echo(f"{name:16} " + ", ".join(f"{key} {value}" for key, value in row.items() if value is not None))


def _in_words(on: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in on["versions"].items())
    return f"{on['device']} ({on['device_gigabytes']} GB), {on['cores']} cores, load {on['load']}; {versions}"
