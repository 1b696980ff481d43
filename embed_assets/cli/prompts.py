"""The command that shows prompts and copies one to be changed."""

from pathlib import Path

import click

from embed_assets.artifacts.files import write_atomically
from embed_assets.cli.arguments import data_option, echo_json, json_option, open_collection


@click.command("prompts")
@click.argument("collection")
@click.option(
    "--copy", "name", default="", metavar="NAME", help="Copy this prompt to where the collection has its own, to change it."
)
@json_option("each prompt, or the copy")
@data_option
def prompts_command(collection: str, name: str, as_json: bool, data: str) -> None:
    """List the prompts of a collection: styles of questions with their shares, and those of other tasks.

    A prompt in the collection's prompts/ is taken before one in the data folder's prompts/, and that before the package's.
    """
    workspace, settings = open_collection(collection, data)
    from embed_assets.queries.prompts import find_prompts, load_prompt

    folders, shares = workspace.prompt_folders(collection), settings.questions.styles
    found = find_prompts(folders)
    if name:
        _copy(name, found, folders[0], collection, as_json)
        return
    for prompt_name, path in sorted(found.items(), key=lambda row: (-shares.get(row[0], 0), row[0])):
        prompt = load_prompt(path.name, folders)
        share = shares.get(prompt_name, 0)
        if as_json:
            echo_json({"prompt": prompt_name, "share": share, "description": prompt.description, "path": path})
        else:
            click.echo(f"{prompt_name:20} {f'share {share:g}' if share else '':12} {prompt.description}\n{'':34}{path}")


def _copy(name: str, found: dict[str, Path], folder: Path, collection: str, as_json: bool) -> None:
    if name not in found:
        raise click.ClickException(f"there is no prompt {name!r}: there are {', '.join(sorted(found))}")
    copy = folder / f"{name}.jinja"
    if copy.exists():
        raise click.ClickException(f"{copy} is there already: change it")
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(copy, found[name].read_text(encoding="utf-8"))
    if as_json:
        echo_json({"prompt": name, "path": copy})
    else:
        click.echo(f"{copy}: change it, try it with 'embed-assets preview {collection}'; 'plan' tells what is computed again")
