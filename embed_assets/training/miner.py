"""Which of the chunks that retrieval found are hard negatives of a pair."""

import functools
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import polars as pl

from embed_assets.models.rerankers import Reranker
from embed_assets.queries.pairs import TEXT_WRITER, source_of
from embed_assets.queries.quotes import Quoted
from embed_assets.retrieval.dense import DenseScores
from embed_assets.retrieval.hybrid import Hits
from embed_assets.text.columns import Texts
from embed_assets.text.near_duplicates import nearly_same, normalize_query, says_all_of
from embed_assets.training.false_negatives import AnswerRules
from embed_assets.training.settings import NegativesSettings

FEWEST_WORDS_LEFT = 15
# How far below the cosine of the positive, in shares of it, that of a passage may be which says the same: no others are read.
ALIKE = 0.1
# To draw from all of a million would take longer than to search in them.
CHUNKS_OF_A_DRAW = 10_000
# The rows of a query stand together, and compare the same chunks with all that answers it.
COMPARED_AT_ONCE = 100_000
# Whose chunks are named at once: to name those of all takes a gigabyte more.
ROWS_AT_ONCE = 1000
# What is left of the marks and the punctuation of a sentence that is cut out.
MARKS_BEFORE = re.compile(r"[*`_\[!]+$")
MARKS_BEHIND = re.compile(r"^[*`_]*(?:\]\([^()\n]{0,1000}\)|\]\[[^\[\]\n]{0,200}\])?[*`_]*[.!?。！？]?[*`_]*")


class Miner:
    """Chooses the negatives of pairs among the chunks that retrieval found.

    Args:
        chunks: the collection's chunks.
        rows: all pairs, each with ``target``, the number of the positive chunk; added are ``normalized``, the normalized query,
            and ``given``, the numbers of the negatives that the user gave.
        settings: how many negatives, and how they are chosen.
        reranker: the cross-encoder that tells false negatives.
        patterns: what an identifier looks like.
    """

    def __init__(
        self,
        chunks: pl.DataFrame,
        rows: Sequence[dict],
        settings: NegativesSettings,
        reranker: Reranker | None,
        patterns: Sequence[str],
    ):
        self._passages, self._ids, self._documents = chunks["passage"], chunks["chunk_id"], chunks["document_id"].to_list()
        self._texts = chunks["text"]
        self._settings, self._reranker, self._patterns = settings, reranker, patterns
        self._labelled: dict[str, set[str]] = defaultdict(set)
        self._targets: dict[str, set[int]] = defaultdict(set)
        for row in rows:
            row["normalized"] = normalize_query(row["query"])
            self._labelled[row["normalized"]].add(row["document_id"])
            self._targets[row["normalized"]].add(row["target"])
        rules = AnswerRules(Texts(self._passages), patterns)
        asked = dict.fromkeys(row["query"] for row in rows)
        self._answers = {query: rules.answers(query).astype(np.int32) for query in asked}
        self._copies: dict[str, list[int]] = {self._passages[row["target"]]: [] for row in rows}
        for column, passage in enumerate(self._passages):
            if passage in self._copies:
                self._copies[passage].append(column)
        self.counts = dict.fromkeys(
            (
                "answered by nearly every chunk",
                "drawn at random",
                "answers by their words",
                "like the positive",
                "answers by the cross-encoder",
                "given negatives that answer",
            ),
            0,
        )
        self._says_what_answers = functools.lru_cache(maxsize=COMPARED_AT_ONCE)(self._compared_with_all)
        numbers = {name: column for column, name in enumerate(self._ids)} if "negatives" in (rows[0] if rows else ()) else {}
        for row in rows:
            row["given"] = self._given(row, [numbers[name] for name in row.get("negatives") or ()])

    def _given(self, row: dict, columns: Sequence[int]) -> list[int]:
        """The negatives that the user gave, without those that are, or say the same as, a positive of the same query."""
        kept = [column for column in columns if not self._says_what_answers(column, row["normalized"])]
        self.counts["given negatives that answer"] += len(columns) - len(kept)
        return kept[: self._settings.per_query]

    def mine(self, rows: Sequence[dict], hits: Hits) -> list[list[int] | None]:
        """The negatives of a block of rows, as numbers of chunks; None for a row that nearly every chunk answers.

        Args:
            rows: pairs with ``target``, the number of the positive chunk.
            hits: what retrieval found for them.
        """
        targets, margin = np.array([[row["target"]] for row in rows]), self._settings.margin
        (of_targets, cosines), (words_of_targets, words) = (
            (run.at(targets), run.at(hits.found)) for run in (hits.cosines, hits.bm25)
        )
        allowed = (hits.found >= 0) & (cosines <= of_targets - (1 - margin) * abs(of_targets))
        allowed &= (words <= margin * words_of_targets) | (words_of_targets <= 0)
        alike = (hits.found >= 0) & ~allowed & (cosines >= of_targets - ALIKE * abs(of_targets))
        for row, found, mask in zip(rows, hits.found, alike, strict=True):
            row["alike"] = [column for column in found[mask].tolist() if self._says_what_answers(column, row["normalized"])]
        candidates = [self._candidates(row, found[mask]) for row, found, mask in zip(rows, hits.found, allowed, strict=True)]
        if self._reranker is None:
            hard = [
                [*row["given"], *islice(columns, self._settings.per_query - len(row["given"]))]
                for row, columns in zip(rows, candidates, strict=True)
            ]
        else:
            hard = self._not_answers(rows, candidates, self._reranker)
        return [self._filled_up(*row, hits.cosines, number) for number, row in enumerate(zip(rows, hard, strict=True))]

    def triplets(self, mined: Sequence[tuple[dict, list[int]]]) -> pl.DataFrame:
        """The table of rows with their negatives, as mine_hard_negatives describes it."""
        rows, negatives = [row for row, _ in mined], [columns for _, columns in mined]
        texts = {
            "query_id": [row["query_id"] for row in rows],
            "split": [row["split"] for row in rows],
            "style": [row["style"] for row in rows],
            "source": [source_of(row.get("writer", TEXT_WRITER)) for row in rows],
            "anchor": [row["query"] for row in rows],
            "positive": [self._positive(row) for row in rows],
            **{
                f"negative_{i + 1}": self._passages.gather([columns[i] for columns in negatives])
                for i in range(self._settings.per_query)
            },
            "positive_chunk": self._ids.gather([row["target"] for row in rows]),
            "positive_document": [row["document_id"] for row in rows],
        }
        lists = {
            "negative_chunks": _named(self._ids, negatives),
            "negative_documents": _named(pl.Series(self._documents), negatives),
            "answers": _named(self._ids, map(self._answers_of, rows)),
        }
        return pl.DataFrame(texts | lists, schema=dict.fromkeys(texts, pl.String) | dict.fromkeys(lists, pl.List(pl.String)))

    def _answers_of(self, row: dict) -> np.ndarray:
        copies = [*self._copies[self._passages[row["target"]]], *row.get("alike", ())]
        return np.union1d(self._answers[row["query"]], np.array(copies, dtype=np.int32))

    def _positive(self, row: dict) -> str:
        """The passage, without the sentence that is the query, if it was taken from the text and enough is left."""
        passage = self._passages[row["target"]]
        if not self._settings.cut_sentences or row["style"] != "sentence" or row.get("writer", TEXT_WRITER) != TEXT_WRITER:
            return passage
        span = Quoted(passage).find(row["query"])
        if span is None:
            return passage
        before, after = MARKS_BEFORE.sub("", passage[: span[0]]), MARKS_BEHIND.sub("", passage[span[1] :])
        rest = before + after
        return rest if len(rest.split()) >= FEWEST_WORDS_LEFT else passage

    def _candidates(self, row: dict, found: np.ndarray) -> Iterator[int]:
        taboo, answers = self._labelled[row["normalized"]], set(self._answers[row["query"]].tolist())
        taken = {self._passages[column] for column in row["given"]}
        for column in found.tolist():
            if self._documents[column] in taboo or self._passages[column] in taken:
                continue
            if column in answers:
                self.counts["answers by their words"] += 1
                continue
            if self._says_what_answers(column, row["normalized"]):
                self.counts["like the positive"] += 1
                row["alike"].append(column)
                continue
            taken.add(self._passages[column])  # no copy of it: it would count twice
            yield column

    def _compared_with_all(self, column: int, query: str) -> bool:
        """Whether a chunk says the same as any positive of a normalized query: a copy of one is no negative of another one."""
        return any(self._say_the_same(column, target) for target in self._targets[query])

    def _say_the_same(self, column: int, target: int) -> bool:
        """Whether a chunk says what the positive says: with about the same words, or as a part of the one or the other."""
        passage, positive = self._passages[column], self._passages[target]
        text, other = self._texts[column], self._texts[target]
        if text == other:
            return True
        patterns = self._patterns
        return (
            nearly_same(passage, positive, patterns)
            or says_all_of(passage, other, patterns)
            or says_all_of(positive, text, patterns)
        )

    def _not_answers(self, rows: Sequence[dict], candidates: Sequence[Iterator[int]], reranker: Reranker) -> list[list[int]]:
        """The first candidates of each row that the cross-encoder does not take for answers; it reads no more than it must."""

        def relevance(pairs: list[tuple[int, int]]) -> np.ndarray:
            logits = reranker.score([(rows[i]["query"], self._passages[column]) for i, column in pairs])
            return 1 / (1 + np.exp(-logits.astype(np.float64)))

        limits = self._settings.margin * relevance([(i, row["target"]) for i, row in enumerate(rows)])
        hard: list[list[int]] = [list(row["given"]) for row in rows]
        asked = [
            (i, column)
            for i, columns in enumerate(candidates)
            for column in islice(columns, self._settings.per_query - len(rows[i]["given"]))
        ]
        while asked:
            refused: Counter[int] = Counter()
            for (i, column), score in zip(asked, relevance(asked), strict=True):
                if score <= limits[i]:
                    hard[i].append(column)
                else:
                    refused[i] += 1
            self.counts["answers by the cross-encoder"] += refused.total()
            asked = [(i, column) for i, count in refused.items() for column in islice(candidates[i], count)]
        return hard

    def _drawn(self, row: dict, cosines: DenseScores, number: int) -> Iterator[int]:
        """All chunks in random order, the less similar half first; in a large corpus a draw of them before all others."""
        chunks = len(self._documents)
        generator = np.random.default_rng(random.Random(row["query_id"]).getrandbits(64))
        order = generator.permutation(chunks) if chunks <= CHUNKS_OF_A_DRAW else generator.choice(chunks, CHUNKS_OF_A_DRAW, False)
        scores = cosines.row(number, order)
        similar = scores > np.median(scores)
        yield from np.concatenate([order[~similar], order[similar]]).tolist()
        if len(order) < chunks:
            yield from np.setdiff1d(generator.permutation(chunks), order, assume_unique=True).tolist()

    def _filled_up(self, row: dict, hard: list[int], cosines: DenseScores, number: int) -> list[int] | None:
        """Random chunks beside the hard negatives that were found, from the less similar half if there are enough.

        Args:
            row, hard: the pair, and what was found for it.
            cosines: of the block of queries to any chunks.
            number: of the query in its block.
        """
        missing = self._settings.per_query - len(hard)
        if not missing:
            return hard
        taboo = self._labelled[row["normalized"]]
        answers, taken = set(self._answers[row["query"]].tolist()), {self._passages[column] for column in hard}
        usable = (
            column
            for column in self._drawn(row, cosines, number)
            if self._documents[column] not in taboo
            and column not in answers
            and self._passages[column] not in taken
            and not self._says_what_answers(column, row["normalized"])
        )
        easy = list(islice(usable, missing))
        there = len(hard) + len(easy)
        if len(easy) == missing:
            self.counts["drawn at random"] += missing
            return hard + easy
        # What answers it is the reason, and not a collection that is too small for all.
        if len(taboo) > 1 or any(self._documents[column] not in taboo for column in answers):
            self.counts["answered by nearly every chunk"] += 1
            return None
        remedy = f"set negatives.per_query to at most {there}" if there else "add documents"
        raise ValueError(f"the collection has {there} chunks that can be negatives of {row['query']!r}: {remedy}")


def _named(names: pl.Series, columns: Iterable[Sequence[int] | np.ndarray]) -> pl.Series:
    """The names of several chunks for each row. In a large corpus a query may have thousands of answers: no Python strings."""
    import pyarrow as pa

    rest, named = iter(columns), [pl.Series(dtype=pl.List(pl.String))]
    while rows := list(islice(rest, ROWS_AT_ONCE)):
        ends = np.cumsum([0, *map(len, rows)])
        # Views of the names: copies would take three times the memory.
        flat = names.gather(np.concatenate(rows).astype(np.int32)).to_arrow(compat_level=pl.CompatLevel.newest())
        named.append(pl.Series(pa.LargeListArray.from_arrays(pa.array(ends, pa.int64()), flat)))
    return pl.concat(named)
