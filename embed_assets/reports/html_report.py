"""One HTML file with all that the reports of a checkpoint show: it needs nothing else, and can be mailed."""

import base64
import importlib.resources
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from embed_assets.artifacts.store import FINDINGS, SUMMARY


def write_html_report(path: Path, title: str, reports: Mapping[str, Path]) -> None:
    """Write the reports of several assets into one file.

    Args:
        path: the file.
        title: its title.
        reports: name of each asset → its report/ folder, in the order in which they are shown.
    """
    template = importlib.resources.files("embed_assets.reports").joinpath("report.html.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    sections = [{"name": name} | _section(folder) for name, folder in reports.items()]
    path.write_text(environment.from_string(template).render(title=title, sections=sections), encoding="utf-8")


def _section(folder: Path) -> dict[str, Any]:
    from markdown_it import MarkdownIt

    # Without raw HTML: what stands in documents and questions is shown, never run.
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["link", "image", "autolink"])
    parts = []
    names = {file.stem for file in folder.iterdir() if file.suffix in (".png", ".md")}
    for name in sorted(names, key=lambda name: (not (folder / f"{name}.png").is_file(), name)):  # charts first
        picture, text = folder / f"{name}.png", folder / f"{name}.md"
        parts.append(
            {
                "name": name,
                "picture": base64.b64encode(picture.read_bytes()).decode() if picture.is_file() else "",
                "text": markdown.render(text.read_text(encoding="utf-8")) if text.is_file() else "",
            }
        )
    return {"findings": _json(folder / FINDINGS, []), "figures": _json(folder / SUMMARY, {}), "parts": parts}


def _json(path: Path, default: Any) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else default
