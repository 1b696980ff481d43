"""The command that serves the playground."""

import socket
from pathlib import Path

import click

from embed_assets.artifacts.workspace import Workspace, open_workspace
from embed_assets.cli.arguments import data_option, home_option, known_collections, log_to_stderr

HOST = "127.0.0.1"


@click.command()
@click.argument("collection", required=False)
@click.option("--port", type=click.IntRange(1, 65535), default=3001, show_default=True, help="Where it is served.")
@click.option(
    "--queries", type=click.Path(path_type=Path), help="A log of real queries, one on each line, which wait for labels."
)
@click.option(
    "--split",
    type=click.Choice(["auto", "dev", "test"]),
    default="auto",
    show_default=True,
    help="Where the labels of new queries go; auto: by a hash of the query.",
)
@data_option
@home_option
def playground(collection: str | None, port: int, queries: Path | None, split: str, data: str, home: str) -> None:
    """Serve a page that searches a scored collection with all systems side by side, and takes labels.

    Only this machine can open it. Labels go into qrels/dev.tsv and qrels/test.tsv of the collection's folder.
    """
    workspace = open_workspace(data, home)
    name = _scored_collection(workspace, collection)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise click.ClickException(f"port {port} cannot be used ({error.strerror}): name another one with --port") from None
    log_to_stderr()
    click.echo(f"{name}: loading the models; this takes some seconds", err=True)
    app = _open(workspace, name, port, queries, split)
    import uvicorn

    click.echo(f"{name}: http://{HOST}:{port} (Ctrl+C ends it)")
    uvicorn.run(app, host=HOST, port=port, log_level="warning", server_header=False)


def _scored_collection(workspace: Workspace, collection: str | None) -> str:
    """The collection that was named, or the only one that has scores."""
    if collection is not None:
        return known_collections(workspace, [collection])[0]
    scored = [name for name in known_collections(workspace, []) if workspace.store.pointer("beir_scores", name)]
    if not scored:
        raise click.ClickException("no collection has scores yet: embed-assets run --until beir_scores")
    if len(scored) > 1:
        raise click.ClickException(f"name one of the collections: {', '.join(scored)}")
    return scored[0]


def _open(workspace: Workspace, name: str, port: int, queries: Path | None, split: str):
    from embed_assets.defs.resources import GpuResource
    from embed_assets.models.hardware import Compute
    from embed_assets.playground.opening import open_playground
    from embed_assets.playground.pages import make_app

    # On the CPU, as runs need the GPU, but in their dtype: in another one all passages would be encoded once more.
    compute = Compute("cpu", GpuResource.configured().compute().dtype_name())  # type: ignore[arg-type]
    opened = open_playground(workspace, name, queries, None if split == "auto" else split, compute)  # type: ignore[arg-type]
    return make_app(opened, port)
