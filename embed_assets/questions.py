"""Synthetic QA pairs: what a user might type, and the chunk that answers it.

Two sources complement each other. A language model writes questions and problem reports; look-ups
(identifiers, keywords, sentences, titles) are taken from the text and teach the rare tokens. Both
go through the same filters, of which round-trip consistency matters most (Promptagator,
arXiv:2209.11755): a query is kept only if retrieval finds the chunk it was made from.
"""

import hashlib
import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import jinja2.meta
import numpy as np
import polars as pl

from embed_assets.models.encoders import Encoder
from embed_assets.models.language_models import LanguageModel
from embed_assets.progress import track
from embed_assets.retrieval import HybridRetriever
from embed_assets.settings import QuestionsSettings
from embed_assets.store import fingerprint_of

PAIR_SCHEMA = {
    "query_id": pl.String,
    "query": pl.String,
    "style": pl.String,
    "document_id": pl.String,
    "start": pl.Int64,
    "end": pl.Int64,
    "writer": pl.String,
    "prompt_fingerprint": pl.String,
    "dropped": pl.String,
}
TEXT_WRITER = "text"
NEIGHBOUR = "neighbour"


class PromptError(ValueError):
    """A prompt file is missing, is not a template, or does not use the passage."""


@dataclass(frozen=True)
class Prompt:
    """A prompt template; its style is the name of its file."""

    style: str
    source: str

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.source)

    def render(self, passage: str) -> str:
        environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)
        return environment.from_string(self.source).render(passage=passage).rstrip()

    def examples(self) -> set[str]:
        """The lines of the prompt, normalized: an answer among them was copied."""
        return {normalize_query(line.partition(": ")[2]) for line in self.source.splitlines()}


def load_prompts(names: Iterable[str], folders: Sequence[Path]) -> list[Prompt]:
    """Load prompt files.

    Args:
        names: file names.
        folders: searched in order; the package's own prompts come last.

    Raises:
        PromptError: a file is in no folder, is no valid template, or has other variables than ``passage``.
    """
    places = [*folders, Path(__file__).parent / "prompts"]
    prompts = []
    for name in names:
        path = next((place / name for place in places if (place / name).is_file()), None)
        if path is None:
            raise PromptError(f"prompt {name!r} is in none of {', '.join(map(str, places))}")
        try:
            source = path.read_text(encoding="utf-8")
            variables = jinja2.meta.find_undeclared_variables(jinja2.Environment().parse(source))
        except jinja2.TemplateSyntaxError as error:
            raise PromptError(f"{path}:{error.lineno}: {error.message}") from None
        except UnicodeDecodeError as error:
            raise PromptError(f"{path}: not UTF-8: {error}") from None
        if variables != {"passage"}:
            raise PromptError(f"{path}: a prompt uses exactly the variable 'passage'; found {sorted(variables) or 'none'}")
        prompts.append(Prompt(path.stem, source))
    return prompts


def write_questions(
    chunks: pl.DataFrame, prompts: Sequence[Prompt], model: LanguageModel, settings: QuestionsSettings
) -> tuple[pl.DataFrame, int]:
    """Let the language model write queries about chunks.

    Args:
        chunks: the collection's chunks.
        prompts: one style each.
        model: the writer.
        settings: how many.

    Returns:
        Pairs in PAIR_SCHEMA, those that the rules refuse with the reason in ``dropped``, and the number of
        answers that were not generated anew.
    """
    jobs = [
        (row, prompt, sample)
        for sample in range(settings.questions_per_chunk)
        for prompt in prompts
        for row in _spread_over_documents(chunks, f"{settings.seed} {prompt.style}")
    ]
    # Alternating the styles shares the limit between them; sorting by prompt file lets vLLM reuse the common prefix.
    per_style = max(1, len(jobs) // max(1, len(prompts) * settings.questions_per_chunk))
    jobs = [job for i in range(per_style) for job in jobs[i::per_style]][: settings.max_questions]
    jobs.sort(key=lambda job: (job[1].style, job[2]))
    rows = chunks.select("passage", "document_id", "start", "end").rows(named=True)
    texts = [prompt.render(rows[row]["passage"]) for row, prompt, _ in jobs]
    seeds = [_seed(settings.seed, sample, text) for text, (_, _, sample) in zip(texts, jobs, strict=True)]
    answers, reused = model.generate(texts, seeds) if jobs else ([], 0)
    examples = {prompt.style: prompt.examples() for prompt in prompts}
    pairs = [
        _pair(answer, prompt.style, rows[row], settings.writer.name, prompt.fingerprint)
        | {"dropped": _refuse(answer, rows[row]["passage"], examples[prompt.style], settings)}
        for (row, prompt, _), answer in zip(jobs, answers, strict=True)
    ]
    return pl.DataFrame(pairs, schema=PAIR_SCHEMA), reused


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
    keywords = _keywords(passages)
    identifiers = [find_identifiers(row["text"], settings.identifier_patterns) for row in rows]
    frequency = Counter(identifier for found in identifiers for identifier in found)
    document_rows: dict[str, list[int]] = {}
    for row, chunk in enumerate(rows):
        document_rows.setdefault(chunk["document_id"], []).append(row)
    pairs = []
    for row in track(_spread_over_documents(chunks, f"{settings.seed} look-ups"), "taking look-ups"):
        draw = random.Random(f"{settings.seed} {passages[row]}")
        others = [other for other in document_rows[rows[row]["document_id"]] if other != row]
        neighbour = rows[draw.choice(others)]["text"] if others else ""
        for style, queries in {
            "identifier": _identifier_queries(identifiers[row], frequency, keywords[row], draw, settings.identifiers_per_chunk),
            "keyword": _keyword_queries(keywords[row], draw, settings.keywords_per_chunk),
            "sentence": _sentence_queries(rows[row]["text"], draw, settings.sentences_per_chunk),
            NEIGHBOUR: _sentence_queries(neighbour, draw, settings.neighbours_per_chunk),
            "title": _title_queries(passages[row], keywords[row], draw, settings.titles_per_chunk),
        }.items():
            pairs.extend(_pair(query, style, rows[row], TEXT_WRITER, "") for query in queries)
    return pl.DataFrame(pairs[: settings.max_lookups], schema=PAIR_SCHEMA)


def filter_pairs(pairs: pl.DataFrame, chunks: pl.DataFrame, encoder: Encoder, settings: QuestionsSettings) -> pl.DataFrame:
    """Drop repeated queries and those whose chunk hybrid retrieval does not find.

    Args:
        pairs: in PAIR_SCHEMA; the spans are those of chunks.
        chunks: the collection's chunks.
        encoder: the base model.
        settings: how far down the chunk may stand.

    Returns:
        The pairs with the reason of each drop, and ``rank``: the place of the chunk, counted from 1 (null
        beyond the first 100, or where it was not asked for).
    """
    spans = {span: row for row, span in enumerate(chunks.select("document_id", "start", "end").iter_rows())}
    first = pairs.with_row_index("row").with_columns(
        key=pl.struct(pl.col("query").map_elements(normalize_query, return_dtype=pl.String), "document_id", "start")
    )
    usable = first.filter(pl.col("dropped").is_null())
    repeated = pl.Series(range(len(pairs))).is_in(usable.filter(~usable["key"].is_first_distinct())["row"].to_list())
    pairs = pairs.with_columns(
        dropped=pl.when(repeated).then(pl.lit("repeated")).otherwise(pl.col("dropped")),
        rank=pl.lit(None, dtype=pl.Int64),
    )
    if not settings.round_trip_top_k:
        return pairs
    open_rows = np.flatnonzero(pairs["dropped"].is_null().to_numpy())
    queries = pairs["query"].gather(open_rows).to_list()
    targets = (
        [spans[span] for span in pairs.select("document_id", "start", "end").gather(open_rows).iter_rows()] if queries else []
    )
    ranks = HybridRetriever(encoder, chunks["passage"].to_list()).ranks(queries, targets) if queries else []
    rank_of_row = dict(zip(open_rows.tolist(), ranks, strict=True))
    rank = pl.Series("rank", [rank_of_row.get(row) for row in range(len(pairs))], dtype=pl.Int64)
    asked = pl.Series([row in rank_of_row for row in range(len(pairs))], dtype=pl.Boolean)
    lost = asked & ((rank > settings.round_trip_top_k) | rank.is_null())
    return pairs.with_columns(
        rank, dropped=pl.when(lost).then(pl.lit(f"not in the first {settings.round_trip_top_k}")).otherwise(pl.col("dropped"))
    )


def find_identifiers(text: str, patterns: Sequence[str]) -> list[str]:
    """The identifiers in a text, each once, in order of appearance; of two that overlap, the first and longer one."""
    found = [(match.start(), -match.end(), match.group(0)) for pattern in patterns for match in re.finditer(pattern, text)]
    identifiers, end = [], 0
    for start, negative_end, identifier in sorted(found):
        if identifier and start >= end:
            identifiers.append(identifier)
            end = -negative_end
    return list(dict.fromkeys(identifiers))


def normalize_query(text: str) -> str:
    """A query in lower case without punctuation and with single spaces, to tell whether two are the same."""
    return " ".join(re.findall(r"\w+", text.lower()))


def _pair(query: str, style: str, chunk: dict, writer: str, prompt_fingerprint: str) -> dict:
    span = (chunk["document_id"], chunk["start"], chunk["end"])
    return {
        "query_id": hashlib.sha256(f"{style}\0{query}\0{span}".encode()).hexdigest()[:16],
        "query": query,
        "style": style,
        "document_id": chunk["document_id"],
        "start": chunk["start"],
        "end": chunk["end"],
        "writer": writer,
        "prompt_fingerprint": prompt_fingerprint,
        "dropped": None,
    }


def _seed(seed: int, sample: int, prompt: str) -> int:
    """A seed of its own for each prompt: with one for all, every answer would begin alike."""
    return int.from_bytes(hashlib.sha256(f"{seed} {sample} {prompt}".encode()).digest()[:4], "big") >> 1


def _refuse(answer: str, passage: str, examples: set[str], settings: QuestionsSettings) -> str | None:
    """Why a written question cannot be used, or None."""
    normal = normalize_query(answer)
    if not normal:
        return "empty or unfinished"
    if len(normal.split()) < settings.min_words:
        return f"fewer than {settings.min_words} words"
    if normal in examples:
        return "copy of an example"
    if normal in normalize_query(passage):
        return "copy of the passage"
    if re.search(r"\b(this|the|above|following) (passage|text|document|paragraph|section|line)\b", answer, re.IGNORECASE):
        return "speaks of the passage"
    return None


def _spread_over_documents(chunks: pl.DataFrame, salt: str) -> list[int]:
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


def _keywords(passages: Sequence[str], most: int = 8) -> list[list[str]]:
    """The most telling words of each passage by tf-idf, best first."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(token_pattern=r"(?u)[A-Za-z0-9%][\w./%-]*[A-Za-z0-9]", stop_words="english", sublinear_tf=True)
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


def _sentence_queries(text: str, draw: random.Random, count: int) -> list[str]:
    sentences = [re.sub(r"[#*`|>]+", " ", part) for part in re.split(r"(?<=[.!?])\s+|\n+", text)]
    sentences = [" ".join(part.split()) for part in sentences]
    fitting = [part for part in sentences if 6 <= len(part.split()) <= 40]
    return draw.sample(fitting, min(count, len(fitting)))


def _title_queries(passage: str, keywords: list[str], draw: random.Random, count: int) -> list[str]:
    path = passage.partition("\n")[0].split(" > ")
    others = [word for word in keywords if word.lower() not in passage.partition("\n")[0].lower()]
    if not others or not path[-1].strip() or len(path[-1]) > 120:
        return []
    return [f"{draw.choice((path[0], path[-1]))} {word}" for word in draw.sample(others, min(count, len(others)))]
