"""A data folder to begin with."""

import re
from pathlib import Path

import click

from embed_assets.artifacts.files import write_folder_atomically
from embed_assets.artifacts.workspace import COLLECTION_NAME, NAME_RULE
from embed_assets.cli.arguments import echo_json, json_option
from embed_assets.settings import Settings, describe_settings

HEAD = """\
# What all collections share; collections/NAME/settings.yaml overrides single keys. Take the '#' away in front of a setting
# that is to be other than its default, which is shown. Only publishing.uri is set: the index lies in the folder published/
# beside this file.
"""


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("collection", default="my-documents")
@json_option("the new folder")
def init(folder: Path, collection: str, as_json: bool) -> None:
    """Write a new data FOLDER with a settings.yaml that explains itself, and the folder of one COLLECTION."""
    if not COLLECTION_NAME.fullmatch(collection):
        raise click.ClickException(f"{collection!r}: {NAME_RULE}")
    settings = "".join(_commented(line) + "\n" for line in describe_settings(Settings()).splitlines())
    # So that a first run ends with an index that can be searched.
    head, block, tail = settings.partition("publishing:\n")
    settings = head + block + tail.replace('  #uri: ""\n', "  uri: published\n", 1)
    documents = folder / "collections" / collection / "documents"
    if (folder / "collections").is_dir():
        raise click.ClickException(f"{folder} is a data folder already: put documents of another collection into {documents}/")
    try:
        with write_folder_atomically(folder) as building:
            (building / "settings.yaml").write_text(f"{HEAD}\n{settings}", encoding="utf-8")
            (building / documents.relative_to(folder)).mkdir(parents=True)  # nothing in it: what lies there is searched
    except OSError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        echo_json({"data": folder, "collection": collection, "documents": documents})
    else:
        click.echo(f"{folder}: put documents into {documents}/, then: embed-assets run --data {folder}")


def _commented(line: str) -> str:
    """A line of settings; a setting becomes a comment that is a setting again without its '#', however that is taken away."""
    if line.lstrip().startswith("#") or line.endswith(":"):
        return line
    return re.sub(r"(?=\S)", "#", line, count=1)
