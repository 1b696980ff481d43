"""What a reader makes of a file."""

import math
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


_PLAIN_WORD = r"(?:[A-Z]?[a-z]+|[A-Z]+)\b(?!=)"  # below base64 that is wrapped, it is no last line of it
# A picture in the text itself. Its value ends at the quote, the bracket or the blank after it; base64 may be wrapped.
_BASE64 = (
    r"[A-Za-z0-9+/_-]{8,}={0,2}(?:[ \t]*\r?\n[ \t]*[A-Za-z0-9+/]{40,}={0,2})*"
    rf"(?:[ \t]*\r?\n[ \t]*(?-i:(?!{_PLAIN_WORD}))[A-Za-z0-9+/]{{1,200}}(?:={{1,2}}|(?=\s{{0,3}}[\"')>])))?"
)
_KIND_OF_DATA = r"data:[\w.+-]+/[\w.+-]+(?:;(?!base64,)[\w.+-]+(?:=[\w.+-]+)?)*+"
_DATA = rf"{_KIND_OF_DATA}(?:;base64,\s{{0,3}}(?:{_BASE64})|,[^\s\"'<>)\[]{{64,}}+)"
DATA_URI = re.compile(_DATA, re.IGNORECASE)
_TARGET = rf"(?:{_DATA}|{_KIND_OF_DATA},[^\s\"'<>()]{{0,64}}+)"  # where a picture is meant, its data may be short
_TAG = r"[^<>\n]{0,1000}?"
_PICTURES = (
    (re.compile(rf"!\[([^\[\]\n]{{0,1000}})\]\(\s*<?{_TARGET}>?[^()\n]{{0,1000}}\s*\)", re.IGNORECASE), r"\1"),
    (re.compile(rf"<[a-z][a-z0-9]{{0,20}}\b{_TAG}{_DATA}{_TAG}>", re.IGNORECASE), lambda tag: _alternative(tag[0])),
)
_ALTERNATIVE = re.compile(r"\balt\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", re.IGNORECASE)
_DEFINITION = re.compile(rf"^[ ]{{0,3}}\[([^\]\n]{{1,200}})\]:[ \t]*<?{_DATA}>?.*\n?", re.IGNORECASE | re.MULTILINE)
# Base64 by itself: a certificate, a secret, an attached file. Wrapped or not; the last line may be short.
_LINE_END = r"[ \t]*\r?\n[ \t>]*"
_BARE_BASE64 = re.compile(
    r"(?<![A-Za-z0-9+/=_.:-])"
    rf"(?:[A-Za-z0-9+/]{{60,80}}(?:{_LINE_END}[A-Za-z0-9+/]{{60,80}})+"
    rf"(?:{_LINE_END}(?!{_PLAIN_WORD})[A-Za-z0-9+/]{{1,80}}(?==*[ \t]*$))?"
    r"|[A-Za-z0-9+/]{120,})={0,2}(?![A-Za-z0-9+/=_.-])",
    re.MULTILINE,
)
_CHANGE = re.compile(r"(?<=[a-z])[A-Z0-9]|(?<=[A-Z])[a-z0-9]|(?<=[0-9])[A-Za-z]")
CHANGES_OF_BASE64 = 0.4  # of capitals, small letters and digits, for a character; of names joined by capitals it is half as many
# Of the characters that chance would bring; a formula or a list of parts has half as many. A digit is one in six.
DISTINCT_OF_BASE64, DIGITS_OF_BASE64, MOST_SLASHES = 0.75, 0.05, 0.1


def _alternative(tag: str) -> str:
    """What a tag says in place of its picture."""
    words = _ALTERNATIVE.search(DATA_URI.sub("", tag))
    return (words[1] or words[2] or "") if words else ""


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


def without_base64(text: str) -> tuple[str, int]:
    """The text without runs of base64 that nobody reads or looks for, and how many there were."""
    found = 0

    def left_out(match: re.Match[str]) -> str:
        nonlocal found
        if not _by_chance("".join(match[0][:2000].split())[:1000]):
            return match[0]
        found += 1
        return ""

    return _BARE_BASE64.sub(left_out, text), found


def _by_chance(run: str) -> bool:
    """Whether letters and digits follow one another as in base64, and not as in names, formulas, sequences or parts."""
    expected = 64 * (1 - math.exp(-len(run) / 64))
    return (
        len(_CHANGE.findall(run)) >= CHANGES_OF_BASE64 * len(run)
        and len(set(run)) >= DISTINCT_OF_BASE64 * expected
        and sum(map(str.isdigit, run)) >= DIGITS_OF_BASE64 * len(run)
        and run.count("/") <= MOST_SLASHES * len(run)
    )


def fenced(code: str, language: str) -> str:
    """Code between marks that are longer than any in it."""
    marks = "`" * max(3, 1 + max(map(len, re.findall("`+", code)), default=0))
    return f"{marks}{language}\n{code}\n{marks}"


def finished(converted: Converted) -> Converted:
    """The same without data URIs, in composed Unicode, its title in one line."""
    text, pictures = without_data_uris(converted.text)
    text, encoded = without_base64(text)
    notes = (*converted.notes, f"{pictures} embedded pictures left out") if pictures else converted.notes
    notes = (*notes, f"{encoded} parts in base64 left out") if encoded else notes
    title = " ".join(composed(converted.title).split())
    return Converted(composed(text), title, converted.markdown, converted.metadata, notes, tuple(map(composed, converted.links)))
