"""Look-ups: queries taken from the text of the chunks, which teach the rare tokens and cost nothing."""

import contextlib
import functools
import hashlib
import itertools
import random
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

import polars as pl

from embed_assets.corpus.structure import heading_above
from embed_assets.progress import track
from embed_assets.queries.pairs import NEIGHBOUR, PAIR_SCHEMA, TEXT_WRITER, make_pairs
from embed_assets.queries.passage_languages import PassageLanguages
from embed_assets.queries.settings import QuestionsSettings
from embed_assets.text import tokens
from embed_assets.text.columns import Texts, identifiers_of, rows_of
from embed_assets.text.identifiers import find_identifiers
from embed_assets.text.languages import SPACELESS, words_without_meaning
from embed_assets.text.section_numbers import identifiers_in, section_numbers, without_number

# Marks of headings and quotations in front of a sentence; #include and the > of a path of menus are none.
MARKS = re.compile(r"^(?:(?:#+|>+)\s+)+")
# Rows of a table, whose names of columns may be in another chunk.
TABLE_ROWS = re.compile(r"^[ \t]*\|.*\|\s*?$", re.MULTILINE)
# Escapes, marks of footnotes, boxes to tick, links and pictures, emphasis and code, of which a reader sees the words alone;
# between digits a star multiplies, between letters it is a part of the word (Bürger*innen), and *151# is dialled.
AROUND_WORDS = re.compile(
    r"\\([!-/:-@\[-`{-~])|\[\^[^\[\]\s]{1,60}\]:?|^\[[ xX]\](?=\s)"
    r"|!?\[\[?([^\[\]]{0,1000})\]?\](?:\([^()\s]{0,1000}(?:\([^()\s]{0,1000}\))?[^()]{0,300}\)|\[[^\[\]]{0,200}\])"
    r"|(?<!\w)_(?=[^\s_])([^_\n]{1,300})(?<=\S)_(?!\w)"
    r"|<((?:https?|mailto):[^<>\s]{1,1000}|[^<>\s@]{1,100}@[^<>\s@]{1,100})>"
    r"|(?<![\w*`])(?:`|\*(?!#?\d{2,4}(?:\*\d{1,20}){0,5}#(?![\w*#])))+|[*`]+(?![\w*`])|(?<=[^\W\d])(?:\*{2,}|`+)(?=\w)|(?<=\d)(?:\*{2,}|`+)(?=[^\W\d])|~~"
)
# It would be taken for the end of a sentence.
_MARK_OF_PICTURE = re.compile(r"!(?=\[)")
# A backslash at the end of a line breaks it.
_LINE_END = re.compile(r"(?<=\S)[^\S\n]*\\?\n\s*(?=\S)")
# Hashes, tokens and the like, which nobody types; long words and names of classes have no digit in a long part.
_TOKEN = re.compile(r"(?=.{41})(?:.*\W)?(?=\w{20})[^\W\d]*\d")
# A word of prose; names of code and addresses have other signs in them, and options, variables and paths begin with one.
_WORD = re.compile(r"(?![-./\\$&|=+~@%])\W*[^\W\d_]+(?:[-'’/.][^\W\d_]+)*\W*")
# A version, or just a number: nobody looks for that alone.
NUMBER = re.compile(r"\d+\.\d+")
# What stands in front of a part of a table or of a fence.
FENCES = ("```", "~~~")
BLOCK_BEGINS = ("|", *FENCES)
SHORTEST_SENTENCE, LONGEST_SENTENCE = 6, 40  # in words
ROWS_AT_ONCE = 1000


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
    passages, texts, documents = Texts(chunks["passage"]), Texts(chunks["text"]), chunks["document_id"].to_list()
    languages = PassageLanguages(chunks)
    keywords = _Keywords(passages, [languages.of(row) for row in range(len(passages))])
    in_order = _rows_of_documents(chunks)
    counted = section_numbers(documents, passages)
    identifiers = _Identifiers(chunks, in_order, settings.identifiers.all_patterns, counted)

    def title(row: int) -> list[str]:
        """What a chunk is called, without the numbers of sections: nobody types them."""
        numbers = counted.get(documents[row], set())
        return [without_number(name, numbers) for name in _title(passages[row], texts[row])]

    titles = _Titles(zip(documents, map(title, range(len(passages))), strict=True))
    sentences = _Sentences(chunks, languages) if settings.sentences_per_chunk or settings.neighbours_per_chunk else None
    neighbours = _Neighbours(documents, in_order)
    order = iter(track(spread_over_documents(chunks, f"{settings.seed} look-ups"), "taking look-ups"))
    pairs: list[dict] = []
    while rows := list(itertools.islice(order, min(ROWS_AT_ONCE, max(0, settings.max_lookups - len(pairs))))):
        draws = [random.Random(f"{settings.seed} {passages[row]}") for row in rows]
        others = [neighbours.draw(row, draw) for row, draw in zip(rows, draws, strict=True)]
        found = sentences.of({*rows, *others}) if sentences else {}
        for row, other, draw in zip(rows, others, draws, strict=True):
            words, span = keywords.of(row), chunks.row(row, named=True)
            for style, queries in {
                "identifier": identifiers.queries(row, words, draw, settings.identifiers_per_chunk),
                "keyword": _keyword_queries(words, draw, settings.keywords_per_chunk),
                "sentence": _some(found.get(row, []), draw, settings.sentences_per_chunk),
                NEIGHBOUR: _some(found.get(other, []), draw, settings.neighbours_per_chunk),
                "title": titles.queries(title(row), words, draw, settings.titles_per_chunk),
            }.items():
                pairs.extend(pair for query in queries for pair in make_pairs(query, style, [span], TEXT_WRITER))
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
    patterns = settings.identifiers.all_patterns
    there = Counter(identifier for found in identifiers_of(chunks, patterns) for identifier in found)
    asked = Counter(identifier for query in pairs["query"].unique() for identifier in find_identifiers(query, patterns))
    rows = [(identifier, count, asked[identifier]) for identifier, count in there.items()]
    schema = {"identifier": pl.String, "chunks": pl.Int64, "queries": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row").sort("chunks", "identifier")


def spread_over_documents(chunks: pl.DataFrame, salt: str) -> list[int]:
    """Rows of the chunks so that any first part of the list is spread evenly over the documents.

    The order depends on the chunks' own ids alone, so that new documents do not move the others.
    """
    hashes = [hashlib.sha256(f"{salt} {chunk_id}".encode()).digest() for chunk_id in chunks["chunk_id"]]
    documents = chunks["document_id"].to_list()
    rounds: Counter[str] = Counter()
    order = []
    for row in sorted(range(len(hashes)), key=hashes.__getitem__):
        document_id = documents[row]
        order.append((rounds[document_id], hashes[row], row))
        rounds[document_id] += 1
    return [row for _, _, row in sorted(order)]


def _rows_of_documents(chunks: pl.DataFrame) -> dict[str, list[int]]:
    """The rows of each document's chunks, in the order of the text."""
    starts, rows = chunks["start"].to_list(), rows_of(chunks["document_id"].to_list())
    return {document: sorted(of_document, key=starts.__getitem__) for document, of_document in rows.items()}


def heading_path(passage: str, text: str) -> list[str]:
    """Title and headings in front of a chunk's text, outermost first; none where the passage begins with the text.

    The column names of a table, or the opening line of a fence, may stand between the two.
    """
    before = passage.rpartition(text)[0].splitlines()[:1]
    return before[0].split(" > ") if before and not before[0].startswith(BLOCK_BEGINS) else []


def _within_its_fence(passage: str, text: str) -> str:
    """The text of a chunk; one from the middle of a piece of code gets its fence, without which it looks like prose."""
    before = passage.rpartition(text)[0].splitlines()[-1:]
    return f"{before[0]}\n{text}" if before and before[0].startswith(FENCES) else text


def _title(passage: str, text: str) -> list[str]:
    """What a chunk is called: its heading path, or else its first line."""
    path = heading_path(passage, text)
    if not path and (first := next(iter(passage.splitlines()), "")) and not first.startswith(BLOCK_BEGINS):
        return [first] if _is_prose(first) else []
    return path


class _Keywords:
    """The most telling words of each passage by tf-idf; mere numbers are none: each is rare, and says nothing."""

    def __init__(self, passages: Sequence[str], languages: Sequence[str], most: int = 8):
        from sklearn.feature_extraction.text import TfidfVectorizer

        def telling(one: tuple[str, str]) -> list[str]:
            passage, language = one
            ignored = words_without_meaning(language)
            found = tokens.keywords(passage, language)
            return [word for word in found if word not in ignored and any(map(str.isalpha, word)) and not _TOKEN.match(word)]

        vectorizer = TfidfVectorizer(analyzer=telling, sublinear_tf=True)
        self._most, self._weights = most, None
        with contextlib.suppress(ValueError):  # no word at all in the collection
            self._weights = vectorizer.fit_transform(zip(passages, languages, strict=True))
            self._words = vectorizer.get_feature_names_out()

    def of(self, row: int) -> list[str]:
        """Those of a passage, best first."""
        if self._weights is None:
            return []
        columns, values = self._weights[row].indices, self._weights[row].data
        best = sorted(zip(-values, self._words[columns], strict=True))[: self._most]
        return [str(word) for _, word in best]


class _Identifiers:
    """Look-ups by the identifiers of a passage, as it is searched: of title, headings and text."""

    def __init__(
        self,
        chunks: pl.DataFrame,
        in_order: dict[str, list[int]],
        patterns: Sequence[str],
        counted: Mapping[str, Collection[str]],
    ):
        self._documents = chunks["document_id"].to_list()
        self._first = {document: rows[0] for document, rows in in_order.items()}
        self._own, self._above = [], []
        self._frequency: Counter[str] = Counter()
        self._named: dict[str, set[str]] = {}
        # The chunks below a heading have it in common.
        of_heading = functools.lru_cache(maxsize=10_000)(lambda heading: find_identifiers(heading, patterns))
        for row, (passage, text) in enumerate(chunks.select("passage", "text").iter_rows()):
            path, numbers = heading_path(passage, text), counted.get(self._documents[row], ())
            own = identifiers_in(text, patterns, numbers)
            self._own.append(own)
            self._above.append([name for name in of_heading("\n".join(path)) if name not in own and name not in numbers])
            self._frequency.update(own + self._above[-1])
            for name in of_heading(path[0]) if path else ():
                self._named.setdefault(name, set()).add(self._documents[row])

    def queries(self, row: int, keywords: Sequence[str], draw: random.Random, count: int) -> list[str]:
        """The rarest identifiers of the chunk, every other time with a word beside it.

        A mere number such as 7.4 comes after the others, and always with a word.
        The first chunk of a document that is named by an identifier comes up with that one before all others. Any other
        chunk says about it what the word beside it says, and so does a chunk of another document that mentions it.
        """
        document, own = self._documents[row], self._own[row]
        named = {name for name in own + self._above[row] if document in self._named.get(name, ())}
        first = self._first[document] == row

        def place(name: str) -> tuple[bool, bool, bool, int, float]:
            is_number = NUMBER.fullmatch(name) is not None
            return not (first and name in named), is_number, name in self._above[row], self._frequency[name], draw.random()

        found = []
        for name in sorted(own + self._above[row], key=place)[:count]:
            others = [word for word in keywords if word.lower() not in name.lower()]
            says_too_little = bool(NUMBER.fullmatch(name)) or (name in self._named and not (first and name in named))
            with_word = draw.random() < 0.5 or says_too_little
            if others and with_word:
                found.append(f"{name} {draw.choice(others)}")
            elif not says_too_little:
                found.append(name)
        return found


class _Neighbours:
    """The other chunks of a chunk's document."""

    def __init__(self, documents: Sequence[str], in_order: dict[str, list[int]]):
        self._documents, self._rows = documents, in_order
        self._places = {row: place for rows in in_order.values() for place, row in enumerate(rows)}

    def draw(self, row: int, draw: random.Random) -> int | None:
        """The row of one of them: a step of 1 to all but one, around the end; None if there is none."""
        rows = self._rows[self._documents[row]]
        return rows[(self._places[row] + draw.randrange(1, len(rows))) % len(rows)] if len(rows) > 1 else None


class _Sentences:
    """Sentences of passages, but for those that several documents have: no one passage answers such a query."""

    def __init__(self, chunks: pl.DataFrame, languages: PassageLanguages):
        self._passages, self._texts, self._languages = Texts(chunks["passage"]), Texts(chunks["text"]), languages
        self._plain = chunks.select("document_id", plain=_without_marks(pl.col("text")))

    def of(self, rows: Iterable[int | None]) -> dict[int | None, list[str]]:
        """Those of each row, which need not be all that it has; None is passed over."""
        found: dict[int | None, list[str]] = {
            row: _sentences(_within_its_fence(self._passages[row], self._texts[row]), self._languages.of(row))
            for row in rows
            if row is not None
        }
        shared = self._shared({sentence for of_row in found.values() for sentence in of_row})
        return {row: [sentence for sentence in of_row if sentence not in shared] for row, of_row in found.items()}

    def _shared(self, sentences: Collection[str]) -> set[str]:
        frame = pl.DataFrame({"sentence": list(sentences)}, schema={"sentence": pl.String}).with_columns(
            plain=_without_marks(pl.col("sentence"))
        )
        places = self._plain.select(
            "document_id", pl.col("plain").str.extract_many(frame["plain"].unique().implode(), overlapping=True)
        )
        shared = places.explode("plain").group_by("plain").agg(pl.col("document_id").n_unique()).filter(pl.col("document_id") > 1)
        return set(frame.join(shared, on="plain", how="semi")["sentence"])


def _without_marks(text: pl.Expr) -> pl.Expr:
    """The text in small letters and one line, without the marks of emphasis and code, and without the addresses of links."""
    plain = text.str.replace_all(r"\]\([^()\s]{0,1000}\)", "").str.replace_all(r"[*_`\[\]]+", "")
    return plain.str.to_lowercase().str.replace_all(r"[\s>]+", " ").str.strip_chars()


class _Titles:
    """Look-ups by titles and headings, but by none that several documents have, such as "Usage" or "Release notes".

    Args:
        paths: of each chunk its document, and its title and headings.
    """

    def __init__(self, paths: Iterable[tuple[str, Sequence[str]]]):
        first: dict[str, str] = {}
        ends = ((document, name) for document, path in paths for name in {*path[:1], *path[-1:]})
        self._shared = {name for document, name in ends if first.setdefault(name, document) != document}

    def queries(self, path: Sequence[str], keywords: Sequence[str], draw: random.Random, count: int) -> list[str]:
        """A title or a heading of a chunk, and a word of its text that is not in them."""
        names = [name for name in (*path[:1], *path[-1:]) if name.strip() and len(name) <= 120 and name not in self._shared]
        heading = " > ".join(path).lower()
        others = [word for word in keywords if word.lower() not in heading]
        return [f"{draw.choice(names)} {word}" for word in draw.sample(others, min(count, len(others)))] if names else []


def _is_prose(text: str) -> bool:
    """Whether more than half of a text is words, and not the cells of a row of a table."""
    words = text.split()
    return words.count("|") < 2 and 2 * sum(any(map(str.isalpha, word)) for word in words) > len(words)


def _is_sentence(text: str) -> bool:
    """Whether half of a text and more is words of prose, and not code or addresses; in scripts without spaces, of letters."""
    words = text.split()
    plain = sum(bool(_WORD.fullmatch(word)) if word.isascii() else any(map(str.isalpha, word)) for word in words)
    return _is_prose(text) and 2 * plain >= len(words)


def _keyword_queries(keywords: list[str], draw: random.Random, count: int) -> list[str]:
    if len(keywords) < 3:
        return []
    return [" ".join(draw.sample(keywords, min(len(keywords), draw.choice((3, 3, 4))))) for _ in range(count)]


def _some(sentences: list[str], draw: random.Random, count: int) -> list[str]:
    return draw.sample(sentences, min(count, len(sentences))) if count else []


def _sentences(text: str, language: str) -> list[str]:
    """The sentences of a text as a reader sees them, of some words and not too many."""
    paragraphs = (_MARK_OF_PICTURE.sub(" ", paragraph) for paragraph in _paragraphs(text, language))
    parts = [part for paragraph in paragraphs for part in tokens.sentences(paragraph, language)]
    found = [" ".join(MARKS.sub("", AROUND_WORDS.sub(r"\1\2\3\4", part)).split()) for part in parts]
    return [part for part in found if SHORTEST_SENTENCE <= tokens.count_words(part) <= LONGEST_SENTENCE and _is_sentence(part)]


def _paragraphs(text: str, language: str) -> list[str]:
    """The paragraphs and list items of Markdown or plain text, each in one line however it was wrapped."""
    parsed = _markdown().parse(TABLE_ROWS.sub("", text))

    def gap(line_end: re.Match) -> str:
        """No space in a script without spaces, but between two Latin words there."""
        around = line_end.string[line_end.start() - 1] + line_end.string[line_end.end()]
        return "" if language in SPACELESS and not around.isascii() else " "

    return [
        _LINE_END.sub(gap, part)
        for before, token in itertools.pairwise(parsed)
        if before.type == "paragraph_open"
        for part in _below_heading(token.content.strip())
    ]


def _below_heading(paragraph: str) -> list[str]:
    """A paragraph without marks of Markdown, in one part or, where its first line is a heading, in two."""
    end = heading_above(paragraph)
    return [paragraph[:end], paragraph[end:].strip()] if end else [paragraph]


@functools.cache
def _markdown():
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable("table").disable("inline")
