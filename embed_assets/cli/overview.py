"""The command that shows all collections side by side."""

import click

from embed_assets.artifacts.prune import collections_in
from embed_assets.artifacts.workspace import open_workspace
from embed_assets.cli.arguments import data_option, echo_json, home_option, json_option, named_collections
from embed_assets.overview import contradictions, in_production, score_overview
from embed_assets.retention import GONE


@click.command("overview")
@click.argument("collections", metavar="[COLLECTION]...", nargs=-1)
@json_option("each score, then one for each collection in production")
@data_option
@home_option
def overview_command(collections: tuple[str, ...], as_json: bool, data: str, home: str) -> None:
    """Show what fine-tuning gained in each collection (all, if none is named), and what is in production.

    The figures are nDCG@10 on the test queries of each label source. Look-ups are words of the text itself: what they
    say is no proof.
    """
    workspace = open_workspace(data, home)
    names = named_collections(workspace, collections)
    scores = score_overview(workspace, names)
    states = [in_production(workspace, name) for name in names]
    if as_json:
        for row in [*scores.iter_rows(named=True), *states]:
            echo_json(row)
        return
    click.echo(_table(scores.drop("low", "high").rows(named=True)))
    for name in contradictions(scores):
        click.echo(f"\n{name}: written questions say the opposite of people: trust people")
    click.echo(f"\n{_table(states)}")
    for name in (name for name in collections_in(workspace.store) if not collections and workspace.is_gone(name)):
        click.echo(f"{name}: {GONE}: see 'embed-assets prune --help'", err=True)


def _table(rows: list[dict]) -> str:
    if not rows:
        return "there are no scores yet: 'embed-assets run' makes them"
    cells = [
        list(rows[0]),
        *([f"{value:.3f}" if isinstance(value, float) else str(value or "") for value in row.values()] for row in rows),
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells)
