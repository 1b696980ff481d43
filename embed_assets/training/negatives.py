"""Triplets: a query, the chunk that answers it, and hard negatives."""

import logging
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl

from embed_assets.artifacts.blocks import AUTO
from embed_assets.cluster.ray_cluster import Cluster
from embed_assets.corpus.spans import SpanIndex, language_of
from embed_assets.models.encoders import Encoder, TextEncoder
from embed_assets.models.hardware import Compute
from embed_assets.models.rerankers import Reranker
from embed_assets.models.settings import BaseModelSettings
from embed_assets.progress import track
from embed_assets.queries.pairs import TEXT_WRITER, source_of
from embed_assets.queries.quotes import Quoted
from embed_assets.retrieval.dense import DenseScores
from embed_assets.retrieval.hybrid import Hits, HybridRetriever
from embed_assets.retrieval.ranking import QUERIES_IN_A_BLOCK
from embed_assets.text.columns import Texts
from embed_assets.text.identifiers import IDENTIFIER_PATTERNS
from embed_assets.text.near_duplicates import nearly_same, normalize_query
from embed_assets.training.false_negatives import AnswerRules
from embed_assets.training.fine_tuning import fine_tune
from embed_assets.training.settings import NegativesSettings

logger = logging.getLogger(__name__)
FEWEST_WORDS_LEFT = 15
# To draw from all of a million would take longer than to search in them.
CHUNKS_OF_A_DRAW = 10_000


def mine_triplets(
    pairs: pl.DataFrame,
    chunks: pl.DataFrame,
    base_model: BaseModelSettings,
    settings: NegativesSettings,
    memos: Path,
    scratch: Path,
    compute: Compute = Compute(),
    patterns: Sequence[str] = IDENTIFIER_PATTERNS,
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Mine hard negatives with the base model and, if the settings say so, once more with a draft fine-tuned on them.

    What a fine-tuned model still takes for the answer is a harder negative (ANCE, arXiv:2007.00808).

    Args:
        pairs: as in mine_hard_negatives.
        chunks: as in mine_hard_negatives.
        base_model: the model that will be fine-tuned.
        settings: how to mine.
        memos: folder of the embeddings and of the cross-encoder's scores.
        scratch: where the draft is kept; a run that was interrupted goes on from there.
        compute: device, dtype and batch size.
        patterns: what an identifier looks like.

    Returns:
        As mine_hard_negatives.
    """
    reranker = None
    if settings.cross_encoder:
        reranker = Reranker(
            settings.cross_encoder,
            memos,
            compute,
            settings.cross_encoder_tokens,
            settings.trust_remote_code,
            settings.cross_encoder_revision,
        )
    how = (settings, reranker, patterns, compute.cluster)
    mined = mine_hard_negatives(pairs, chunks, Encoder(base_model, memos, compute=compute), *how)
    if not settings.second_round:
        return mined
    logger.info("fine-tuning a draft on the negatives of the first round")
    # Merged with the base model, it would make fewer mistakes of its own, and those are what is looked for.
    draft = settings.draft if settings.draft.merge != AUTO else settings.draft.model_copy(update={"merge": 1.0})
    fine_tune(mined[0], scratch / "draft", scratch, base_model, draft, compute)
    # Nobody asks for the draft's embeddings again: they go with the scratch folder.
    encoder = Encoder(base_model, scratch / "memos", str(scratch / "draft"), compute)
    return mine_hard_negatives(pairs, chunks, encoder, *how)


def mine_hard_negatives(
    pairs: pl.DataFrame,
    chunks: pl.DataFrame,
    encoder: TextEncoder,
    settings: NegativesSettings,
    reranker: Reranker | None = None,
    patterns: Sequence[str] = IDENTIFIER_PATTERNS,
    cluster: Cluster | None = None,
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Find hard negatives by hybrid retrieval (BM25 and the encoder).

    A negative is never a chunk of a document that the same query is labelled with, never answers the query by its words
    (answers.AnswerRules), and never says the same as the positive (near_duplicates.nearly_same). Its cosine is at most
    ``margin`` times that of the positive (TopK-PercPos of NV-Retriever, arXiv:2407.15831). So is its BM25 score, where the
    positive has one: encoders are weak on rare words. So is its probability of relevance, if a cross-encoder gives one (as
    in RocketQA, arXiv:2010.08191). Where too few are left, random chunks of other documents fill up.

    Args:
        pairs: QA pairs with ``query``, ``document_id``, ``start``, ``end`` and ``split``; with ``negatives``, ids of chunks
            that are negatives of a pair already, only what is missing is mined.
        chunks: the collection's chunks.
        encoder: the base model, or a version of it.
        settings: how many negatives, and how they are chosen.
        reranker: the cross-encoder that tells false negatives.
        patterns: what an identifier looks like.
        cluster: as of HybridRetriever.

    Returns:
        One row for each pair: ``query_id``, ``split``, ``style``, ``source``, ``anchor``, ``positive`` and
        ``negative_1`` … ``negative_n`` (passages), ``positive_chunk``, ``positive_document``, ``negative_chunks`` and
        ``negative_documents`` (ids), and ``answers`` (ids of the chunks that answer the query by its words, or say what
        the positive says); and counts: pairs whose span is in no chunk, pairs that nearly every chunk answers, which are
        left out, negatives drawn at random, candidates that answer the query by its words, candidates that say the same
        as the positive, candidates that the cross-encoder took for answers, and given negatives that answer the query.

    Raises:
        ValueError: there is no pair, or the collection has too few documents to take negatives from.
    """
    if pairs.is_empty():
        raise ValueError("no QA pair is left to train on: add documents, or raise the numbers in the settings block 'questions'")
    if chunks["document_id"].n_unique() < 2:
        raise ValueError("hard negatives come from other documents: the collection needs at least two")
    rows = _with_targets(pairs, chunks)
    miner = _Miner(chunks, rows, settings, reranker, patterns)
    negatives: list[list[int] | None] = [row["given"] for row in rows]
    incomplete = [number for number, row in enumerate(rows) if len(row["given"]) < settings.per_query]
    if incomplete:
        asked = [rows[number] for number in incomplete]
        retriever = HybridRetriever(
            encoder, Texts(chunks["passage"]), max(100, settings.top_k), language_of(chunks), cluster=cluster
        )
        blocks = retriever.search([row["query"] for row in asked], settings.top_k)
        for hits in track(blocks, "mining hard negatives, in blocks", total=-(-len(asked) // QUERIES_IN_A_BLOCK)):
            mined = miner.mine(asked[hits.start : hits.start + len(hits.found)], hits)
            for number, columns in zip(incomplete[hits.start : hits.start + len(hits.found)], mined, strict=True):
                negatives[number] = columns
        # The vectors of all passages are not needed beside the texts of all triplets.
        del retriever, blocks, hits
    triplets = miner.triplets([(row, columns) for row, columns in zip(rows, negatives, strict=True) if columns is not None])
    if triplets.is_empty():
        raise ValueError(
            f"nearly every chunk answers each of the {len(rows)} queries by its words: add documents on other matters"
        )
    return triplets, {"span in no chunk": len(pairs) - len(rows)} | miner.counts


def _with_targets(pairs: pl.DataFrame, chunks: pl.DataFrame) -> list[dict]:
    spans = SpanIndex(chunks)
    rows = [row | {"target": spans.best(row["document_id"], row["start"], row["end"])} for row in pairs.iter_rows(named=True)]
    return [row for row in rows if row["target"] is not None]


# What is left of the marks and the punctuation of a sentence that is cut out.
MARKS_BEFORE = re.compile(r"[*`_\[!]+$")
MARKS_BEHIND = re.compile(r"^[*`_]*(?:\]\([^()\n]{0,1000}\)|\]\[[^\[\]\n]{0,200}\])?[*`_]*[.!?。！？]?[*`_]*")


class _Miner:
    """Chooses among the chunks that retrieval found."""

    def __init__(
        self,
        chunks: pl.DataFrame,
        rows: Sequence[dict],
        settings: NegativesSettings,
        reranker: Reranker | None,
        patterns: Sequence[str],
    ):
        self._passages, self._ids, self._documents = chunks["passage"], chunks["chunk_id"], chunks["document_id"].to_list()
        self._settings, self._reranker = settings, reranker
        self._labelled: dict[str, set[str]] = defaultdict(set)
        for row in rows:
            self._labelled[normalize_query(row["query"])].add(row["document_id"])
        rules = AnswerRules(Texts(self._passages), patterns)
        self._answers = {query: rules.answers(query) for query in dict.fromkeys(row["query"] for row in rows)}
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
        targets: dict[str, set[int]] = defaultdict(set)
        for row in rows:
            targets[normalize_query(row["query"])].add(row["target"])
        numbers = {name: column for column, name in enumerate(self._ids)} if "negatives" in (rows[0] if rows else ()) else {}
        for row in rows:
            row["given"] = self._given(row, [numbers[name] for name in row.get("negatives") or ()], targets)

    def _given(self, row: dict, columns: Sequence[int], targets: Mapping[str, Set[int]]) -> list[int]:
        """The negatives that the user gave, without those that are, or say the same as, a positive of the same query."""
        positives = [self._passages[column] for column in targets[normalize_query(row["query"])]]
        kept = [column for column in columns if not any(nearly_same(self._passages[column], it) for it in positives)]
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
            "negative_chunks": [[self._ids[column] for column in columns] for columns in negatives],
            "negative_documents": [[self._documents[column] for column in columns] for columns in negatives],
            "answers": [[self._ids[column] for column in self._answers_of(row)] for row in rows],
        }
        return pl.DataFrame(texts | lists, schema=dict.fromkeys(texts, pl.String) | dict.fromkeys(lists, pl.List(pl.String)))

    def _answers_of(self, row: dict) -> list[int]:
        return sorted({*self._answers[row["query"]].tolist(), *self._copies[self._passages[row["target"]]]})

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
        target, taboo = row["target"], self._labelled[normalize_query(row["query"])]
        answers = set(self._answers[row["query"]].tolist())
        for column in found.tolist():
            if self._documents[column] in taboo or column in row["given"]:
                continue
            if column in answers:
                self.counts["answers by their words"] += 1
                continue
            if nearly_same(self._passages[column], self._passages[target]):
                self.counts["like the positive"] += 1
                continue
            yield column

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
        positive, taboo = self._passages[row["target"]], self._labelled[normalize_query(row["query"])]
        answers, taken = set(self._answers[row["query"]].tolist()), {self._passages[column] for column in hard}
        usable = (
            column
            for column in self._drawn(row, cosines, number)
            if self._documents[column] not in taboo
            and column not in answers
            and self._passages[column] not in taken
            and not nearly_same(self._passages[column], positive)
        )
        easy = list(islice(usable, missing))
        there = len(hard) + len(easy)
        if len(easy) == missing:
            self.counts["drawn at random"] += missing
            return hard + easy
        if any(self._documents[column] not in taboo for column in answers):
            self.counts["answered by nearly every chunk"] += 1
            return None
        remedy = f"set negatives.per_query to at most {there}" if there else "add documents"
        raise ValueError(f"the collection has {there} chunks that can be negatives of {row['query']!r}: {remedy}")
