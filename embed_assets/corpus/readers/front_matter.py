"""What pages say about themselves at their beginning, in YAML, TOML or JSON."""

import datetime
import json
import re
from typing import Any

LONGEST_FRONT_MATTER = 1 << 16
_FRONT_MATTER = re.compile(
    r"\s*(?:<!--(?:(?!-->).)*-->\s*)*(?:---[ \t]*(yaml|toml|json)?[ \t]*\r?\n(.*?)^(?:---|\.\.\.)|\+\+\+[ \t]*\r?\n(.*?)^\+\+\+)"
    r"[ \t]*(?:\r?\n|\Z)",
    re.DOTALL | re.MULTILINE,
)
# What pages say of themselves; a first paragraph with other names, such as Phone, is text.
_NAMES_OF_KEYS = frozenset(
    (
        *("title", "subtitle", "author", "authors", "affiliation", "copyright", "license", "date", "created", "modified"),
        *("updated", "tags", "keywords", "category", "categories", "series", "slug", "summary", "description", "status", "lang"),
        *("language", "template", "layout", "css", "toc", "hide", "icon", "image", "cover", "url", "save_as", "permalink"),
        *("redirect", "translation", "base header level", "html header", "latex mode"),
    )
)
# Lines of MultiMarkdown, which MkDocs and Pelican read as well; a value may go on in lines with an indent.
_KEYS = re.compile(r"([A-Za-z][\w -]{0,40}):[ \t]+(\S[^\n]*(?:\n[ \t]{4,}\S[^\n]*)*)\n")


def split_front_matter(text: str) -> tuple[dict[str, Any], str]:
    """The keys of the YAML, TOML or JSON block at the very beginning of a page, and the text below it."""
    if text.startswith(("{\n", "{\r\n")):
        return _json(text)
    match = _FRONT_MATTER.match(text, 0, LONGEST_FRONT_MATTER)
    if match is None:
        return {}, text
    is_toml = match[1] == "toml" or match[3] is not None
    metadata = _toml(match[2] or match[3] or "") if is_toml else _yaml(match[2])
    return (metadata, text[match.end() :]) if metadata is not None else ({}, text)


def split_keys(text: str) -> tuple[dict[str, Any], str]:
    """The keys in the first lines of a page, and the text below the blank line that ends them.

    There are none without a title, where one is not a usual key of pages, and where there is no text below.
    """
    found, place = {}, 0
    while (line := _KEYS.match(text, place, LONGEST_FRONT_MATTER)) is not None:
        found[line[1].lower()] = _scalar(" ".join(line[2].split()))
        place = line.end()
    is_of_page = "title" in found and found.keys() <= _NAMES_OF_KEYS
    below = text[place:]
    return (found, below) if is_of_page and below.startswith("\n") and below.strip() else ({}, text)


def _yaml(block: str) -> dict[str, Any] | None:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if not block.strip():
        return {}
    try:
        # Aliases make a small block as large as one likes.
        value = None if re.search(r"[\s\[,:-]\*\w", block) and "&" in block else YAML(typ="safe", pure=True).load(block)
    except (YAMLError, ValueError, RecursionError, TypeError):
        value = None
    if isinstance(value, dict):
        return {str(key): simple for key, item in value.items() if (simple := _simple(item)) is not None}
    # A title with a colon in it is no YAML, and often written.
    pairs = re.findall(r"^\t*([A-Za-z_][\w-]*)[ \t]*:[ \t]*(.*)$", block, re.MULTILINE)
    lines = [line for line in block.splitlines() if line.strip()]
    return {key: _scalar(item.rstrip(" \t")) for key, item in pairs if item.strip(" \t")} if len(pairs) * 2 > len(lines) else None


def _scalar(item: str) -> Any:
    """A number or a boolean as what it is, all else as text."""
    number = re.fullmatch(r"[-+]?\d{1,15}(\.\d{1,15})?", item)
    if number is not None:
        return float(item) if number[1] else int(item)
    return item == "true" if item in ("true", "false") else item.strip("\"'")


def _json(text: str) -> tuple[dict[str, Any], str]:
    try:
        block, end = json.JSONDecoder().raw_decode(text[:LONGEST_FRONT_MATTER])
    except (ValueError, RecursionError):
        return {}, text
    if not isinstance(block, dict) or not re.match(r"[ \t]*\r?\n\s*\S", text[end : end + 100]):
        return {}, text
    return {key: simple for key, item in block.items() if (simple := _simple(item)) is not None}, text[end:]


def _toml(block: str) -> dict[str, Any] | None:
    import tomllib

    try:
        return {key: simple for key, item in tomllib.loads(block).items() if (simple := _simple(item)) is not None}
    except (tomllib.TOMLDecodeError, RecursionError):
        return None


def _simple(value: Any) -> Any:
    """Values to filter on: text, numbers, booleans, dates as text, and lists of those."""
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value[:1000]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, list):
        return [simple for item in value[:100] if not isinstance(item, list) and (simple := _simple(item)) is not None]
    return None
