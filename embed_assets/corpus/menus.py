"""Menus, heads and feet that stand on most pages of a site."""

from collections import Counter
from collections.abc import Mapping, Sequence

from embed_assets.corpus.readers.converted import Converted
from embed_assets.corpus.readers.html import line_key

FEWEST_PAGES = 3
MOST_OF = 0.5


def repeated_lines(pages: Sequence[Converted]) -> tuple[set[str], set[str]]:
    """The lines that stand on most of the pages, and those of them that are links there."""
    if len(pages) < FEWEST_PAGES:
        return set(), set()
    needed = max(FEWEST_PAGES, MOST_OF * len(pages))
    lines = Counter(key for page in pages for key in {_key(line) for line in page.text.splitlines()} if key)
    links = Counter(key for page in pages for key in set(page.links))
    return {key for key, number in lines.items() if number >= needed}, {key for key, number in links.items() if number >= needed}


def without_menus(pages: Mapping[str, Converted]) -> dict[str, Converted]:
    """The pages without the links that stand on most of them, and without repeated lines at their beginning and end.

    A line in the middle of a page that is no link stays, on however many pages it stands: it may be a warning.

    Args:
        pages: id → page, of one site.
    """
    lines, links = repeated_lines(list(pages.values()))
    if not lines:
        return dict(pages)
    return {name: _without(page, lines, links) for name, page in pages.items()}


def _without(page: Converted, repeated: set[str], links: set[str]) -> Converted:
    lines = page.text.splitlines()
    first, last = 0, len(lines)
    while first < last and (not lines[first].strip() or _key(lines[first]) in repeated):
        first += 1
    while last > first and (not lines[last - 1].strip() or _key(lines[last - 1]) in repeated):
        last -= 1
    kept, fenced, dropped = [], False, 0
    for line in lines[first:last]:
        fenced ^= line.startswith("```")
        if not fenced and (key := _key(line)) and key in links and not line.startswith("#"):
            dropped += 1
        else:
            kept.append(line)
    dropped += sum(1 for line in [*lines[:first], *lines[last:]] if line.strip())
    text = "\n".join(kept)
    if not dropped or not any(character.isalnum() for character in text):
        return page
    notes = (*page.notes, f"{dropped} lines left out that most pages have")
    return Converted(text, page.title, page.markdown, page.metadata, notes, page.links)


def _key(line: str) -> str:
    return ("# " if line.startswith("#") else "") + line_key(line.lstrip("#"))
