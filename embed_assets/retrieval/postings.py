"""Which passages have a term."""

from array import array
from collections.abc import Collection, Iterable
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csc_array

# Put in the order of their terms together: a few dozen MB.
PASSAGES_AT_ONCE = 2**15


class Postings:
    """The passages that each term stands in, ascending, and how often: an inverted index, a few bytes a term of a passage.

    Args:
        passages: the terms of each.
        dtype: of the counts.
        repeated: whether a passage may name a term more than once.
    """

    def __init__(self, passages: Iterable[Collection[str]], dtype: type, repeated: bool):
        self.numbers: dict[str, int] = {}
        self.lengths = np.empty(0, dtype=np.int64)
        rest, blocks = iter(passages), []
        while (block := self._block(islice(rest, PASSAGES_AT_ONCE), dtype, repeated)).shape[0]:
            blocks.append(block)
        self._join(blocks, dtype)

    def _block(self, passages: Iterable[Collection[str]], dtype: type, repeated: bool) -> "csc_array":
        """The counts of some passages, shape (passages, terms so far)."""
        from scipy.sparse import csr_array

        terms, ends = array("i"), array("q", [0])
        for of_passage in passages:
            terms.extend([self.numbers.setdefault(term, len(self.numbers)) for term in of_passage])
            ends.append(len(terms))
        self.lengths = np.concatenate([self.lengths, np.diff(ends)])
        shape = (len(ends) - 1, max(1, len(self.numbers)))
        counts = csr_array((np.ones(len(terms), dtype), np.asarray(terms), np.asarray(ends)), shape)
        if repeated:
            counts.sum_duplicates()
        return counts.tocsc()

    def _join(self, blocks: "list[csc_array]", dtype: type) -> None:
        """Make one of all blocks, each of them given up as soon as it is there: those of a large corpus take a gigabyte."""
        frequencies = np.zeros(max(1, len(self.numbers)), dtype=np.int64)
        for block in blocks:
            frequencies[: block.shape[1]] += np.diff(block.indptr)
        self.starts = np.concatenate([[0], np.cumsum(frequencies)])
        self.rows, self.counts = np.empty(self.starts[-1], dtype=np.int32), np.empty(self.starts[-1], dtype=dtype)
        places, first = self.starts[:-1].copy(), 0
        blocks.reverse()
        while blocks:
            block = blocks.pop()
            of_block = np.diff(block.indptr)
            to = np.repeat(places[: len(of_block)] - block.indptr[:-1], of_block) + np.arange(block.nnz)
            self.rows[to], self.counts[to] = block.indices + first, block.data
            places[: len(of_block)] += of_block
            first += block.shape[0]

    def places(self, term: int) -> slice:
        """Where in ``rows`` and ``counts`` those of a term are, by its number."""
        return slice(self.starts[term], self.starts[term + 1])


def find(rows: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where rows that are wanted stand among others, which are ascending and at least one, and whether they do."""
    places = np.minimum(np.searchsorted(rows, wanted), len(rows) - 1)
    return places, rows[places] == wanted
