"""What tells two texts or two queries apart."""

import functools
import re
from collections.abc import Sequence, Set

import polars as pl

from embed_assets.text.identifiers import IDENTIFIER_PATTERNS, find_identifiers
from embed_assets.text.tokens import fold, whole_words, words

_PUNCTUATION = re.compile(r"[\s.,;!?'\"“”„‘’«»()\[\]{}–—-]+")
_SYMBOLS = re.compile(r"^\W+|\W+$")
NEARLY_SAME = 0.8
MOSTLY = 0.8
WORDS_IN_A_SHINGLE = 5


def normalize_query(text: str) -> str:
    """The words of a query (tokens.words) with single spaces, to tell whether two are the same but for case and punctuation.

    Of a query without words, such as an emoji, all that it has but punctuation.
    """
    return " ".join(words(text)) or _PUNCTUATION.sub("", fold(text))


def normalize_queries(queries: pl.Series) -> pl.Series:
    """normalize_query of each."""
    return queries.map_elements(normalize_query, return_dtype=pl.String)


def plain_words(text: str) -> set[str]:
    """The words of a text (tokens.words) without their symbols, each once; an identifier such as PRT-7719 is several."""
    # Most words have no symbol, and nearly all texts repeat some.
    return {word if word.isalnum() else _SYMBOLS.sub("", word) for word in set(words(text))} - {""}


def distinguishing_terms(text: str, patterns: Sequence[str] = IDENTIFIER_PATTERNS) -> frozenset[str]:
    """Identifiers, numbers and words with symbols: two texts that differ in one never say the same.

    Args:
        text: a query or a passage.
        patterns: what an identifier looks like.
    """
    identifiers = (fold(identifier) for identifier in find_identifiers(text, patterns))
    numbered = (word for word in whole_words(text) if re.search(r"[\d_:/+#]", word))
    symbolic = (word for word in words(text) if not word.isalpha() and re.search(r"\W", word))
    return frozenset([*identifiers, *numbered, *symbolic])


def nearly_same(text: str, other: str, patterns: Sequence[str] = IDENTIFIER_PATTERNS) -> bool:
    """Whether two passages say the same: the same numbers and identifiers, and the Jaccard index of their words is high.

    Passages that differ in an identifier alone, as the entries of a list of error messages do, are told apart.
    """
    alike = jaccard(_set_of_words(text), _set_of_words(other)) >= NEARLY_SAME
    return alike and distinguishing_terms(text, patterns) == distinguishing_terms(other, patterns)


def says_all_of(text: str, other: str, patterns: Sequence[str] = IDENTIFIER_PATTERNS) -> bool:
    """Whether most of what another text says stands in this one, word for word, with all of its numbers and identifiers.

    So does a page that holds the text of others, such as a version to print.
    """
    found = _set_of_words(other)  # tells nearly all apart, in less time than their runs
    if not found or len(found & _set_of_words(text)) < MOSTLY * len(found):
        return False
    runs = shingles(other)
    if len(runs & shingles(text)) < MOSTLY * len(runs):
        return False
    return distinguishing_terms(other, patterns) <= distinguishing_terms(text, patterns)


@functools.lru_cache(maxsize=1000)
def _set_of_words(text: str) -> frozenset[str]:
    """A positive is compared with all candidates of its query, and a candidate with many positives."""
    return frozenset(whole_words(text))


def jaccard(found: Set[str], others: Set[str]) -> float:
    """The share of the words that both sets have; 1 for two empty ones."""
    return len(found & others) / len(found | others) if found or others else 1.0


def shingles(text: str) -> set[int]:
    """Hashes of all runs of five words of a text (Broder, 1997); a shorter text is one run.

    The hashes hold within this process only.
    """
    found = whole_words(text)
    runs = max(1, len(found) - WORDS_IN_A_SHINGLE + 1)
    return {hash(tuple(found[i : i + WORDS_IN_A_SHINGLE])) for i in range(runs)} if found else set()
