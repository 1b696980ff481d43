"""Which passages answer a query, by rules: none of them is a negative of it, neither a mined one nor another of its batch."""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from embed_assets.retrieval.postings import Postings, find
from embed_assets.text.identifiers import IDENTIFIER_PATTERNS, find_identifiers, holds_identifier
from embed_assets.text.near_duplicates import normalize_query, plain_words

# Whose answers are Python strings at a time: in a large corpus an example may have thousands.
EXAMPLES_AT_ONCE = 1000


class AnswerRules:
    """Finds the passages that answer a query by its words.

    A passage with every word of the query, or with every identifier of it, may well answer it: a look-up of an identifier
    is answered wherever the identifier stands.

    Args:
        passages: the texts as they are searched, titles and headings included.
        patterns: what an identifier looks like.
    """

    def __init__(self, passages: Sequence[str], patterns: Sequence[str] = IDENTIFIER_PATTERNS):
        self._passages, self._patterns = passages, patterns
        self._postings = Postings(map(plain_words, passages), np.int8, repeated=False)

    def answers(self, query: str) -> np.ndarray:
        """Rows of the passages that answer the query, ascending."""
        found = self._with_all(plain_words(query))
        if identifiers := find_identifiers(query, self._patterns):
            # Few passages have the words that an identifier is made of; only they are read.
            suspects = self._with_all({word for identifier in identifiers for word in plain_words(identifier)})
            named = [row for row in suspects.tolist() if all(holds_identifier(self._passages[row], it) for it in identifiers)]
            found = np.union1d(found, np.array(named, dtype=np.int64))
        return found

    def _with_all(self, words: set[str]) -> np.ndarray:
        """Rows of the passages that have every one of the words; none if there is no word."""
        terms = [self._postings.numbers[word] for word in words if word in self._postings.numbers]
        if not terms or len(terms) < len(words):
            return np.empty(0, dtype=np.int64)
        rows = [self._postings.rows[self._postings.places(term)] for term in terms]
        rarest, *others = sorted(rows, key=len)
        found = rarest.astype(np.int64)
        for there in others:
            found = found[find(there, found)[1]]
        return found


class KnownAnswers:
    """Tells which passages of a batch must not count as negatives of which query.

    These are: other chunks of a document that the query is labelled with, passages that answer it (by AnswerRules or as
    copies), and the second and further copies of one passage, so that each counts once. A query's own positive and own
    hard negatives always count.

    Args:
        examples: ``anchor``, ``positive`` and ``negative_1`` … ``negative_n``; where they are known also
            ``positive_chunk``, ``negative_chunks``, ``positive_document``, ``negative_documents`` and ``answers`` (ids of
            the chunks that answer the anchor). Without them, passages are told apart by their text alone.
        hard_negatives: how many of the negatives are trained on.
    """

    def __init__(self, examples: pl.DataFrame, hard_negatives: int):
        self._numbers: dict[tuple[str, str], int] = {}
        texts = examples.select("positive", *(f"negative_{n + 1}" for n in range(hard_negatives))).rows()
        chunks = self._ids(examples, "chunk", "positive_chunk", "negative_chunks", hard_negatives)
        documents = self._ids(examples, "document", "positive_document", "negative_documents", hard_negatives)
        self._texts = np.array([[self._number("text", text) for text in row] for row in texts], dtype=np.int64)
        self._chunks = self._texts if chunks is None else chunks
        self._documents = self._chunks if documents is None else documents
        labelled: dict[str, set[int]] = {}
        for anchor, text, chunk, document in zip(
            examples["anchor"], self._texts[:, 0], self._chunks[:, 0], self._documents[:, 0], strict=True
        ):
            labelled.setdefault(normalize_query(anchor), set()).update((int(text), int(chunk), int(document)))
        self._answers = [
            np.array(sorted(labelled[normalize_query(anchor)] | found), dtype=np.int64)
            for anchor, found in zip(examples["anchor"], self._known(examples), strict=True)
        ]

    def mask(self, batch: np.ndarray, places: range) -> np.ndarray:
        """What must not count.

        Args:
            batch: numbers of all examples of the batch; its passages stand column by column: all positives, all first
                negatives and so on.
            places: where in the batch the queries stand that are compared.

        Returns:
            bool, shape (queries, passages).
        """
        texts, chunks, documents = (ids[batch].T.reshape(-1) for ids in (self._texts, self._chunks, self._documents))
        repeated = np.ones(len(chunks), dtype=bool)
        repeated[np.unique(chunks, return_index=True)[1]] = False
        masked = np.empty((len(places), len(chunks)), dtype=bool)
        flags = np.zeros(len(self._numbers), dtype=bool)
        for row, place in enumerate(places):
            taboo = np.concatenate([self._answers[batch[place]], self._chunks[batch[place]]])
            flags[taboo] = True
            masked[row] = repeated | flags[texts] | flags[chunks] | flags[documents]
            flags[taboo] = False
            masked[row, place :: len(batch)] = False
        return masked

    def _known(self, examples: pl.DataFrame) -> Iterator[set[int]]:
        """The answers of each example that are passages of any."""
        if "answers" not in examples.columns:
            yield from (set() for _ in range(len(examples)))
            return
        for part in examples.select("answers").iter_slices(EXAMPLES_AT_ONCE):
            for names in part["answers"].to_list():
                yield {self._numbers[key] for name in names or () if (key := ("chunk", name)) in self._numbers}

    def _number(self, kind: str, name: str) -> int:
        return self._numbers.setdefault((kind, name), len(self._numbers))

    def _ids(self, examples: pl.DataFrame, kind: str, positive: str, negatives: str, count: int) -> np.ndarray | None:
        """Numbers of the chunks or documents of each example's passages; None where they are not known."""
        if not {positive, negatives} <= set(examples.columns):
            return None
        rows = examples.select(positive, negatives).iter_rows()
        return np.array([[self._number(kind, name) for name in (first, *others[:count])] for first, others in rows], np.int64)
