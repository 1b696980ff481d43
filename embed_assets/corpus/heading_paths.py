"""The title and the headings above a place in a document."""

from bisect import bisect_right
from collections.abc import Callable, Sequence

from embed_assets.corpus.structure import Heading


def own_title(title: str, text: str) -> str:
    """The title; "" where it is blank or the text itself, as some data sets have it."""
    return title if title.strip() not in ("", text.strip()) else ""


def below_title(title: str, text: str) -> str:
    """The text with its own_title, if it has one, in a line above it."""
    return f"{title}\n{text}" if own_title(title, text) else text


class HeadingPaths:
    """The heading path of every place in a document; its making is linear in the headings, a look-up logarithmic."""

    def __init__(self, title: str, headings: Sequence[Heading]):
        self._title = title
        self._starts = [heading.start for heading in headings]
        self._above: list[tuple[str, ...]] = []
        self._with: list[tuple[str, ...]] = [()]
        path: list[Heading] = []
        for heading in headings:
            path = [item for item in path if item.level < heading.level]
            self._above.append(tuple(item.title for item in path))
            path.append(heading)
            self._with.append(tuple(item.title for item in path))

    def at(self, start: int) -> tuple[str, ...]:
        """The document's title and the headings above the offset, outermost first, each once.

        A heading that begins at the offset is in the chunk's own text: its path is that of its parents.
        """
        i = bisect_right(self._starts, start)
        begins_here = i > 0 and self._starts[i - 1] == start
        names = (self._title, *(self._above[i - 1] if begins_here else self._with[i]))
        return tuple(dict.fromkeys(name for name in names if name))


def fit_path(path: Sequence[str], tokens: int | None, tokens_of: Callable[[str], int]) -> str:
    """The path in one line, shortened from the middle to at most so many tokens; None: as long as it is."""
    names = list(path)
    line = " > ".join(names)
    if tokens is None or not line or tokens_of(line) <= tokens:
        return line
    while len(names) > 2:
        del names[len(names) // 2]
        first = (len(names) + 1) // 2
        line = " > ".join([*names[:first], "…", *names[first:]])
        if tokens_of(line) <= tokens:
            return line
    words = " > ".join(names).split()
    fewest, most = 0, len(words) - 1
    while fewest < most:
        kept = (fewest + most + 1) // 2
        if tokens_of(_without_middle(words, kept)) <= tokens:
            fewest = kept
        else:
            most = kept - 1
    return _without_middle(words, fewest) if fewest else ""


def _without_middle(words: Sequence[str], kept: int) -> str:
    """The first and the last words, so many in all, with '…' between them."""
    first = (kept + 1) // 2
    return " ".join([*words[:first], "…", *words[len(words) - (kept - first) :]])
