"""BM25 over passages."""

from collections.abc import Sequence

import numpy as np

from embed_assets.text.languages import ENGLISH
from embed_assets.text.tokens import search_terms


class Bm25Index:
    """BM25 over passages, by the terms of their language (tokens.search_terms).

    Args:
        passages: the texts to search.
        language: ISO 639-1 code of their language.
    """

    def __init__(self, passages: Sequence[str], language: str = ENGLISH):
        import bm25s

        self._passages, self._language = len(passages), language
        self._index = bm25s.BM25()
        terms = search_terms(passages, language)
        self._has_terms = any(terms)
        if self._has_terms:
            self._index.index(terms, show_progress=False)

    def scores(self, queries: Sequence[str]) -> np.ndarray:
        """BM25 scores, float32, shape (queries, passages); 0 where no term matches."""
        found = np.zeros((len(queries), self._passages), dtype=np.float32)
        for row, terms in enumerate(search_terms(queries, self._language)):
            if terms and self._has_terms:
                found[row] = self._index.get_scores(terms)
        return found
