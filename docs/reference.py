"""Pages that MkDocs generates from the code: the start page, settings and commands."""

from pathlib import Path

import click
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]


def on_files(files: Files, config) -> Files:
    """Add the generated pages."""
    for name, write in {"index.md": _start, "settings.md": _settings, "commands.md": _commands}.items():
        files.append(File.generated(config, name, content=write()))
    return files


def _start() -> str:
    return (
        (ROOT / "README.md")
        .read_text(encoding="utf-8")
        .replace("](docs/", "](")
        .replace("[CONTRIBUTING.md](CONTRIBUTING.md)", "CONTRIBUTING.md")
        .replace("[AGENTS.md](AGENTS.md)", "AGENTS.md")
        .replace("[Apache-2.0](LICENSE)", "Apache-2.0")
    )


def _settings() -> str:
    from embed_assets.settings import Settings, describe_settings

    text = describe_settings(Settings())
    return f"# Settings\n\nAll settings with their defaults, as `embed-assets settings` prints them.\n\n```yaml\n{text}\n```\n"


def _commands() -> str:
    from embed_assets.cli.main import main

    return "# Commands\n\n" + "\n".join(_command(main, "embed-assets", None))


def _command(command: click.Command, name: str, parent: click.Context | None) -> list[str]:
    context = click.Context(command, info_name=name, parent=parent)
    lines = [f"## `{context.command_path}`", "", f"```\n{command.get_help(context)}\n```", ""]
    for child in sorted(getattr(command, "commands", {}).values(), key=lambda child: child.name):
        lines += _command(child, child.name, context)
    return lines
