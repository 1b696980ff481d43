"""Printed pages as one text: no heads, feet and numbers of pages, and no words that are cut at the ends of lines."""

import re
from collections import defaultdict
from collections.abc import Container, Iterator

# The hyphen of the end of a line, or what pdfium puts for it.
_LINE_HYPHEN = re.compile(r"\b(\w+)[\ufffe\u00ad\x02]\n?[ ]?(\w+)|\b(\w+)[-\u2010]\n[ \t]*(\w+)")
_EDGE_LINES, FEWEST_PAGES = 2, 3
LONGEST_HEAD = 500  # characters; numbers of longer lines are none of pages
_NUMBER = re.compile(r"(?<![\d.,])\d{1,5}(?![\d.,]*\d)|\b[ivxlc]{1,6}\b")
_PAGE_NUMBER = re.compile(r"[-–—\s]*(?:\d{1,4}|[ivxlc]{1,6})[-–—\s]*")


def compounds_of(text: str) -> set[str]:
    """The words of a text that have a hyphen within a line."""
    return set(re.findall(r"\b\w+(?:-\w+)+", text))


def joined_words(page: str, compounds: Container[str]) -> str:
    """Words that were cut at the end of a line, whole again; a compound that stands elsewhere keeps its hyphen.

    So does a single letter, as in X-ray and e-mail, which nobody cuts off.
    """

    def join(match: re.Match) -> str:
        first, second = (match[1], match[2]) if match[1] else (match[3], match[4])
        if len(first) == 1 or not first[-1].isalpha() or not second[0].islower() or f"{first}-{second}" in compounds:
            return f"{first}-{second}"
        return first + second

    return _LINE_HYPHEN.sub(join, page)


def without_edges(pages: list[list[str]]) -> list[list[str]]:
    """The lines of the pages without those at their edges that stand on most pages, page numbers aside, or are page numbers.

    All lines where that would leave most pages empty: their words are what the pages are about.
    """
    if len(pages) < FEWEST_PAGES:
        return pages
    filled = [[(place, line.strip()) for place, line in enumerate(page) if line.strip()] for page in pages]
    there: dict[str, set[tuple[int, int]]] = defaultdict(set)
    for number, page in enumerate(filled):
        for _, line in page[:_EDGE_LINES] + page[-_EDGE_LINES:]:
            for key, value in _edge_keys(line):
                there[key].add((number, number if value is None else value))
    needed = max(FEWEST_PAGES, len(pages) / 3)
    repeated = {key for key, places in there.items() if _following(places) >= needed}

    def is_edge(line: str) -> bool:
        return not repeated.isdisjoint(key for key, _ in _edge_keys(line)) or _PAGE_NUMBER.fullmatch(line) is not None

    kept = []
    for page in filled:
        first = next((i for i, (_, line) in enumerate(page[:_EDGE_LINES]) if not is_edge(line)), min(len(page), _EDGE_LINES))
        last = len(page)
        while last > first and len(page) - last < _EDGE_LINES and is_edge(page[last - 1][1]):
            last -= 1
        kept.append(page[first:last])
    if sum(bool(page) and not rest for page, rest in zip(filled, kept, strict=True)) > sum(map(bool, filled)) / 2:
        return pages
    return [page[rest[0][0] : rest[-1][0] + 1] if rest else [] for page, rest in zip(pages, kept, strict=True)]


def _edge_keys(line: str) -> Iterator[tuple[str, int | None]]:
    """The line itself, and with each of its numbers in turn left open, and what that number is."""
    line = line.lower()
    yield line, None
    for match in _NUMBER.finditer(line) if len(line) <= LONGEST_HEAD else ():
        yield f"{line[: match.start()]}#{line[match.end() :]}", int(match[0]) if match[0].isdecimal() else _roman(match[0])


def _following(places: set[tuple[int, int]]) -> int:
    """How many of the places (page, number) have a number that goes with the page: that of a chapter or a step does not."""
    return sum(any((page + step, number + step) in places for step in (-2, -1, 1, 2)) for page, number in places)


def _roman(numeral: str) -> int:
    worth = [{"i": 1, "v": 5, "x": 10, "l": 50, "c": 100}[letter] for letter in numeral]
    return sum(-one if one < after else one for one, after in zip(worth, [*worth[1:], 0], strict=True))
