"""BM25 over passages."""

import hashlib
import math
import threading
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np

from embed_assets.retrieval.postings import Postings, find
from embed_assets.retrieval.ranking import Found
from embed_assets.text.languages import ENGLISH
from embed_assets.text.tokens import plain_letters, search_terms

# As bm25s and most others have them (Robertson and Zaragoza, 2009).
K1, B = 1.5, 0.75
WEIGHTS_AT_ONCE = 2**21
# Scores that are held at once, as float32: 16 MB.
SCORES_AT_ONCE = 2**22


class Bm25Index:
    """BM25 over passages, by the terms of their language (tokens.search_terms).

    The variant of Lucene with exact lengths (Kamphuis et al., ECIR 2020), as bm25s has it: each term of a passage is given its
    weight beforehand, and a query adds those of its terms up. bm25s itself makes lists of the terms of all passages, which
    took three times the memory and the time.

    Args:
        passages: the texts to search.
        language: ISO 639-1 code of their language.
    """

    def __init__(self, passages: Iterable[str], language: str = ENGLISH):
        self._language = language
        self._postings = Postings(search_terms(passages, language), np.float32, repeated=True)
        self.passages = len(self._postings.lengths)
        self._weights = self._weighed()

    def _weighed(self) -> np.ndarray:
        """The weight of each term in each of its passages, in the place of its count."""
        starts, lengths, weights = self._postings.starts, self._postings.lengths, self._postings.counts
        frequencies = np.diff(starts)
        of_frequency = {int(n): math.log(1 + (self.passages - n + 0.5) / (n + 0.5)) for n in np.unique(frequencies)}
        rarity = np.array([of_frequency[n] for n in frequencies.tolist()], dtype=np.float32)
        longer = K1 * ((1 - B) + B * lengths / lengths.mean()) if lengths.any() else np.ones(len(lengths))
        first = 0
        while first < len(frequencies):
            # As many terms as have so many weights, which are computed as float64.
            last = max(first + 1, int(np.searchsorted(starts, starts[first] + WEIGHTS_AT_ONCE, "right")) - 1)
            part = slice(starts[first], starts[last])
            counts = weights[part]
            saturated = counts / (longer[self._postings.rows[part]] + counts)
            weights[part] = np.repeat(rarity[first:last], frequencies[first:last]) * saturated
            first = last
        return weights

    def scores(self, queries: Sequence[str]) -> np.ndarray:
        """BM25 scores, float32, shape (queries, passages); 0 where no term matches."""
        return self._scores(self.terms(queries))

    def search(self, queries: Sequence[str]) -> "Bm25Scores":
        """What the index gives to each passage for each query, without holding it all."""
        return Bm25Scores(self, self.terms(queries))

    def terms(self, queries: Sequence[str]) -> list[list[int]]:
        """The numbers of the terms of each query that passages have, in order and with repetitions.

        A term that no passage has stands for those that differ from it in accents (tokens.plain_letters).
        """
        return [
            [number for term in terms for number in self._numbers_of(term)] for terms in search_terms(queries, self._language)
        ]

    def _numbers_of(self, term: str) -> list[int]:
        numbers = self._postings.numbers
        if term in numbers:
            return [numbers[term]]
        plain = plain_letters(term)
        return [*self._with_accents.get(plain, ()), *([numbers[plain]] if plain in numbers else ())]

    @cached_property
    def _with_accents(self) -> dict[str, list[int]]:
        """Term in plain letters → the numbers of all that differ from it in accents alone, where one of them does."""
        found: dict[str, list[int]] = {}
        for term, number in self._postings.numbers.items():
            if not term.isascii() and (plain := plain_letters(term)) != term:
                found.setdefault(plain, []).append(number)
        return found

    def _weights_of(self, term: int) -> tuple[np.ndarray, np.ndarray]:
        """The passages that have a term, ascending, and its weight in each."""
        places = self._postings.places(term)
        return self._postings.rows[places], self._weights[places]

    def _scores(self, queries: Sequence[Sequence[int]]) -> np.ndarray:
        found = np.zeros((len(queries), self.passages), dtype=np.float32)
        for row, terms in enumerate(queries):
            for term in terms:
                np.add.at(found[row], *self._weights_of(term))
        return found

    def _scores_at(self, terms: Sequence[int], columns: np.ndarray) -> np.ndarray:
        """The scores of some passages, to the last bit as _scores gives them."""
        found = np.zeros(len(columns), dtype=np.float32)
        for term in terms:
            rows, weights = self._weights_of(term)
            places, there = find(rows, columns)
            found += np.where(there, weights[places], np.float32(0))
        return found


# The corpus that was indexed last, and its index.
_last: list[tuple[bytes, Bm25Index]] = []
_one_at_a_time = threading.Lock()


def bm25_index(passages: Sequence[str], language: str = ENGLISH) -> Bm25Index:
    """The index of passages; of those that were indexed last in this process, the one that is there.

    A run of a collection needs the same one to filter queries, to mine, to draw the dev queries and to score.

    Args:
        passages, language: as of Bm25Index.
    """
    digest = hashlib.sha256(language.encode())
    for passage in passages:
        text = passage.encode()
        digest.update(len(text).to_bytes(8, "big"))
        digest.update(text)
    with _one_at_a_time:
        if not _last or _last[0][0] != digest.digest():
            _last.clear()  # not both at once in memory
            _last.append((digest.digest(), Bm25Index(passages, language)))
        return _last[0][1]


class Bm25Scores:
    """BM25 scores of a block of queries for all passages (fusion.Scores).

    Those of a small corpus are held; of a large one some queries' at a time, and those of single passages are looked up.

    Args:
        index: of the passages.
        terms: of each query, as numbers.
    """

    def __init__(self, index: Bm25Index, terms: Sequence[Sequence[int]]):
        self._index, self._terms = index, terms
        fits = len(terms) * index.passages <= SCORES_AT_ONCE
        self._held = index._scores(terms) if fits else None

    def first(self, k: int) -> Found:
        """The k best passages of each query; what no term matches is not found, and scores 0."""
        at_once = max(1, SCORES_AT_ONCE // max(1, self._index.passages))
        blocks = [slice(start, start + at_once) for start in range(0, len(self._terms), at_once)]
        scored = ((block, self._index._scores(self._terms[block])) for block in blocks)
        held = scored if self._held is None else [(slice(None), self._held)]
        return Found.joined([Found.of(scores, k, above=0) for _, scores in held])

    def at(self, columns: np.ndarray) -> np.ndarray:
        """The scores of some passages of each query, same shape (queries, passages); 0 where the column is -1."""
        if self._held is not None:
            scores = np.take_along_axis(self._held, columns, axis=1)
        else:
            rows = zip(self._terms, columns, strict=True)
            scores = np.stack([self._index._scores_at(terms, of_query) for terms, of_query in rows])
        return np.where(columns >= 0, scores, np.float32(0))

    def row(self, number: int) -> np.ndarray:
        """The scores of one query for all passages, shape (passages,)."""
        return self._index._scores([self._terms[number]])[0] if self._held is None else self._held[number]
