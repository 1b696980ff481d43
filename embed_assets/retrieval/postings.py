"""Which passages have a term."""

from array import array
from collections.abc import Collection, Iterable

import numpy as np


class Postings:
    """The passages that each term stands in, ascending, and how often: an inverted index, a few bytes a term of a passage.

    Args:
        passages: the terms of each.
        dtype: of the counts.
        repeated: whether a passage may name a term more than once.
    """

    def __init__(self, passages: Iterable[Collection[str]], dtype: type, repeated: bool):
        from scipy.sparse import csr_array

        self.numbers: dict[str, int] = {}
        terms, ends = array("i"), array("q", [0])
        for of_passage in passages:
            terms.extend([self.numbers.setdefault(term, len(self.numbers)) for term in of_passage])
            ends.append(len(terms))
        self.lengths = np.diff(np.asarray(ends))
        shape = (len(self.lengths), max(1, len(self.numbers)))
        counts = csr_array((np.ones(len(terms), dtype), np.asarray(terms), np.asarray(ends)), shape)
        if repeated:
            counts.sum_duplicates()
        del terms
        by_term = counts.tocsc()
        self.starts, self.rows, self.counts = by_term.indptr, by_term.indices, by_term.data

    def places(self, term: int) -> slice:
        """Where in ``rows`` and ``counts`` those of a term are, by its number."""
        return slice(self.starts[term], self.starts[term + 1])


def find(rows: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where rows that are wanted stand among others, which are ascending and at least one, and whether they do."""
    places = np.minimum(np.searchsorted(rows, wanted), len(rows) - 1)
    return places, rows[places] == wanted
