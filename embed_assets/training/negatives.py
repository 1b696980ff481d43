"""Triplets: a query, the chunk that answers it, and hard negatives."""

import logging
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from embed_assets.artifacts.blocks import AUTO
from embed_assets.corpus.spans import SpanIndex, language_of
from embed_assets.models.encoders import Encoder, TextEncoder
from embed_assets.models.hardware import Compute
from embed_assets.models.rerankers import Reranker
from embed_assets.models.settings import BaseModelSettings
from embed_assets.progress import track
from embed_assets.retrieval.hybrid import HybridRetriever
from embed_assets.retrieval.ranking import QUERIES_IN_A_BLOCK
from embed_assets.text.columns import Texts
from embed_assets.text.identifiers import IDENTIFIER_PATTERNS
from embed_assets.training.fine_tuning import fine_tune
from embed_assets.training.miner import Miner
from embed_assets.training.settings import NegativesSettings
from embed_assets.training.task import TrainingTask

logger = logging.getLogger(__name__)


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
    how = (settings, reranker, patterns, compute)
    mined = mine_hard_negatives(pairs, chunks, Encoder(base_model, memos, compute=compute), *how)
    if not settings.second_round:
        return mined
    logger.info("fine-tuning a draft on the negatives of the first round")
    # Merged with the base model, it would make fewer mistakes of its own, and those are what is looked for.
    draft = settings.draft if settings.draft.merge != AUTO else settings.draft.model_copy(update={"merge": 1.0})
    fine_tune(TrainingTask(mined[0], scratch / "draft", scratch, base_model, draft, compute))
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
    compute: Compute | None = None,
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Find hard negatives by hybrid retrieval (BM25 and the encoder).

    A negative is never a chunk of a document that the same query is labelled with, never answers the query by its words
    (false_negatives.AnswerRules), and never says the same as a positive of it, or a part of that, or all of it and more
    (near_duplicates). Its cosine is at most ``margin`` times that of the positive (TopK-PercPos of NV-Retriever,
    arXiv:2407.15831). So is its BM25 score, where the positive has one: encoders are weak on rare words. So is its
    probability of relevance, if a cross-encoder gives one (as in RocketQA, arXiv:2010.08191). Where too few are left, random
    chunks of other documents fill up.

    Args:
        pairs: QA pairs with ``query``, ``document_id``, ``start``, ``end`` and ``split``; with ``negatives``, ids of chunks
            that are negatives of a pair already, only what is missing is mined.
        chunks: the collection's chunks.
        encoder: the base model, or a version of it.
        settings: how many negatives, and how they are chosen.
        reranker: the cross-encoder that tells false negatives.
        patterns: what an identifier looks like.
        compute: as of HybridRetriever.

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
    miner = Miner(chunks, rows, settings, reranker, patterns)
    negatives: list[list[int] | None] = [row["given"] for row in rows]
    incomplete = [number for number, row in enumerate(rows) if len(row["given"]) < settings.per_query]
    if incomplete:
        asked = [rows[number] for number in incomplete]
        retriever = HybridRetriever(encoder, Texts(chunks["passage"]), language_of(chunks), compute=compute)
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
            f"nearly every chunk answers each of the {len(rows)} queries, by words or labels: "
            "add documents on other matters, or lower negatives.per_query"
        )
    return triplets, {"span in no chunk": len(pairs) - len(rows)} | miner.counts


def _with_targets(pairs: pl.DataFrame, chunks: pl.DataFrame) -> list[dict]:
    spans = SpanIndex(chunks)
    rows = [row | {"target": spans.best(row["document_id"], row["start"], row["end"])} for row in pairs.iter_rows(named=True)]
    return [row for row in rows if row["target"] is not None]
