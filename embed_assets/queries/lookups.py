"""Look-ups: queries taken from the text of the chunks, which teach the rare tokens and cost nothing."""

import hashlib
import random
import re
from collections import Counter
from collections.abc import Sequence

import polars as pl

from embed_assets.corpus.spans import language_of
from embed_assets.progress import track
from embed_assets.queries.pairs import NEIGHBOUR, PAIR_SCHEMA, TEXT_WRITER, make_pairs
from embed_assets.queries.settings import QuestionsSettings
from embed_assets.text import tokens
from embed_assets.text.identifiers import find_identifiers
from embed_assets.text.languages import words_without_meaning

# Marks of Markdown; that of C# is none.
MARKS = re.compile(r"(?<!\w)#+|[*`|>]+")
SHORTEST_SENTENCE, LONGEST_SENTENCE = 6, 40  # in words


def take_lookups(chunks: pl.DataFrame, settings: QuestionsSettings) -> pl.DataFrame:
    """Take look-ups from the text of the chunks: identifiers, keywords, sentences, neighbours and titles.

    The query of a neighbour is a sentence of another chunk of the same document (independent cropping, as in
    Contriever, arXiv:2112.09118). It is good to train on but not to test with, since its own chunk answers it too.

    Args:
        chunks: the collection's chunks.
        settings: how many of each for a chunk, and what an identifier looks like.

    Returns:
        Pairs in PAIR_SCHEMA.
    """
    passages = chunks["passage"].to_list()
    rows = chunks.select("text", "passage", "document_id", "start", "end").rows(named=True)
    language = language_of(chunks)
    keywords = _keywords(passages, language)
    identifiers = [find_identifiers(row["text"], settings.all_identifier_patterns) for row in rows]
    frequency = Counter(identifier for found in identifiers for identifier in found)
    document_rows: dict[str, list[int]] = {}
    for row, chunk in enumerate(rows):
        document_rows.setdefault(chunk["document_id"], []).append(row)
    pairs = []
    for row in track(spread_over_documents(chunks, f"{settings.seed} look-ups"), "taking look-ups"):
        draw = random.Random(f"{settings.seed} {passages[row]}")
        others = [other for other in document_rows[rows[row]["document_id"]] if other != row]
        neighbour = rows[draw.choice(others)]["text"] if others else ""
        for style, queries in {
            "identifier": _identifier_queries(identifiers[row], frequency, keywords[row], draw, settings.identifiers_per_chunk),
            "keyword": _keyword_queries(keywords[row], draw, settings.keywords_per_chunk),
            "sentence": _sentence_queries(rows[row]["text"], language, draw, settings.sentences_per_chunk),
            NEIGHBOUR: _sentence_queries(neighbour, language, draw, settings.neighbours_per_chunk),
            "title": _title_queries(passages[row], keywords[row], draw, settings.titles_per_chunk),
        }.items():
            pairs.extend(pair for query in queries for pair in make_pairs(query, style, [rows[row]], TEXT_WRITER))
    return pl.DataFrame(pairs[: settings.max_lookups], schema=PAIR_SCHEMA)


def identifier_coverage(chunks: pl.DataFrame, pairs: pl.DataFrame, settings: QuestionsSettings) -> pl.DataFrame:
    """Which identifiers of the collection a query asks about.

    Args:
        chunks: the collection's chunks.
        pairs: kept pairs.
        settings: what an identifier looks like.

    Returns:
        ``identifier``, ``chunks`` (number of chunks with it) and ``queries`` (number of queries with it), the rarest first.
    """
    patterns = settings.all_identifier_patterns
    there = Counter(identifier for text in chunks["text"] for identifier in find_identifiers(text, patterns))
    asked = Counter(identifier for query in pairs["query"].unique() for identifier in find_identifiers(query, patterns))
    rows = [(identifier, count, asked[identifier]) for identifier, count in there.items()]
    schema = {"identifier": pl.String, "chunks": pl.Int64, "queries": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row").sort("chunks", "identifier")


def spread_over_documents(chunks: pl.DataFrame, salt: str) -> list[int]:
    """Rows of the chunks so that any first part of the list is spread evenly over the documents.

    The order depends on the chunks' own ids alone, so that new documents do not move the others.
    """
    hashes = [hashlib.sha256(f"{salt} {chunk_id}".encode()).digest() for chunk_id in chunks["chunk_id"]]
    rounds: Counter[str] = Counter()
    order = []
    for row in sorted(range(len(hashes)), key=hashes.__getitem__):
        document_id = chunks["document_id"][row]
        order.append((rounds[document_id], hashes[row], row))
        rounds[document_id] += 1
    return [row for _, _, row in sorted(order)]


def _keywords(passages: Sequence[str], language: str, most: int = 8) -> list[list[str]]:
    """The most telling words of each passage by tf-idf, best first."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    ignored = words_without_meaning(language)

    def telling(passage: str) -> list[str]:
        return [word for word in tokens.keywords(passage, language) if word not in ignored]

    vectorizer = TfidfVectorizer(analyzer=telling, sublinear_tf=True)
    try:
        weights = vectorizer.fit_transform(passages)
    except ValueError:  # no word at all in the collection
        return [[] for _ in passages]
    words = vectorizer.get_feature_names_out()
    found = []
    for row in range(weights.shape[0]):
        columns, values = weights[row].indices, weights[row].data
        best = sorted(zip(-values, words[columns], strict=True))[:most]
        found.append([str(word) for _, word in best])
    return found


def _identifier_queries(
    found: list[str], frequency: Counter[str], keywords: list[str], draw: random.Random, count: int
) -> list[str]:
    """The rarest identifiers of the chunk, every other time with a word beside it."""
    rarest = sorted(found, key=lambda identifier: (frequency[identifier], draw.random()))[:count]
    return [
        f"{identifier} {draw.choice(others)}" if draw.random() < 0.5 and others else identifier
        for identifier in rarest
        for others in [[word for word in keywords if word.lower() not in identifier.lower()]]
    ]


def _keyword_queries(keywords: list[str], draw: random.Random, count: int) -> list[str]:
    if len(keywords) < 3:
        return []
    return [" ".join(draw.sample(keywords, min(len(keywords), draw.choice((3, 3, 4))))) for _ in range(count)]


def _sentence_queries(text: str, language: str, draw: random.Random, count: int) -> list[str]:
    found = [" ".join(MARKS.sub(" ", part).split()) for part in tokens.sentences(text, language)]
    fitting = [part for part in found if SHORTEST_SENTENCE <= tokens.count_words(part) <= LONGEST_SENTENCE]
    return draw.sample(fitting, min(count, len(fitting)))


def _title_queries(passage: str, keywords: list[str], draw: random.Random, count: int) -> list[str]:
    path = passage.partition("\n")[0].split(" > ")
    others = [word for word in keywords if word.lower() not in passage.partition("\n")[0].lower()]
    if not others or not path[-1].strip() or len(path[-1]) > 120:
        return []
    return [f"{draw.choice((path[0], path[-1]))} {word}" for word in draw.sample(others, min(count, len(others)))]
