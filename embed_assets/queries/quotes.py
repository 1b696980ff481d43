"""Where a passage that somebody copied stands in the text of a document."""

import html
import re
import unicodedata
from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np

# What a reader of the page does not see: pictures, targets of links, tags, the lines of fences, names of headings, boxes; and
# the numbers of lists, which few programs copy.
_UNSEEN = re.compile(
    r"""
      !\[[^\[\]\n]{0,1000}\]\([^()\n]{0,2000}\)
    | (?<=\])\((?:[^()\n]|\([^()\n]{0,1000}\)){0,2000}\)
    | (?<=\])\[[^\[\]\n]{0,200}\]
    | ^[ ]{0,3}\[[^\[\]\n]{1,200}\]:[ \t]+\S[^\n]*
    | ^[ \t>]*(?:`{3,}|~{3,})[^\n`]*$
    | ^[ \t>]*[-*+][ ]\[[ xX]\]
    | ^[ \t>]*[0-9]{1,3}[.)](?=[ \t])
    | [ \t]\{[#.][\w:. #-]{1,200}\}[ \t]*$
    | <!--[^<>]{0,2000}-->
    | </?[A-Za-z][\w-]*(?:\s[^<>\n]{0,1000})?/?>
    """,
    re.VERBOSE | re.MULTILINE,
)


_ENTITY = re.compile(r"&(?:[A-Za-z][A-Za-z0-9]{1,30}|#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6});")
# Points and commas in a number, its sign, what compares it, and per cent.
_SIGNS = re.compile(r"(?<=\d)[.,](?=\d)|(?<!\w)[-+\u2212](?=\d)|(?<=[^\s])[ \t]*[<>=\u2264\u2265](?=[ \t]*\d)|(?<=\d)[ \t]?%")
# Shorter ones stand in many places by chance.
SHORTEST, SHORTEST_IN_ONE_PLACE = 12, 4


class Quoted:
    """A text in which copied passages are looked for."""

    def __init__(self, text: str):
        self._text = text

    def find(self, passage: str) -> tuple[int, int] | None:
        """The span of the first place where the passage stands; None if it stands nowhere.

        White space does not count. Where it is not found like that, only its letters and digits count (with the signs of
        numbers), and only those that a reader of the rendered page sees: a sentence that was copied there has no marks and
        no targets of links. So reduced, it has to be whole words, and SHORTEST characters at least, or stand in one place alone.
        """
        characters, places = self._squeezed
        wanted, _ = _without_spaces(passage)
        first = characters.find(wanted) if wanted else -1
        if first >= 0:
            return int(places[first]), int(places[first + len(wanted) - 1]) + 1
        characters, places = self._letters
        wanted, _ = _seen(passage)
        first = characters.find(wanted) if len(wanted) >= SHORTEST_IN_ONE_PLACE else -1
        found = None
        while first >= 0:
            start, end = int(places[first]), int(places[first + len(wanted) - 1]) + 1
            if not _joined(self._text[start - 1 : start + 1]) and not _joined(self._text[end - 1 : end + 1]):
                if len(wanted) >= SHORTEST:
                    return start, end
                if found is not None:
                    return None
                found = start, end
            first = characters.find(wanted, first + 1)
        return found

    @cached_property
    def _squeezed(self) -> tuple[str, np.ndarray]:
        return _without_spaces(self._text)

    @cached_property
    def _letters(self) -> tuple[str, np.ndarray]:
        return _seen(self._text)


def same_words(one: str, other: str) -> bool:
    """Whether two passages are the same to a reader of the rendered page."""
    return one.split() == other.split() or _seen(one)[0] == _seen(other)[0]


def _without_spaces(text: str) -> tuple[str, np.ndarray]:
    """The text without white space, and the place of each of its characters in the text."""
    places = np.array([place for place, character in enumerate(text) if not character.isspace()], dtype=np.int32)
    return "".join(text.split()), places


def _seen(text: str) -> tuple[str, np.ndarray]:
    """What a reader sees of the text, and the place of each character: letters, digits and the signs of numbers, without
    accents and case."""
    text, origins = _without_entities(text)
    signs = {match.end() - 1 for match in _SIGNS.finditer(text)}
    letters: list[str] = []
    places: list[int] = []

    def add(start: int, end: int) -> None:
        for place in range(start, end):
            found = text[place] if place in signs else _letters_of(text[place])
            letters.append(found)
            places.extend([origins[place]] * len(found))

    end = 0
    for unseen in _UNSEEN.finditer(text):
        add(end, unseen.start())
        end = unseen.end()
    add(end, len(text))
    return "".join(letters), np.array(places, dtype=np.int32)


def _without_entities(text: str) -> tuple[str, Sequence[int]]:
    """The text with the characters that entities such as &lt; stand for, and where each of its characters was."""
    if "&" not in text:
        return text, range(len(text))
    parts: list[str] = []
    origins: list[int] = []
    end = 0
    for entity in _ENTITY.finditer(text):
        found = html.unescape(entity[0])
        parts += [text[end : entity.start()], found]
        origins += [*range(end, entity.start()), *[entity.start()] * len(found)]
        end = entity.end()
    return "".join(parts) + text[end:], [*origins, *range(end, len(text))]


def _joined(characters: str) -> bool:
    """Whether two neighbouring characters are of one word, in scripts that write spaces between words."""
    return len(characters) == 2 and characters.isalnum() and max(characters) < "\u2e80"


@lru_cache(maxsize=100_000)
def _letters_of(character: str) -> str:
    return "".join(part for part in unicodedata.normalize("NFKD", character).casefold() if part.isalnum())
