"""The language of each passage, in which people ask about it."""

from collections.abc import Sequence

import polars as pl

from embed_assets.corpus.spans import language_of
from embed_assets.text.columns import Texts, rows_of
from embed_assets.text.languages import ENGLISH, LONGEST_TEXT, name_of, same_language, sure_language


class PassageLanguages:
    """Finds the language of a passage: its own where that is sure, else that of its document, else that of the collection.

    Args:
        chunks: the collection's chunks.
    """

    def __init__(self, chunks: pl.DataFrame):
        self._texts, self._documents = Texts(chunks["text"]), chunks["document_id"].to_list()
        self._rows_of = rows_of(self._documents)
        self._collection = language_of(chunks)
        self._found: dict[int, str] = {}
        self._of_document: dict[str, str] = {}

    def of(self, row: int) -> str:
        """Its ISO 639-1 code."""
        if row not in self._found:
            self._found[row] = sure_language(self._texts[row]) or self._of(self._documents[row])
        return self._found[row]

    def _of(self, document: str) -> str:
        if document not in self._of_document:
            text = ""
            for row in self._rows_of[document]:
                text += f"{self._texts[row]}\n"
                if len(text) >= LONGEST_TEXT:
                    break
            self._of_document[document] = sure_language(text) or self._collection
        return self._of_document[document]


def in_words(languages: Sequence[str]) -> str:
    """What a prompt says of the language of its questions; nothing where it is English, as the prompts are.

    Args:
        languages: of the passages that the prompt shows, as ISO 639-1 codes; questions are asked in that of the first.
    """
    first, one = languages[0], all(same_language(languages[0], other) for other in languages)
    if first == ENGLISH and one:
        return ""
    words = "the language of the passages" if one else "the language of the first passage"
    return f"{name_of(first)}, {words}" if name_of(first) else words
