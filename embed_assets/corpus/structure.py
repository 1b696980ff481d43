"""Headings, paragraphs, tables and fenced code of a Markdown text, by their places in it."""

import functools
import re
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from embed_assets.text.section_numbers import NUMBERED

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

LONGEST_HEADING = 120
CHARACTERS_OF_A_PART = 2**18
# As little of a text is read as can be.
FOR_A_FIRST_HEADING, FOR_ITS_SIBLINGS = (500, 10_000), 100_000
# What follows a blank line, and is not indented, as the rest of a list or of code would be.
_PARAGRAPH = re.compile(r"\n[ \t]*\r?\n(?=\S)")
# A line that ends no sentence and stands above one that does not go on with it in small letters.
_LINE_ABOVE = re.compile(r"[^\n]{0,79}[^\s.,;:!?…。、，；：！？\\]\r?(?=\n)")
MOST_OF_A_LINE, LONGEST_WORD = 0.6, 30  # a heading is shorter: it is no line that was wrapped, for the next word had room
_NAME_OF_TAG = re.compile(r"</?([A-Za-z][\w-]*)")


@dataclass(frozen=True)
class Heading:
    """A heading: its span with the line end, its level (1 to 6), and its words as a reader sees them."""

    start: int
    end: int
    level: int
    title: str

    @property
    def is_short(self) -> bool:
        """Whether the title holds the whole heading, so that the heading says nothing that the path does not say."""
        return not self.title.endswith("…")


@dataclass(frozen=True)
class Block:
    """A table or a fenced piece of code.

    ``body`` is where the rows or the code begin, ``closing`` where the line of the closing fence begins.
    ``before`` and ``after`` are what a part of the body needs around it: the row with the names of the columns,
    or the fences.
    """

    start: int
    body: int
    closing: int
    end: int
    before: str
    after: str


@dataclass(frozen=True)
class Structure:
    """The headings, the blocks and the spans of the paragraphs of a text, each in order."""

    headings: list[Heading]
    blocks: list[Block]
    paragraphs: list[tuple[int, int]]

    def parts(self, text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Parts of a long text that begin at a heading or, where none is near, at a paragraph, a block or a line."""
        while end - start > CHARACTERS_OF_A_PART:
            earliest, latest = start + CHARACTERS_OF_A_PART // 2, start + CHARACTERS_OF_A_PART
            before = bisect_right(self.headings, latest, key=lambda heading: heading.start) - 1
            paragraphs = deque(_PARAGRAPH.finditer(text, earliest, latest), maxlen=1)
            if before >= 0 and self.headings[before].start > earliest:
                cut = self.headings[before].start
            elif paragraphs:
                cut = paragraphs[0].end()
            elif (line := text.find("\n", earliest, end - 1)) >= 0:
                cut = line + 1
            else:
                break
            within = bisect_left(self.blocks, cut, key=lambda block: block.start) - 1
            if within >= 0 and start < self.blocks[within].start and cut < self.blocks[within].end:
                cut = self.blocks[within].start
            yield start, cut
            start = cut
        yield start, end


def read_structure(text: str) -> Structure:
    """Find the headings, paragraphs, tables and fences of a Markdown text; its inline marks are not parsed, so it is linear."""
    starts = [0, *(match.end() for match in re.finditer(r"\r\n?|\n", text)), len(text)]
    headings: list[Heading] = []
    blocks: list[Block] = []
    paragraphs: list[tuple[int, int]] = []
    tokens = _blocks().parse(text)
    for i, token in enumerate(tokens):
        if not token.map:
            continue
        first, last = token.map[0], min(token.map[1], len(starts) - 1)
        start, end = starts[first], starts[last]
        if token.type == "heading_open":
            content = tokens[i + 1].content
            # A paragraph with dashes below it is a heading by the rules, and nobody's heading.
            if "\n" not in content.strip() and (title := heading_title(content)):
                headings.append(Heading(start, end, int(token.tag[1:]), title))
        elif token.type == "paragraph_open":
            paragraphs.append((start, end))
        elif token.type == "table_open" and last - first > 2:
            names = text[start : starts[first + 1]].strip()
            blocks.append(Block(start, starts[first + 2], end, end, f"{names}\n" if re.search(r"\w", names) else "", ""))
        elif token.type == "fence":
            closed = last - first > 1 and text[starts[last - 1] : end].strip(" \t\r\n>").startswith(token.markup[:3])
            closing = starts[last - 1] if closed else end
            opener = f"{token.markup}{token.info.strip()[:LONGEST_HEADING]}\n"
            blocks.append(Block(start, starts[first + 1], closing, end, opener, f"\n{token.markup}"))
    return Structure(headings, blocks, paragraphs)


def heading_above(paragraph: str) -> int:
    """Where a heading ends that is the first line of a paragraph, as "2. Storage" in a text file; 0 where there is none."""
    line = _LINE_ABOVE.match(paragraph)
    following = paragraph[line.end() + 1 :].strip() if line else ""
    if line is None or not following[:1].isalpha() or following[0].islower():
        return 0
    longest, next_word = max(map(len, following.splitlines())), len(following.split(maxsplit=1)[0][:LONGEST_WORD])
    had_room = line.end() + 1 + next_word < longest
    return line.end() if had_room and line.end() < MOST_OF_A_LINE * longest else 0


def headings_of_plain_text(text: str) -> list[tuple[int, int]]:
    """The spans of lines of a plain text that are headings of what stands below them, with a blank line between or not."""
    starts = [0, *(match.end() for match in _PARAGRAPH.finditer(text)), len(text)]
    found = []
    for start, end, after in zip(starts, starts[1:], [*starts[2:], len(text)], strict=False):
        is_line = "\n" not in text[start:end].strip()
        if length := heading_above(text[start : after if is_line else end]):
            found.append((start, start + length))
    return found


def title_heading(text: str) -> str:
    """The words of the first heading of a Markdown text, as read_structure finds it, if it is the title of all that follows.

    It is none, but that of a section, if others of its level follow: below the first level any, on the first one those that
    differ in their numbers alone, as versions and dates do, or that are numbered like it, as chapters are.
    """
    for characters in (*FOR_A_FIRST_HEADING, len(text)):
        if headings := read_structure(_first_lines(text, characters)).headings:
            break
    else:
        return ""
    first = headings[0]
    if first.level == 1 and not re.search(r"\d", first.title):
        return first.title
    headings = read_structure(_first_lines(text, max(characters, FOR_ITS_SIBLINGS))).headings
    beside = [heading.title for heading in headings[1:] if heading.level == first.level]
    if first.level == 1:
        beside = [title for title in beside if _are_counted(title, first.title)]
    return "" if beside else first.title


def _first_lines(text: str, characters: int) -> str:
    return text if characters >= len(text) else text[: text.rfind("\n", 0, characters) + 1]


def _are_counted(title: str, other: str) -> bool:
    """Whether two titles differ in their numbers alone, or begin with those of sections."""
    alike = re.sub(r"\d+", "0", title) == re.sub(r"\d+", "0", other)
    return alike or all(NUMBERED.match(it) for it in (title, other))


@functools.cache
def _blocks() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark").enable("table")
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser


@functools.cache
def _inline() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark")


def heading_title(source: str) -> str:
    """One line of at most 120 characters with the words of a heading, without Markdown's marks."""
    line = re.sub(r"\s*\{#[\w:.-]+\}\s*$", "", " ".join(source[: 8 * LONGEST_HEADING].split()))
    if re.search(r"[\\`*_\[\]<&!]", line):
        tokens = _inline().parseInline(line)[0].children or []
        line = " ".join("".join(token.content for token in tokens if not _is_unseen_tag(token)).split())
    return shorten(line, LONGEST_HEADING) if len(source) <= 8 * LONGEST_HEADING else shorten(line + " …", LONGEST_HEADING)


def _is_unseen_tag(token: "Token") -> bool:
    """Whether it is HTML, and no placeholder such as <name> or the type of a list, <T>."""
    if token.type != "html_inline":
        return False
    name = _NAME_OF_TAG.match(token.content)
    return name is None or is_element(name[1])


def is_element(name: str) -> bool:
    """Whether HTML has an element of this name."""
    from lxml.html.defs import tags

    return name.lower() in tags or name.lower() in ("main", "picture", "source")


def shorten(line: str, characters: int) -> str:
    """The line, cut after a word and marked with '…' if it is longer."""
    if len(line) <= characters:
        return line
    cut = line[: characters - 1]
    return (cut.rpartition(" ")[0] if " " in cut[characters // 2 :] else cut).rstrip(" …") + "…"
