"""What a reader makes of a file."""

import re
from dataclasses import dataclass, field
from typing import Any

from embed_assets.corpus.encodings import composed


class UnreadableError(ValueError):
    """A file cannot be read; the message says why, in words for its owner."""


@dataclass(frozen=True)
class Converted:
    """The text of a file as a reader sees it.

    Attributes:
        text: Markdown for headings, lists, tables and code, nothing else; or plain text.
        title: "" if the file names none.
        markdown: whether the text is Markdown.
        metadata: what the file says about itself: the keys of a front matter.
        notes: what could not be taken over, or was read in an unusual way.
        links: words of the links of a page, in lower case, by which its menus are known.
    """

    text: str
    title: str = ""
    markdown: bool = True
    metadata: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    links: tuple[str, ...] = ()


# A picture in the text itself. Its value ends at the quote, the bracket or the blank after it; base64 may be wrapped.
_BASE64 = r"[A-Za-z0-9+/_-]{8,}={0,2}(?:[ \t]*\r?\n[ \t]*[A-Za-z0-9+/]{40,}={0,2})*"
_DATA = rf"data:[\w.+-]+/[\w.+-]+(?:;[\w.+-]+(?:=[\w.+-]+)?)*(?:;base64,[ ]?(?:{_BASE64})|,[^\s\"'<>)]{{64,}})"
DATA_URI = re.compile(_DATA, re.IGNORECASE)
_TAG = r"[^<>\n]{0,1000}?"
_PICTURES = (
    (re.compile(rf"!\[([^\[\]\n]{{0,1000}})\]\(\s*<?{_DATA}>?[^()\n]{{0,1000}}\)", re.IGNORECASE), r"\1"),
    (re.compile(rf"<img\b{_TAG}\balt=\"([^\"<>\n]{{0,1000}})\"{_TAG}{_DATA}{_TAG}>", re.IGNORECASE), r"\1"),
    (re.compile(rf"<img\b{_TAG}{_DATA}{_TAG}>", re.IGNORECASE), ""),
)
_DEFINITION = re.compile(rf"^[ ]{{0,3}}\[([^\]\n]{{1,200}})\]:[ \t]*<?{_DATA}>?.*\n?", re.IGNORECASE | re.MULTILINE)


def without_data_uris(text: str) -> tuple[str, int]:
    """The text without pictures and files that are written into it, and how many there were; alternative texts stay."""
    found = 0
    if "data:" not in text.lower():
        return text, found
    if labels := {match[1].lower() for match in _DEFINITION.finditer(text)}:
        text, found = _DEFINITION.subn("", text)
        text = re.sub(
            r"!\[([^\[\]\n]{0,1000})\](?:\[([^\[\]\n]{0,200})\])?",
            lambda match: match[1] if (match[2] or match[1]).lower() in labels else match[0],
            text,
        )
    for pattern, replacement in _PICTURES:
        text, number = pattern.subn(replacement, text)
        found += number
    text, number = DATA_URI.subn("", text)
    return text, found + number


def fenced(code: str, language: str) -> str:
    """Code between marks that are longer than any in it."""
    marks = "`" * max(3, 1 + max(map(len, re.findall("`+", code)), default=0))
    return f"{marks}{language}\n{code}\n{marks}"


def finished(converted: Converted) -> Converted:
    """The same without data URIs, in composed Unicode, its title in one line."""
    text, pictures = without_data_uris(converted.text)
    notes = (*converted.notes, f"{pictures} embedded pictures left out") if pictures else converted.notes
    title = " ".join(composed(converted.title).split())
    return Converted(composed(text), title, converted.markdown, converted.metadata, notes, tuple(map(composed, converted.links)))
