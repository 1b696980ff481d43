"""What tells two texts or two queries apart."""

import re
from collections.abc import Iterable, Set


def normalize_query(text: str) -> str:
    """A query in lower case without punctuation and with single spaces, to tell whether two are the same."""
    return " ".join(re.findall(r"\w+", text.lower()))


NEARLY_SAME = 0.8
WORDS_IN_A_SHINGLE = 5


def words_of(text: str) -> list[str]:
    """The words of a text in lower case; an identifier such as PRT-7719 or 3.9.2 is one word."""
    return re.findall(r"\w+(?:[-.:/]\w+)*", text.lower())


def distinguishing_words(words: Iterable[str]) -> frozenset[str]:
    """Numbers and identifiers: words with a digit, or joined by - _ : or /."""
    return frozenset(word for word in words if re.search(r"[\d_:/-]", word))


def nearly_same(text: str, other: str) -> bool:
    """Whether two passages say the same: the same numbers and identifiers, and the Jaccard index of their words is high.

    Passages that differ in an identifier alone, as the entries of a list of error messages do, are told apart.
    """
    words, others = frozenset(words_of(text)), frozenset(words_of(other))
    return jaccard(words, others) >= NEARLY_SAME and distinguishing_words(words) == distinguishing_words(others)


def jaccard(words: Set[str], others: Set[str]) -> float:
    """The share of the words that both sets have; 1 for two empty ones."""
    return len(words & others) / len(words | others) if words or others else 1.0


def shingles(text: str) -> set[int]:
    """Hashes of all runs of five words of a text (Broder, 1997); a shorter text is one run.

    The hashes hold within this process only.
    """
    words = words_of(text)
    runs = max(1, len(words) - WORDS_IN_A_SHINGLE + 1)
    return {hash(tuple(words[i : i + WORDS_IN_A_SHINGLE])) for i in range(runs)} if words else set()
