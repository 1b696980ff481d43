"""Menus, heads, feet and names of the site that stand on most pages of it."""

import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from embed_assets.corpus.readers.converted import Converted
from embed_assets.corpus.readers.html import line_key

FEWEST_PAGES = 3
MOST_OF, NEARLY_ALL = 0.5, 0.9
LONGEST_TITLE = 500  # characters; the ends of a longer one would fill the memory
# In front of the name of the site, as in "Alarms — Acme 2.1 documentation" and "Alarms (Acme (version 2.1))".
_SEPARATOR = re.compile(r"\s+(?:(?:[-–—|·•»]|::)\s+|(?=\(.*\)$))")
_FENCE = re.compile(r"\s*(`{3,})")


def repeated_lines(pages: Sequence[Converted]) -> tuple[set[str], set[str]]:
    """The lines that stand on most of the pages, but in code, and those of them that are links there."""
    if len(pages) < FEWEST_PAGES:
        return set(), set()
    needed = max(FEWEST_PAGES, MOST_OF * len(pages))
    lines = Counter(key for page in pages for key in set(_keys(page.text.splitlines())) if key)
    links = Counter(key for page in pages for key in set(page.links))
    return {key for key, number in lines.items() if number >= needed}, {key for key, number in links.items() if number >= needed}


def without_menus(pages: Mapping[str, Converted]) -> dict[str, Converted]:
    """The pages without the links that stand on most of them, and without repeated lines at their beginning and end.

    Their titles have no name of the site behind them.

    A line in the middle of a page that is no link stays, on however many pages it stands: it may be a warning. So does code.

    Args:
        pages: id → page, of one site.
    """
    titles = without_name_of_site([page.title for page in pages.values()])
    pages = {name: replace(page, title=title) for (name, page), title in zip(pages.items(), titles, strict=True)}
    lines, links = repeated_lines(list(pages.values()))
    if not lines:
        return pages
    return {name: _without(page, lines, links) for name, page in pages.items()}


def without_name_of_site(titles: Sequence[str]) -> list[str]:
    """The titles without the longest end, behind a separator, that nearly all with such ends have, and most of all.

    An end that fewer have tells apart what the pages are about, such as a version or a system. The titles stay as they are where
    two would become one.
    """
    short = [title if len(title) <= LONGEST_TITLE else "" for title in titles]
    ends = [[title[match.start() :] for match in _SEPARATOR.finditer(title) if match.start()] for title in short]
    needed = max(FEWEST_PAGES, MOST_OF * len(titles), NEARLY_ALL * sum(map(bool, ends)))
    shared = [end for end, number in Counter(itertools.chain(*ends)).items() if number >= needed]
    shorter = [title.removesuffix(max(filter(title.endswith, shared), key=len, default="")) for title in titles]
    return shorter if len(set(shorter)) == len(set(titles)) else list(titles)


def _without(page: Converted, repeated: set[str], links: set[str]) -> Converted:
    lines = page.text.splitlines()
    keys = _keys(lines)
    first, last = 0, len(lines)
    while first < last and (not lines[first].strip() or keys[first] in repeated):
        first += 1
    while last > first and (not lines[last - 1].strip() or keys[last - 1] in repeated):
        last -= 1
    kept = [
        line
        for line, key in zip(lines[first:last], keys[first:last], strict=True)
        if not key or key not in links or line.startswith("#")
    ]
    dropped = last - first - len(kept) + sum(1 for line in [*lines[:first], *lines[last:]] if line.strip())
    text = "\n".join(kept)
    if not dropped or not any(character.isalnum() for character in text):
        return page
    notes = (*page.notes, f"{dropped} lines left out that most pages have")
    return replace(page, text=text, notes=notes)


def _keys(lines: Sequence[str]) -> list[str]:
    """What tells each line from others; nothing for a line of code or a fence."""
    keys, fence = [], ""
    for line in lines:
        marks = _FENCE.match(line)
        in_code = fence or marks is not None
        if marks is not None and not fence:
            fence = marks[1]
        elif marks is not None and marks[1].startswith(fence) and not line.strip().strip("`"):
            fence = ""
        keys.append("" if in_code else ("# " if line.startswith("#") else "") + line_key(line.lstrip("#")))
    return keys
