"""Jupyter notebooks."""

import json
import re
from typing import Any

from embed_assets.corpus.encodings import decode
from embed_assets.corpus.readers.converted import Converted, UnreadableError, fenced
from embed_assets.corpus.readers.html import read_html
from embed_assets.corpus.readers.markdown import markdown_as_seen, read_markdown

_TERMINAL_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# What is printed again and again at the beginning of a line, as the progress of something is.
_PRINTED_OVER = re.compile(r"^[^\n]*\r(?=[^\r\n])", re.MULTILINE)


def read_notebook(content: bytes) -> Converted:
    """The cells of a notebook: text as in a Markdown file, code and its printed output in fences."""
    try:
        book = json.loads(decode(content)[0])
        cells = book["cells"] if "cells" in book else [cell for sheet in book["worksheets"] for cell in sheet["cells"]]
        about: dict[str, Any] = {}
        metadata = book.get("metadata") or {}
        kernel, info = metadata.get("kernelspec") or {}, metadata.get("language_info") or {}
        language = str(kernel.get("language") or info.get("name") or "python")
        parts: list[str] = []
        pictures = 0
        broken = sum(not isinstance(cell, dict) for cell in cells)
        for cell in (cell for cell in cells if isinstance(cell, dict)):
            source = _text(cell.get("source", cell.get("input", "")))
            if cell.get("cell_type") == "code":
                parts.append(_fence(source, language))
                for output in (it for it in cell.get("outputs") or () if isinstance(it, dict)):
                    data = output["data"] if isinstance(output.get("data"), dict) else output
                    parts.append(_shown(output, data))
                    pictures += any(str(kind).startswith("image/") for kind in data)
            elif cell.get("cell_type") == "heading":
                parts.append(f"{'#' * int(cell.get('level', 1))} {source}")
            elif cell.get("cell_type") == "raw" and parts:
                parts.append(source)
            elif parts:
                parts.append(markdown_as_seen(source)[0])
            else:  # front matter stands in the first cell; lines between rules in others are text
                page = read_markdown(source.encode(errors="replace"))
                about = about or page.metadata
                parts.append(page.text)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableError(f"no notebook: {type(error).__name__}: {str(error)[:100]}") from None
    notes = tuple(f"{count} {what} left out" for count, what in ((pictures, "pictures"), (broken, "broken cells")) if count)
    title = about.get("title", "")
    text = "\n\n".join(part for part in parts if part.strip())
    return Converted(text, title if isinstance(title, str) else "", metadata=about, notes=notes)


def _shown(output: dict, data: dict) -> str:
    """What a reader sees of an output: text that is marked up before the plain text that stands in for it."""
    if marked := _text(data.get("text/markdown", "")):
        return markdown_as_seen(marked)[0]
    if output.get("output_type") == "error":
        trace = _TERMINAL_COLOUR.sub("", "\n".join(map(str, output.get("traceback") or ())))
        message = f"{output.get('ename', '')}: {output.get('evalue', '')}"
        return _fence(trace if message in trace else f"{trace}\n{message}".strip(), "")
    printed, page = _text(output.get("text", data.get("text/plain", ""))), _text(data.get("text/html", ""))
    # The plain text of what is only meant to be drawn is the name of its class.
    if page and (not printed or printed.startswith("<")):
        return read_html(page.encode()).text
    return _fence(_PRINTED_OVER.sub("", _TERMINAL_COLOUR.sub("", printed)), "")


def _text(lines: object) -> str:
    return "".join(map(str, lines)) if isinstance(lines, list) else str(lines or "")


def _fence(code: str, language: str) -> str:
    return fenced(code.rstrip(), language) if code.strip() else ""
