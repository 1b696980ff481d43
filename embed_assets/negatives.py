"""Triplets: a query, the chunk that answers it, and hard negatives."""

import random
import re
from collections import Counter, defaultdict

import numpy as np
import polars as pl

from embed_assets.chunking import SpanIndex
from embed_assets.evaluation_set import split_of
from embed_assets.models.encoders import Encoder
from embed_assets.pairs import normalize_query
from embed_assets.progress import track
from embed_assets.retrieval import HybridRetriever
from embed_assets.settings import EvaluationSetSettings, NegativesSettings

FEWEST_WORDS_LEFT = 15


def training_pairs(
    pairs: pl.DataFrame, evaluation_queries: pl.DataFrame, settings: EvaluationSetSettings
) -> tuple[pl.DataFrame, dict[str, int]]:
    """The QA pairs that may be trained on, each with its split (train or dev).

    Pairs of the test documents are left out, also those of a query that other documents answer together with a
    test document, and so is every pair whose query is, but for case and punctuation, a test query.

    Args:
        pairs: kept QA pairs.
        evaluation_queries: queries of the evaluation set.
        settings: how documents are split.

    Returns:
        The pairs with a column ``split``, and how many were left out for which reason.
    """
    normal = pl.col("query").map_elements(normalize_query, return_dtype=pl.String)
    tested = set(evaluation_queries.filter(pl.col("split") == "test").select(normal).to_series())
    pairs = pairs.with_columns(
        split=pl.col("document_id").map_elements(lambda name: split_of(name, settings), return_dtype=pl.String),
        leaks=normal.is_in(list(tested)),
    )
    held_out = (pl.col("split") == "test").any().over("query_id")
    left_out = {
        "of test documents": pairs.filter(held_out).height,
        "equal to a test query": pairs.filter(~held_out & pl.col("leaks")).height,
    }
    return pairs.filter(~held_out & ~pl.col("leaks")).drop("leaks"), left_out


def mine_hard_negatives(
    pairs: pl.DataFrame, chunks: pl.DataFrame, encoder: Encoder, settings: NegativesSettings
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Find hard negatives by hybrid retrieval (BM25 and the encoder).

    A negative is never a chunk of a document that the same query is labelled with, never has the text of
    the positive, and its cosine is at most ``margin`` times that of the positive (TopK-PercPos of
    NV-Retriever, arXiv:2407.15831). Where too few are left, random chunks of other documents fill up.

    Args:
        pairs: QA pairs with ``query``, ``document_id``, ``start``, ``end`` and ``split``.
        chunks: the collection's chunks.
        encoder: the base model.
        settings: how many negatives, and how they are chosen.

    Returns:
        One row for each pair: ``query_id``, ``split``, ``style``, ``anchor``, ``positive`` and
        ``negative_1`` … ``negative_n`` (passages), ``positive_chunk`` and ``negative_chunks`` (ids); and
        counts: pairs whose span is in no chunk, negatives drawn at random.

    Raises:
        ValueError: there is no pair, or the collection has too few documents to take negatives from.
    """
    if pairs.is_empty():
        raise ValueError("no QA pair is left to train on: add documents, or raise the numbers in the settings block 'questions'")
    if chunks["document_id"].n_unique() < 2:
        raise ValueError("hard negatives come from other documents: the collection needs at least two")
    passages, documents, ids = (chunks[name].to_list() for name in ("passage", "document_id", "chunk_id"))
    spans = SpanIndex(chunks)
    rows = [row | {"target": spans.best(row["document_id"], row["start"], row["end"])} for row in pairs.iter_rows(named=True)]
    rows = [row for row in rows if row["target"] is not None]
    labelled: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        labelled[normalize_query(row["query"])].add(row["document_id"])
    counts = Counter({"span in no chunk": len(pairs) - len(rows), "drawn at random": 0})
    names = [f"negative_{i + 1}" for i in range(settings.per_query)]
    retriever = HybridRetriever(encoder, passages, depth=max(100, settings.top_k))
    triplets = []
    queries = [row["query"] for row in rows]
    for number, candidates, cosines in track(
        retriever.search(queries, settings.top_k), "mining hard negatives", total=len(queries)
    ):
        row = rows[number]
        target, taboo = row["target"], labelled[normalize_query(row["query"])]
        limit = cosines[target] - (1 - settings.margin) * abs(cosines[target])
        hard = [
            column
            for column in candidates.tolist()
            if documents[column] not in taboo and cosines[column] <= limit and passages[column] != passages[target]
        ][: settings.per_query]
        missing = settings.per_query - len(hard)
        counts["drawn at random"] += missing
        if missing:
            excluded = {passages[target], *(passages[column] for column in hard)}
            others = [
                i
                for i in np.argsort(cosines, kind="stable").tolist()
                if documents[i] not in taboo and passages[i] not in excluded
            ]
            hard += _random_chunks(others, missing, row["query_id"])
        triplets.append(
            {
                "query_id": row["query_id"],
                "split": row["split"],
                "style": row["style"],
                "anchor": row["query"],
                "positive": _without(passages[target], row) if settings.cut_sentences else passages[target],
                **dict(zip(names, (passages[column] for column in hard), strict=True)),
                "positive_chunk": ids[target],
                "negative_chunks": [ids[column] for column in hard],
            }
        )
    schema = dict.fromkeys(("query_id", "split", "style", "anchor", "positive", *names, "positive_chunk"), pl.String)
    return pl.DataFrame(triplets, schema=schema | {"negative_chunks": pl.List(pl.String)}), dict(counts)


def _without(passage: str, pair: dict) -> str:
    """The passage without the sentence that is the query, if enough is left of it."""
    if pair["style"] != "sentence":
        return passage
    sentence = r"[\s#*`|>]+".join(re.escape(word) for word in pair["query"].split())
    rest = re.sub(sentence, "", passage, count=1)
    return rest if len(rest.split()) >= FEWEST_WORDS_LEFT else passage


def _random_chunks(candidates: list[int], count: int, salt: str) -> list[int]:
    """Easy negatives: drawn from the less similar half of the candidates, which are sorted by similarity."""
    if len(candidates) < count:
        raise ValueError(f"the collection has {len(candidates)} chunks that can be negatives: lower negatives.per_query")
    return random.Random(salt).sample(candidates[: max(count, len(candidates) // 2)], count)
