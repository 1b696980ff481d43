"""Where a passage has the words and the identifiers of a query."""

from collections.abc import Sequence
from typing import NamedTuple

import regex

from embed_assets.text.identifiers import IDENTIFIER_PATTERNS, find_identifiers, places_of
from embed_assets.text.tokens import PAIRED, search_terms

PLAIN, WORD, IDENTIFIER = "", "word", "identifier"
LONGEST_EXCERPT = 240  # characters
LEAD = 40  # characters before the first match
# A word with what BM25 keeps together, or one character of a script whose characters it pairs.
_PIECE = regex.compile(rf"{PAIRED}|\w+(?:\.\w+)*")
_SPACELESS = regex.compile(PAIRED)


class Segment(NamedTuple):
    """A part of a text, and how it matches the query: PLAIN, WORD or IDENTIFIER."""

    text: str
    kind: str


def mark(text: str, query: str, language: str, patterns: Sequence[str] = IDENTIFIER_PATTERNS) -> list[Segment]:
    """The text in segments: its identifiers that the query names, and its words that BM25 takes for words of the query.

    Args:
        text: a passage.
        query: what was searched.
        language: ISO 639-1 code of the text.
        patterns: what an identifier looks like.

    Returns:
        Segments that make up the text when they are joined.
    """
    kinds = [PLAIN] * len(text)
    asked = set(next(search_terms([query], language)))
    pieces = list(_PIECE.finditer(text))
    terms = search_terms([_with_next(text, piece) for piece in pieces], language)
    for piece, found in zip(pieces, terms, strict=True):
        if asked.intersection(found):
            end = piece.end() + (1 if _SPACELESS.match(piece[0]) and len(_with_next(text, piece)) > 1 else 0)
            kinds[piece.start() : end] = [WORD] * (end - piece.start())
    for identifier in find_identifiers(query, patterns):
        for start, end in places_of(text, identifier):
            kinds[start:end] = [IDENTIFIER] * (end - start)
    return _joined(text, kinds)


def excerpt(segments: list[Segment], longest: int = LONGEST_EXCERPT) -> list[Segment]:
    """At most so many characters of a text, from shortly before the place with most matches on."""
    text = "".join(segment.text for segment in segments)
    kinds = [segment.kind for segment in segments for _ in segment.text]
    if len(text) <= longest:
        return segments
    matches = [0]
    for kind in kinds:
        matches.append(matches[-1] + (kind != PLAIN) + 2 * (kind == IDENTIFIER))
    first = next((place for place, kind in enumerate(kinds) if kind), 0)
    starts = [*range(0, len(text) - longest, 20), len(text) - longest]
    best = max(starts, key=lambda start: (matches[start + longest] - matches[start], -abs(first - LEAD - start)))
    start = _after_a_space(text, best)
    end = len(text) if start + longest >= len(text) else _after_a_space(text, start + longest)
    shown = _joined(text[start:end], kinds[start:end])
    before, after = ([Segment("… ", PLAIN)] if start else []), ([Segment(" …", PLAIN)] if end < len(text) else [])
    return [*before, *shown, *after]


def _after_a_space(text: str, place: int) -> int:
    """The place, or where its word begins, if that is near."""
    space = text.rfind(" ", max(0, place - 20), place)
    return place if space < 0 else space + 1


def _with_next(text: str, piece: regex.Match) -> str:
    """A word; in scripts without spaces a character with the next one, as BM25 pairs them."""
    if not _SPACELESS.match(piece[0]):
        return piece[0]
    following = text[piece.end() : piece.end() + 1]
    return piece[0] + (following if _SPACELESS.match(following) else "")


def _joined(text: str, kinds: list[str]) -> list[Segment]:
    segments: list[Segment] = []
    for character, kind in zip(text, kinds, strict=True):
        if segments and segments[-1].kind == kind:
            segments[-1] = Segment(segments[-1].text + character, kind)
        else:
            segments.append(Segment(character, kind))
    return segments
