"""The headings of a PDF file: the lines that its bookmarks name, or those in large letters where these name none."""

import contextlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, chain, groupby, islice
from typing import TYPE_CHECKING, NamedTuple

from embed_assets.text.section_numbers import WORDS
from embed_assets.text.tokens import fold

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

MOST_LEVELS, MOST_LINES, LONGEST_HEADING = 6, 3, 300
MOST_BOOKMARKS, LOOKED_AHEAD = 20_000, 20
LETTERS_OF_AN_END = 4
# What stands before a title in the text or in the bookmark alone: 2.1, Chapter 3:, A, iv., but not the first words of Add a user.
_ROMAN = r"(?=[IVX])X{0,3}(?:IX|IV|V?I{0,3})"
_NUMBER = re.compile(
    rf"(?:(?i:{WORDS})\s+)?((?:\d{{1,4}}[a-z]?|(?:[A-Z]|{_ROMAN})(?!\s+[a-z]))(?:\.\d{{1,4}}){{0,5}})[.:)]?\s+"
    rf"|([a-z]|(?i:{_ROMAN}))[.:)]\s+"
)
# What Markdown would read as a heading, the line below one, the edge of code, or HTML that goes on over blank lines.
_MARK = re.compile(r"#{1,6}(?:\s|$)|(?:=+|-+)$|```|~~~|<(?:[!?]|(?:pre|script|style|textarea)\b)", re.IGNORECASE)

# Letters count as large above those that a tenth of the text has, or larger ones: code and notes are smaller than text.
LARGER, SHARE_OF_LARGE = 1.12, 0.1
LONGEST_LARGE_LINE, FEWEST_LETTERS = 120, 3
# Not the lines of a table of contents, and no sentences.
_NO_HEADING = re.compile(r"(?:\.[ ]?){4}|[.,;。，；、]$")
# Page number → level, from 1, and words of its headings, in order.
Headings = Mapping[int, Sequence[tuple[int, str]]]


def bookmarked(document: "PdfDocument") -> Headings:
    """The titles of the bookmarks that lead to each page."""
    found: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for bookmark in islice(document.get_toc(), MOST_BOOKMARKS):
        with contextlib.suppress(UnicodeDecodeError):
            place, title = bookmark.get_dest(), bookmark.get_title()
            if place is not None and (page := place.get_index()) is not None and _letters(title):
                found[page].append((min(bookmark.level + 1, MOST_LEVELS), title))
    return found


def large_lines(document: "PdfDocument") -> Headings:
    """What each page has in large letters."""
    import pypdfium2

    pages: dict[int, list[tuple[str, float]]] = {}
    for number in range(len(document)):
        with contextlib.suppress(pypdfium2.PdfiumError):  # a broken page
            pages[number] = list(_lines_with_heights(document, number))
    characters = Counter[float]()
    for line, height in chain.from_iterable(pages.values()):
        characters[height] += len(line)
    heights = sorted(characters, reverse=True)
    so_far = accumulate(characters[height] for height in heights)
    of_text = next(
        (height for height, sum_ in zip(heights, so_far, strict=True) if sum_ > SHARE_OF_LARGE * characters.total()), 0
    )
    levels = {height: level for level, height in enumerate((it for it in heights if it >= LARGER * of_text), start=1)}
    found: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for number, lines in pages.items():
        for level, run in groupby(lines, key=lambda line: levels.get(line[1], 0) if _may_be_heading(line[0]) else 0):
            while level and (part := [line for line, _ in islice(run, MOST_LINES)]):
                found[number].append((min(level, MOST_LEVELS), " ".join(part)))
    return found


def printed_title(document: "PdfDocument") -> str:
    """What stands in the largest letters on the first page, if all else is smaller; "" if nothing is, or a number begins it."""
    import pypdfium2

    lines: list[tuple[str, float]] = []
    with contextlib.suppress(pypdfium2.PdfiumError):  # a broken page
        lines = list(_lines_with_heights(document, 0))
    largest = max((height for _, height in lines), default=0)
    title = [line for line, height in lines if height == largest]
    second = max((height for _, height in lines if height < largest), default=largest)
    is_title = 0 < len(title) <= MOST_LINES and all(map(_may_be_heading, title)) and not title[0][0].isdigit()
    return " ".join(title) if is_title and largest >= LARGER * second else ""


def _lines_with_heights(document: "PdfDocument", number: int) -> Iterator[tuple[str, float]]:
    """The lines of a page, and the height of the first letter of each, in half points."""
    import pypdfium2.raw as pdfium

    page = document[number]
    text_page = page.get_textpage()
    box, place = pdfium.FS_RECTF(), 0
    for line in text_page.get_text_range().split("\n"):
        first = next((i for i, character in enumerate(line) if character.isalnum()), None)
        if first is not None and pdfium.FPDFText_GetLooseCharBox(text_page, place + first, box):
            # A letter is higher than it is wide, also where it lies on its side.
            yield line.strip(), round(2 * max(box.top - box.bottom, box.right - box.left)) / 2
        place += len(line) + 1
    text_page.close()
    page.close()


def _may_be_heading(line: str) -> bool:
    # One character of Chinese, Japanese or Korean says as much as several letters: 概述 is a heading.
    letters = sum(1 + (letter >= "\u2e80") for letter in line[:LONGEST_LARGE_LINE] if letter.isalpha())
    return letters >= FEWEST_LETTERS and len(line) <= LONGEST_LARGE_LINE and not _NO_HEADING.search(line)


def with_headings(lines: Sequence[str], headings: Sequence[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """The lines of a page, each with its level: that of the heading that it is, or 0.

    A heading may go over several lines.
    """
    waiting, place = [(level, _name(title)) for level, title in headings], 0
    ends = [_end(line) if headings else "" for line in lines]
    while place < len(lines):
        here = slice(place, place + MOST_LINES)
        count, level = _named(lines[here], ends[here], waiting)
        yield level, " ".join(lines[place : place + count])
        place += count


def _named(lines: Sequence[str], ends: Sequence[str], waiting: list[tuple[int, "_Name"]]) -> tuple[int, int]:
    """How many of the lines are a heading, and its level: it, and those before it, wait no more. Else one line, of level 0."""
    asked = waiting[:LOOKED_AHEAD]
    for count in range(len(lines), 0, -1):
        # Nearly all lines are told apart by this, without their names. FAQ is shorter than the end of 3 FAQ.
        end = ends[count - 1]
        if not any(name.letters.endswith(end) or end.endswith(name.letters) for _, name in asked):
            continue
        heading = " ".join(lines[:count])
        if len(heading) > LONGEST_HEADING:
            continue
        found = _name(heading)
        for number, (level, name) in enumerate(asked):
            if name.is_that_of(found):
                del waiting[: number + 1]
                return count, level
    return 1, 0


class _Name(NamedTuple):
    """The letters and digits of a heading: blanks are not where they were in a PDF file.

    Args:
        letters: all of them.
        number: 2.1 of Chapter 2.1: Care; "" if there is none.
        title: those behind the number.
    """

    letters: str
    number: str
    title: str

    def is_that_of(self, other: "_Name") -> bool:
        """Whether two headings are the same, with the same number or one of them without."""
        numbers = {self.number, other.number} - {""}
        return bool(self.letters) and (self.letters == other.letters or (len(numbers) < 2 and self.title == other.title != ""))


def _name(heading: str) -> _Name:
    letters, number = _letters(heading), _NUMBER.match(heading)
    title = _letters(heading[number.end() :]) if number else letters
    return _Name(letters, (number[1] or number[2]).lower() if number and title else "", title or letters)


def _end(line: str) -> str:
    return _letters(line[-2 * LETTERS_OF_AN_END :])[-LETTERS_OF_AN_END:]


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, fold(text)))


def as_text(line: str) -> str:
    """A line of text, so that Markdown takes it for nothing else: what is indented is no heading."""
    return f"    {line}" if _MARK.match(line) else line
