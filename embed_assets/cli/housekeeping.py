"""Commands that look after the home: what is damaged, and what nobody needs."""

import logging
from pathlib import Path

import click

from embed_assets.artifacts.prune import collections_in, removals_by_kind
from embed_assets.artifacts.remote_keeping import verify_remote
from embed_assets.artifacts.remote_store import RemoteStore
from embed_assets.artifacts.verify import verify_artifacts, verify_memos
from embed_assets.artifacts.workspace import Workspace, open_workspace
from embed_assets.cli.arguments import data_option, echo_json, home_option, json_option, log_to_stderr
from embed_assets.retention import KEEP, remove_gone
from embed_assets.retention import prune as sweep_home


@click.command()
@click.argument("collections", metavar="[COLLECTION]...", nargs=-1)
@click.option("--keep", default=KEEP, show_default=True, type=click.IntRange(1), help="So many of each asset stay, the newest.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be removed.")
@click.option("--gone", is_flag=True, help="Remove all of the named collections, whose folders are gone.")
@json_option("all of it")
@data_option
@home_option
def prune(collections: tuple[str, ...], keep: int, dry_run: bool, gone: bool, as_json: bool, data: str, home: str) -> None:
    """Remove what nobody needs any more, and say what that frees.

    What is current stays, what is in production and what a rollback brings back, the newest of each asset, and what
    all of those are made of; the frozen test queries stay in any case. Of the trials of a sweep, scores and settings
    stay, and the weights of the best three. Without names, memos of models that are gone and old logs go as well.
    A collection of which something is being computed is left alone, and so is one whose folder is gone, but for --gone:
    that removes its results, its test queries and its published index. What was asked of language models stays.
    """
    workspace = open_workspace(data, home)
    names = _built_ones(workspace, collections)
    if gone and not names:
        raise click.UsageError("--gone takes the names of the collections")
    pruned = remove_gone(workspace, names, dry_run) if gone else sweep_home(workspace, names, keep, dry_run)
    if as_json:
        kinds = [{"kind": kind, "count": n, "bytes": size} for kind, (n, size) in removals_by_kind(pruned.removals).items()]
        tables = [{"database": uri, "table": table} for uri, table in pruned.tables]
        echo_json({"dry_run": dry_run, "bytes": pruned.size, "kinds": kinds, "tables": tables, "left_alone": pruned.left_alone})
        return
    for kind, (count, size) in removals_by_kind(pruned.removals).items():
        click.echo(f"{_megabytes(size):>12}  {count} × {kind}")
    for uri, table in pruned.tables:
        click.echo(f"{'table':>12}  {table} in {uri}")
    for reason in pruned.left_alone:
        click.echo(f"left alone: {reason}", err=True)
    click.echo(f"{_megabytes(pruned.size):>12}  {'would be free' if dry_run else 'free'}")


@click.command()
@click.argument("collections", metavar="[COLLECTION]...", nargs=-1)
@json_option("all of it")
@data_option
@home_option
def verify(collections: tuple[str, ...], as_json: bool, data: str, home: str) -> None:
    """Read again what was built, and set aside what is damaged, so that the next run computes it again.

    Without names, the memos are checked as well.
    """
    workspace = open_workspace(data, home)
    names = _built_ones(workspace, collections)
    log_to_stderr()
    logging.getLogger("embed_assets").setLevel(logging.WARNING)
    store = workspace.store
    found: list[tuple[Path | str, str | None]] = []
    for name in names or collections_in(store):
        found += verify_remote(store, name) if isinstance(store, RemoteStore) else verify_artifacts(store, name)
    found += [] if names else verify_memos(workspace.memos)
    damaged = [{"path": path, "problem": problem} for path, problem in found if problem is not None]
    if as_json:
        echo_json({"looked_at": len(found), "damaged": damaged})
        return
    click.echo(f"{len(found)} looked at, {len(damaged)} damaged")


def _built_ones(workspace: Workspace, names: tuple[str, ...]) -> list[str]:
    """The named collections, each once, of which something has to be built."""
    there = collections_in(workspace.store)
    if unknown := [name for name in names if name not in there]:
        raise click.ClickException(f"nothing is built of {', '.join(unknown)} in {workspace.address}")
    return list(dict.fromkeys(names))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
