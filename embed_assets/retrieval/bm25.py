"""BM25 over passages."""

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

import numpy as np

from embed_assets.retrieval.ranking import Found, top_k
from embed_assets.text.bm25s_alone import import_bm25s
from embed_assets.text.languages import ENGLISH
from embed_assets.text.tokens import search_terms

# Scores that are held at once, as float32: 16 MB.
SCORES_AT_ONCE = 2**22


class Bm25Index:
    """BM25 over passages, by the terms of their language (tokens.search_terms).

    Args:
        passages: the texts to search.
        language: ISO 639-1 code of their language.
    """

    def __init__(self, passages: Iterable[str], language: str = ENGLISH):
        self._language, self._index = language, import_bm25s().BM25(csc_backend="scipy")
        self._numbers: dict[str, int] = {}
        terms = _Terms(search_terms(passages, language), self._numbers)
        self.passages = len(terms)
        if self._numbers:
            numbers = range(len(self._numbers))
            self._index.scores = self._index.build_index_from_ids(numbers, terms, show_progress=False)

    def scores(self, queries: Sequence[str]) -> np.ndarray:
        """BM25 scores, float32, shape (queries, passages); 0 where no term matches."""
        return self._scores(self.terms(queries))

    def search(self, queries: Sequence[str]) -> "Bm25Scores":
        """What the index gives to each passage for each query, without holding it all."""
        return Bm25Scores(self, self.terms(queries))

    def terms(self, queries: Sequence[str]) -> list[list[int]]:
        """The numbers of the terms of each query that passages have, in order and with repetitions."""
        return [
            [self._numbers[term] for term in terms if term in self._numbers] for terms in search_terms(queries, self._language)
        ]

    def _scores(self, queries: Sequence[Sequence[int]]) -> np.ndarray:
        found = np.zeros((len(queries), self.passages), dtype=np.float32)
        for row, terms in enumerate(queries):
            if terms:
                found[row] = self._index.get_scores_from_ids(terms)
        return found

    def _scores_at(self, terms: Sequence[int], columns: np.ndarray) -> np.ndarray:
        """The scores of some passages, to the last bit as _scores gives them."""
        found = np.zeros(len(columns), dtype=np.float32)
        for term in terms:
            start, end = self._index.scores["indptr"][term : term + 2]
            rows = self._index.scores["indices"][start:end]
            places = np.minimum(np.searchsorted(rows, columns), len(rows) - 1)
            found += np.where(rows[places] == columns, self._index.scores["data"][start:end][places], np.float32(0))
        return found


# The corpus that was indexed last, and its index.
_last: list[tuple[bytes, Bm25Index]] = []


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
        return Found.joined([self._first(scores, k) for _, scores in held])

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

    @staticmethod
    def _first(scores: np.ndarray, k: int) -> Found:
        columns = top_k(scores, k, above=0)
        best = np.where(columns >= 0, np.take_along_axis(scores, columns, axis=1), np.float32(0))
        return Found(columns, best, scores.min(axis=1, keepdims=True))


class _Terms(Sequence[list[int]]):
    """The numbers of the terms of each passage: four bytes a term, where a list of lists of texts takes forty and more.

    Args:
        passages: the terms of each.
        numbers: of terms; new ones are added.
    """

    def __init__(self, passages: Iterable[list[str]], numbers: dict[str, int]):
        self._terms, lengths = array("i"), array("q")
        for terms in passages:
            self._terms.extend([numbers.setdefault(term, len(numbers)) for term in terms])
            lengths.append(len(terms))
        self._ends = array("q", accumulate(lengths, initial=0))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, passage):
        return self._terms[self._ends[passage] : self._ends[passage + 1]].tolist()

    def __iter__(self) -> Iterator[list[int]]:
        return (self[passage] for passage in range(len(self)))
