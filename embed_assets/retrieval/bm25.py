"""BM25 over passages."""

from collections.abc import Sequence

import numpy as np


class Bm25Index:
    """BM25 over passages: lower case, English stop words and Snowball stems.

    As in Lucene's standard tokenizer, dots within a word do not split it, so that 3.9.2 is one term.

    Args:
        passages: the texts to search.
    """

    def __init__(self, passages: Sequence[str]):
        import bm25s

        self._passages = len(passages)
        self._index = bm25s.BM25()
        terms = self._tokenize(passages)
        self._has_terms = any(terms)
        if self._has_terms:
            self._index.index(terms, show_progress=False)

    @staticmethod
    def _tokenize(texts: Sequence[str]) -> list[list[str]]:
        import bm25s
        import Stemmer

        return bm25s.tokenize(
            list(texts),
            token_pattern=r"(?u)\w+(?:\.\w+)*",
            stopwords="en",
            stemmer=Stemmer.Stemmer("english"),
            show_progress=False,
            return_ids=False,
        )

    def scores(self, queries: Sequence[str]) -> np.ndarray:
        """BM25 scores, float32, shape (queries, passages); 0 where no term matches."""
        found = np.zeros((len(queries), self._passages), dtype=np.float32)
        for row, terms in enumerate(self._tokenize(queries)):
            if terms and self._has_terms:
                found[row] = self._index.get_scores(terms)
        return found
