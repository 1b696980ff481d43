"""What makes a query unusable: rules, repetitions, retrieval that does not find its chunk, and judges."""

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate

import numpy as np
import polars as pl

from embed_assets.corpus.spans import language_of
from embed_assets.models.encoders import Encoder
from embed_assets.queries.pairs import NEIGHBOUR
from embed_assets.queries.passage_talk import speaks_of_its_task, speaks_of_the_passage
from embed_assets.queries.settings import QuestionsSettings
from embed_assets.retrieval.fusion import DEPTH
from embed_assets.retrieval.hybrid import HybridRetriever
from embed_assets.retrieval.ranking import QUERIES_IN_A_BLOCK
from embed_assets.text.columns import Texts
from embed_assets.text.identifiers import find_identifiers, holds_identifier
from embed_assets.text.languages import ENGLISH, differs_in_language
from embed_assets.text.near_duplicates import distinguishing_terms, normalize_queries, normalize_query
from embed_assets.text.tokens import share_of_a_word, sum_of_words, words

SYMBOLS = "-%$@/#+."
LOOP = 6  # words, of which a third or less are different ones, are what a model says that cannot stop


class QuestionRules:
    """Rules for written questions that need no model.

    Args:
        settings: lengths and limits.
    """

    def __init__(self, settings: QuestionsSettings):
        self._settings = settings

    def refuse(self, query: str, passages: Sequence[str], examples: Collection[str] = (), language: str = ENGLISH) -> str | None:
        """Why a written question cannot be used, or None.

        Args:
            query: the question.
            passages: what it was written about.
            examples: normalized questions of the prompt.
            language: ISO 639-1 code of the language that was asked for.
        """
        settings = self._settings
        found = _bare_words(query)
        normal, length = " ".join(found), sum_of_words(found)
        if not found:
            return "empty"
        if length < settings.min_words:
            return f"fewer than {settings.min_words} words"
        if length > settings.max_words:
            return f"more than {settings.max_words} words"
        if length >= LOOP and len(set(found)) * 3 <= len(found):
            return "repeats itself"
        if normalize_query(query) in examples:
            return "copy of an example"
        texts = [" ".join(_bare_words(passage)) for passage in passages]
        if any(normal in text for text in texts):
            return "copy of the passage"
        if speaks_of_the_passage(query):
            return "speaks of the passage"
        if speaks_of_its_task(query):
            return "speaks of the task"
        if any(run in text for run in _runs(found, settings.max_copied_words) for text in texts):
            return f"copies more than {settings.max_copied_words} words"
        if settings.known_identifiers:
            shown = "\n".join(passages)
            for identifier in find_identifiers(query, settings.identifiers.all_patterns):
                if not holds_identifier(shown, identifier):
                    return "unknown identifier"
        if settings.same_language and differs_in_language(query, language, length):
            return "another language"
        return None


def _bare_words(text: str) -> list[str]:
    """The words without the symbols about them: a copy of "the --force flag" is one without the dashes too."""
    return [word.strip(SYMBOLS) or word for word in words(text)]


def _runs(found: Sequence[str], longest: int) -> Iterator[str]:
    """Each run of words that is just longer than so many words, normalized."""
    ends = list(accumulate(map(share_of_a_word, found)))
    for start, end in enumerate(ends):
        before = end - share_of_a_word(found[start])
        if (last := bisect_right(ends, before + longest)) < len(ends):
            yield " ".join(found[start : last + 1])


def filter_pairs(
    pairs: pl.DataFrame, chunks: pl.DataFrame, encoder: Encoder, settings: QuestionsSettings, held_out: Collection[str] = ()
) -> pl.DataFrame:
    """Drop repeated queries, those whose chunk hybrid retrieval does not find, and near-duplicates.

    What the base model and BM25 do not find stays where it is about held-out documents: a test without the queries on
    which they fail could show no gain over them. A query that was taken from or written about several places is one
    query with a row for each of them.

    Args:
        pairs: in PAIR_SCHEMA; the spans are those of chunks.
        chunks: the collection's chunks.
        encoder: the base model.
        settings: how far down the chunk may stand, and how similar two queries may be.
        held_out: documents whose queries are for dev and test.

    Returns:
        The pairs with the reason of each drop, and two columns: ``rank``, the place of the chunk counted from 1
        (null beyond the first 100 and the first ``round_trip_top_k``, or where it was not asked for), and ``similarity``,
        the cosine of a near-duplicate to the query that was kept.
    """
    pairs = _drop_repeated(pairs).with_columns(rank=pl.lit(None, pl.Int64), similarity=pl.lit(None, pl.Float64))
    if settings.round_trip_top_k:
        pairs = _drop_lost(pairs, chunks, encoder, settings.round_trip_top_k, held_out)
    pairs = _join_places(pairs)
    if settings.max_similarity < 1:
        pairs = _drop_near_duplicates(pairs, encoder, settings)
    return pairs


def drop_refused(pairs: pl.DataFrame, refused: Collection[str]) -> pl.DataFrame:
    """Drop the queries that people refused, before they keep out others that say the same.

    Args:
        pairs: in PAIR_SCHEMA.
        refused: normalized queries.
    """
    normal = normalize_queries(pairs["query"])
    rows = pairs.with_row_index("row").filter(normal.is_in(list(refused)) & pairs["dropped"].is_null())["row"]
    return _drop(pairs, rows.to_list(), "refused by a person")


def _drop_repeated(pairs: pl.DataFrame) -> pl.DataFrame:
    usable = pairs.with_row_index("row").filter(pl.col("dropped").is_null())
    key = usable.select(pl.struct(normalize_queries(usable["query"]), "document_id", "start")).to_series()
    repeated = usable["row"].filter(~key.is_first_distinct())
    return _drop(pairs, repeated.to_list(), "repeated")


def _drop_lost(
    pairs: pl.DataFrame, chunks: pl.DataFrame, encoder: Encoder, top_k: int, held_out: Collection[str]
) -> pl.DataFrame:
    spans = {span: row for row, span in enumerate(chunks.select("document_id", "start", "end").iter_rows())}
    usable = pairs.with_row_index("row").filter(pl.col("dropped").is_null())
    if usable.is_empty():
        return pairs
    targets = [spans[span] for span in usable.select("document_id", "start", "end").iter_rows()]
    retriever = HybridRetriever(encoder, Texts(chunks["passage"]), language=language_of(chunks), compute=encoder.compute)
    ranks = retriever.ranks(usable["query"].to_list(), targets, max(DEPTH, top_k))
    rank_of_row = dict(zip(usable["row"].to_list(), ranks, strict=True))
    lost_ids = {pairs["query_id"][row] for row, rank in rank_of_row.items() if rank is None or rank > top_k}
    # A query of which one answer can be trained on is none to test with.
    lost_ids &= set(pairs.filter(~pl.col("document_id").is_in(list(held_out)))["query_id"])
    # A query that several chunks answer is lost as a whole: without one of them it is another query.
    lost = [row for row in rank_of_row if pairs["query_id"][row] in lost_ids]
    rank = pl.Series("rank", [rank_of_row.get(row) for row in range(len(pairs))], dtype=pl.Int64)
    return _drop(pairs.with_columns(rank), lost, f"not in the first {top_k}")


def _join_places(pairs: pl.DataFrame) -> pl.DataFrame:
    """Give usable queries that are the same but for case and punctuation one id, text and style: all their places are labels."""
    rows = pairs.select("query", "query_id", "style", "dropped").rows(named=True)
    first: dict[tuple[str, bool], dict] = {}
    # A sentence of a neighbour stands elsewhere: its places are no labels of the same sentence as a look-up.
    keys = [(normalize_query(row["query"]), row["style"] == NEIGHBOUR) for row in rows]
    joined = [row if row["dropped"] else first.setdefault(key, row) for key, row in zip(keys, rows, strict=True)]
    columns = ("query", "query_id", "style")
    return pairs.with_columns(pl.Series(name, [row[name] for row in joined], pl.String) for name in columns)


def _drop_near_duplicates(pairs: pl.DataFrame, encoder: Encoder, settings: QuestionsSettings) -> pl.DataFrame:
    """Drop queries that say the same as an earlier one, whatever chunk they were made from."""
    usable = pairs.with_row_index("row").filter(pl.col("dropped").is_null()).unique("query_id", keep="first", maintain_order=True)
    if usable.is_empty():
        return pairs
    queries = usable["query"].to_list()
    vectors = encoder.encode_queries(queries)
    names = [distinguishing_terms(query, settings.identifiers.all_patterns) for query in queries]
    duplicate_of: dict[int, float] = {}
    for start in range(0, len(queries), QUERIES_IN_A_BLOCK):
        block = vectors[start : start + QUERIES_IN_A_BLOCK] @ vectors[: start + QUERIES_IN_A_BLOCK].T
        for i, j in zip(*np.nonzero(block > settings.max_similarity), strict=True):
            later, earlier = start + int(i), int(j)
            if earlier < later and earlier not in duplicate_of and names[earlier] == names[later]:
                duplicate_of[later] = max(float(block[i, j]), duplicate_of.get(later, 0.0))
    similarity_of = {usable["query_id"][i]: similarity for i, similarity in duplicate_of.items()}
    similarity = pairs["query_id"].replace_strict(similarity_of, default=None, return_dtype=pl.Float64)
    dropped = pl.when(pl.col("dropped").is_null() & similarity.is_not_null()).then(pl.lit("near-duplicate"))
    return pairs.with_columns(similarity.alias("similarity"), dropped=dropped.otherwise(pl.col("dropped")))


def _drop(pairs: pl.DataFrame, rows: Collection[int], reason: str) -> pl.DataFrame:
    marked = pl.int_range(pl.len()).is_in(list(rows))
    return pairs.with_columns(dropped=pl.when(marked).then(pl.lit(reason)).otherwise(pl.col("dropped")))
