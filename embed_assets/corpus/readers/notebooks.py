"""Jupyter notebooks."""

import json
import re

from embed_assets.corpus.encodings import decode
from embed_assets.corpus.readers.converted import Converted, UnreadableError

_TERMINAL_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def read_notebook(content: bytes) -> Converted:
    """The cells of a notebook: text as it is, code and its printed output in fences."""
    try:
        book = json.loads(decode(content)[0])
        cells = book["cells"] if "cells" in book else [cell for sheet in book["worksheets"] for cell in sheet["cells"]]
        language = str((book.get("metadata") or {}).get("kernelspec", {}).get("language", "python"))
        parts: list[str] = []
        pictures = 0
        for cell in cells:
            source = _text(cell.get("source", cell.get("input", "")))
            if cell.get("cell_type") == "code":
                parts.append(_fence(source, language))
                for output in cell.get("outputs", ()):
                    data = output.get("data", output)
                    printed = _text(output.get("text", data.get("text/plain", "")))
                    parts.append(_fence(_TERMINAL_COLOUR.sub("", printed), ""))
                    pictures += any(str(kind).startswith("image/") for kind in data)
            elif cell.get("cell_type") == "heading":
                parts.append(f"{'#' * int(cell.get('level', 1))} {source}")
            else:
                parts.append(source)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableError(f"no notebook: {type(error).__name__}: {str(error)[:100]}") from None
    notes = (f"{pictures} pictures left out",) if pictures else ()
    return Converted("\n\n".join(part for part in parts if part.strip()), notes=notes)


def _text(lines: object) -> str:
    return "".join(map(str, lines)) if isinstance(lines, list) else str(lines or "")


def _fence(code: str, language: str) -> str:
    if not code.strip():
        return ""
    marks = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", code)), default=0))
    return f"{marks}{language}\n{code.rstrip()}\n{marks}"
