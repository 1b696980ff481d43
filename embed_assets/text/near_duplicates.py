"""What tells two texts or two queries apart."""

import re
from collections.abc import Iterable, Set

from embed_assets.text.tokens import whole_words, words


def normalize_query(text: str) -> str:
    """The words of a query (tokens.words) with single spaces, to tell whether two are the same but for case and punctuation."""
    return " ".join(words(text))


NEARLY_SAME = 0.8
WORDS_IN_A_SHINGLE = 5


def distinguishing_words(found: Iterable[str]) -> frozenset[str]:
    """Numbers and identifiers among the words: those with a digit, + or #, or joined by - _ : or /."""
    return frozenset(word for word in found if re.search(r"[\d_:/+#-]", word))


def nearly_same(text: str, other: str) -> bool:
    """Whether two passages say the same: the same numbers and identifiers, and the Jaccard index of their words is high.

    Passages that differ in an identifier alone, as the entries of a list of error messages do, are told apart.
    """
    found, others = frozenset(whole_words(text)), frozenset(whole_words(other))
    return jaccard(found, others) >= NEARLY_SAME and distinguishing_words(found) == distinguishing_words(others)


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
