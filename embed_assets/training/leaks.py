"""Nothing that is tested with is trained on, neither the same nor almost the same."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import polars as pl

from embed_assets.evaluation.evaluation_set import split_of, splits_of_pairs
from embed_assets.evaluation.settings import EvaluationSetSettings
from embed_assets.models.encoders import TextEncoder
from embed_assets.queries.pairs import OWN_WRITER, TEXT_WRITER
from embed_assets.retrieval.ranking import QUERIES_IN_A_BLOCK
from embed_assets.text.identifiers import IDENTIFIER_PATTERNS
from embed_assets.text.near_duplicates import distinguishing_terms, jaccard, normalize_query, shingles
from embed_assets.text.tokens import whole_words

LIKE_A_QUERY, LEAST_SHARED_WORDS = 0.95, 0.5
LIKE_A_DOCUMENT = 0.8
OF_TEST_DOCUMENT, OF_TEST_QUERY, ALSO_TRAINED = "of a test document", "held out to test with", "trained on in another document"
# What a split must not be like.
HELD_OUT_FROM = {"train": ("test", "dev"), "dev": ("test",)}
LEFT_OUT_SCHEMA = {"reason": pl.String, "query": pl.String, "document_id": pl.String, "split": pl.String, "like": pl.String}


def training_pairs(
    pairs: pl.DataFrame,
    chunks: pl.DataFrame,
    evaluation_queries: pl.DataFrame,
    encoder: TextEncoder,
    settings: EvaluationSetSettings,
    patterns: Sequence[str] = IDENTIFIER_PATTERNS,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The QA pairs that may be trained on, each with its split (train or dev).

    Left out is each query of which a row is

    - of a test document;
    - equal to a held-out query, but for case and punctuation: a test query, or where it would be trained on a dev query;
    - like a held-out query: the cosine is above 0.95, and the numbers and identifiers and more than half of
      the words are the same;
    - of a document of which 80% of the five-word shingles stand in one that is held out: a copy, or another version
      of the page (containment: Broder, 1997). Pages that share boilerplate alone stay.

    Test documents are held out from both splits, dev documents from train. Each place of a look-up is an answer by itself:
    its other places stay, those of the train split if there are any.

    Human labels and the user's own pairs hold out their queries but not their documents: which documents people ask about
    is what there is to learn, and the documents of a collection are known when it is searched. The user's own pairs are
    split by the query, so that one with many answers stays whole.

    Args:
        pairs: kept QA pairs; those of triplets that the user brings, with a ``split`` that is known.
        chunks: the collection's chunks; their spans are those of the pairs.
        evaluation_queries: queries of the evaluation set.
        encoder: the base model.
        settings: how documents and the user's own queries are split.
        patterns: what an identifier looks like.

    Returns:
        The pairs with a column ``split``; and the pairs that were left out, in LEFT_OUT_SCHEMA, each with its
        reason and what it is like.

    Raises:
        ValueError: there are pairs, but all are left out.
    """
    texts = dict(chunks.group_by("document_id").agg("text").iter_rows())
    splits = {name: split_of(name, settings) for name in texts}
    if "split" not in pairs.columns:
        pairs = pairs.with_columns(split=splits_of_pairs(pairs, settings))
    queries, documents, split_of_row = (pairs[name].to_list() for name in ("query", "document_id", "split"))
    writers = pairs["writer"].to_list() if "writer" in pairs.columns else [""] * len(pairs)
    reasons: list[tuple[str | None, str | None]] = [(None, None)] * len(pairs)
    for row, split in enumerate(split_of_row):
        if split == "test":
            reasons[row] = (OF_TEST_QUERY if writers[row] == OWN_WRITER else OF_TEST_DOCUMENT), documents[row]
    for split, others in HELD_OUT_FROM.items():
        rows = [row for row, name in enumerate(split_of_row) if name == split]
        held_out = evaluation_queries.filter(pl.col("split").is_in(others))["query"].to_list()
        equal = {normalize_query(query): query for query in held_out}
        like = _like_queries([queries[row] for row in rows], held_out, encoder, patterns)
        learnt = {documents[row] for row in rows if writers[row] != OWN_WRITER}
        copies = _copies(texts, learnt & texts.keys(), [name for name in texts if splits[name] in others])
        for row in rows:
            if (normal := normalize_query(queries[row])) in equal:
                reasons[row] = "equal to a held-out query", equal[normal]
            elif queries[row] in like:
                reasons[row] = "like a held-out query", like[queries[row]]
            elif documents[row] in copies and writers[row] != OWN_WRITER:
                reasons[row] = "like a held-out document", copies[documents[row]]
    table = pairs.with_columns(pl.DataFrame(reasons, schema={"reason": pl.String, "like": pl.String}, orient="row"))
    lookups = pl.Series([writer == TEXT_WRITER for writer in writers], dtype=pl.Boolean)
    also_trained = lookups & pl.col("reason").is_null() & (pl.col("split") == "train").any().over("query_id")
    table = table.with_columns(
        reason=pl.when(also_trained & (pl.col("split") == "dev")).then(pl.lit(ALSO_TRAINED)).otherwise("reason")
    )
    # Another query of several chunks is left out with all of them, for the reason of the first.
    whole = table.with_columns(
        pl.when(lookups).then(name).otherwise(pl.col(name).drop_nulls().first().over("query_id")).alias(name)
        for name in ("reason", "like")
    )
    kept = whole.filter(pl.col("reason").is_null()).drop("reason", "like")
    if kept.is_empty() and len(whole):
        counts = ", ".join(f"{count} {reason}" for reason, count in whole.group_by("reason").len().sort("reason").iter_rows())
        raise ValueError(
            f"all {len(whole)} QA pairs are left out of training ({counts}): add documents that differ from those, "
            "or lower evaluation_set.test_share"
        )
    return kept, whole.filter(pl.col("reason").is_not_null()).select(list(LEFT_OUT_SCHEMA))


def _like_queries(
    queries: Sequence[str], held_out: Sequence[str], encoder: TextEncoder, patterns: Sequence[str]
) -> dict[str, str]:
    """Those queries that are almost one that is held out → that one."""
    queries, held_out = list(dict.fromkeys(queries)), list(dict.fromkeys(held_out))
    if not queries or not held_out:
        return {}
    vectors, held_out_vectors = encoder.encode_queries(queries), encoder.encode_queries(held_out)
    words = {query: frozenset(whole_words(query)) for query in {*queries, *held_out}}
    like: dict[str, str] = {}
    for start in range(0, len(queries), QUERIES_IN_A_BLOCK):
        cosines = vectors[start : start + QUERIES_IN_A_BLOCK] @ held_out_vectors.T
        for row, column in zip(*np.nonzero(cosines > LIKE_A_QUERY), strict=True):
            query, other = queries[start + row], held_out[column]
            same_identifiers = distinguishing_terms(query, patterns) == distinguishing_terms(other, patterns)
            # Two look-ups of one identifier are close in meaning, whatever they ask about it.
            if same_identifiers and jaccard(words[query], words[other]) > LEAST_SHARED_WORDS:
                like.setdefault(query, other)
    return like


def _copies(texts: Mapping[str, Sequence[str]], names: Collection[str], held_out: Collection[str]) -> dict[str, str]:
    """Those documents whose text stands for the most part in a held-out one → that one."""
    seen = set().union(*(_shingles(texts[name]) for name in held_out))
    # Few documents consist of what stands in held-out ones; only they are compared with each of those.
    suspects = {name: found for name in names if (found := _shingles(texts[name])) and _mostly(len(found & seen), found)}
    holders: dict[int, list[str]] = defaultdict(list)
    for name, found in suspects.items():
        for shingle in found:
            holders[shingle].append(name)
    copies: dict[str, str] = {}
    for original in sorted(held_out) if suspects else ():
        shared = Counter(name for shingle in _shingles(texts[original]) for name in holders.get(shingle, ()))
        for name, count in shared.items():
            if _mostly(count, suspects[name]):
                copies.setdefault(name, original)
    return copies


def _mostly(shared: int, found: set[int]) -> bool:
    return shared >= LIKE_A_DOCUMENT * len(found)


def _shingles(texts: Sequence[str]) -> set[int]:
    return set().union(*map(shingles, texts))
