"""Markdown and MDX."""

import datetime
import json
import re
from collections.abc import Iterator
from typing import Any

from embed_assets.corpus.encodings import decode
from embed_assets.corpus.readers.converted import Converted
from embed_assets.corpus.readers.plain import encoding_notes

LONGEST_FRONT_MATTER = 1 << 16
_FRONT_MATTER = re.compile(
    r"\s*(?:---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)|\+\+\+[ \t]*\r?\n(.*?)^\+\+\+)[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE
)
# An escape in the middle of a name. It is never needed there, and exporters write MAX\_RETRY\_COUNT nevertheless.
_ESCAPED = re.compile(r"(?<=\w)\\([_*~])(?=\w)|(?<=\w)\\(_)|\\(_)(?=\w)")
_FENCE = re.compile(r"^[ ]{0,3}(`{3,}+|~{3,}+)[^\n]*+\n.*?(?:^[ ]{0,3}\1[`~]*+[ \t]*+$|\Z)", re.DOTALL | re.MULTILINE)
_ESM = re.compile(
    r"^(?:import\s[^\n]*?['\"][^\n]*|export\s+(?:const|let|default|function)\b.*?(?:^\}?;?[ \t]*$|\Z))\n?",
    re.DOTALL | re.MULTILINE,
)
_COMPONENT = re.compile(r"</?(?:[A-Z][\w.]{0,60})?(?:\s[^<>\n]{0,1000})?/?>")
_SEEN_ATTRIBUTE = re.compile(r"\b(?:title|label|summary|caption|alt)=(?:\"([^\"\n]*)\"|'([^'\n]*)'|\{[\"'`]([^\"'`\n]*)[\"'`]\})")


def read_markdown(content: bytes) -> Converted:
    """Markdown as it is written, without its front matter and without needless escapes."""
    text, encoding = decode(content)
    metadata, body = split_front_matter(text)
    body = _outside_code(body, lambda part: _ESCAPED.sub(lambda match: match[1] or match[2] or match[3], part))
    title = metadata.get("title", "")
    return Converted(body, title if isinstance(title, str) else "", True, metadata, encoding_notes(encoding))


def read_mdx(content: bytes) -> Converted:
    """MDX without its imports and components; what stands in them and in their titles is text."""
    page = read_markdown(content)

    def component(match: re.Match) -> str:
        return " ".join(next(filter(None, found), "") for found in _SEEN_ATTRIBUTE.findall(match[0]))

    text = _outside_code(page.text, lambda part: _COMPONENT.sub(component, _ESM.sub("", part)))
    return Converted(text, page.title, True, page.metadata, page.notes)


def split_front_matter(text: str) -> tuple[dict[str, Any], str]:
    """The keys of the YAML, TOML or JSON block at the very beginning of a page, and the text below it."""
    if text.startswith(("{\n", "{\r\n")):
        return _json(text)
    match = _FRONT_MATTER.match(text, 0, LONGEST_FRONT_MATTER)
    if match is None or text[: match.start(1) if match[1] is not None else match.start(2)].strip() not in ("---", "+++"):
        return {}, text
    metadata = _toml(match[2]) if match[2] is not None else _yaml(match[1])
    return (metadata, text[match.end() :]) if metadata is not None else ({}, text)


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
    pairs = re.findall(r"^([A-Za-z_][\w-]*)[ \t]*:[ \t]*(.*?)[ \t]*$", block, re.MULTILINE)
    lines = [line for line in block.splitlines() if line.strip()]
    return {key: _scalar(item) for key, item in pairs if item} if len(pairs) * 2 > len(lines) else None


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


def _outside_code(text: str, change) -> str:
    """The text with a change to all but its fenced and inline code."""
    parts, place = [], 0
    for start, end in _code(text):
        parts += [change(text[place:start]), text[start:end]]
        place = end
    return "".join([*parts, change(text[place:])])


def _code(text: str) -> Iterator[tuple[int, int]]:
    """The spans of fenced and inline code, in order."""
    place = 0
    for fence in _FENCE.finditer(text):
        yield from _inline_code(text, place, fence.start())
        yield fence.span()
        place = fence.end()
    yield from _inline_code(text, place, len(text))


def _inline_code(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Spans from a run of backticks to the next one of the same length in its line; in linear time, whatever the text."""
    runs = [(run.start(), run.end()) for run in re.compile("`+|\n").finditer(text, start, end)]
    closing: dict[int, int] = {}  # length of a run → the next run of that length in the line
    next_alike: list[int | None] = [None] * len(runs)
    for i in range(len(runs) - 1, -1, -1):
        first, last = runs[i]
        if text[first] == "\n":
            closing = {}
        else:
            next_alike[i] = closing.get(last - first)
            closing[last - first] = i
    i = 0
    while i < len(runs):
        alike = next_alike[i]
        if alike is not None:
            yield runs[i][0], runs[alike][1]
            i = alike
        i += 1
