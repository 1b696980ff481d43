"""What people think of the questions: those that they refused are left out of training and test.

The file lies in the collection's folder: one JSON object a line, with ``query`` and ``verdict``.
"""

import json
from collections.abc import Collection
from pathlib import Path

from embed_assets.artifacts.files import fingerprint_of, write_atomically
from embed_assets.artifacts.inputs import Asked, Inputs, Source
from embed_assets.artifacts.workspace import CollectionError
from embed_assets.corpus.beir import is_unicode, read_jsonl
from embed_assets.corpus.encodings import composed
from embed_assets.text.near_duplicates import normalize_query

REVIEWS = "reviewed_questions.jsonl"
REFUSED_QUESTIONS = "refused questions"
APPROVED, REFUSED = VERDICTS = ("approved", "refused")


def read_reviews(folder: Path) -> dict[str, tuple[str, str]]:
    """Normalized question → the question and the verdict; the last verdict on a question holds.

    Args:
        folder: the collection's folder.

    Raises:
        CollectionError: a line cannot be used; it is named.
    """
    path = folder / REVIEWS
    reviews: dict[str, tuple[str, str]] = {}
    if not path.is_file():
        return reviews
    for number, row in read_jsonl(path):
        query, verdict = row.get("query"), row.get("verdict")
        if not isinstance(query, str) or not composed(query).strip() or not is_unicode(query):
            raise CollectionError(f"{path}:{number}: 'query' must be a non-empty string, found {query!a:.80}")
        if verdict not in VERDICTS:
            raise CollectionError(f"{path}:{number}: 'verdict' must be {' or '.join(VERDICTS)}, found {verdict!a:.80}")
        reviews[normalize_query(query)] = (query, verdict)
    return reviews


def write_review(folder: Path, query: str, verdict: str | None) -> None:
    """Keep what a person thinks of a question; None takes the verdict back. The file is replaced in one step.

    Raises:
        CollectionError: the file that is there cannot be used.
        ValueError: there is no such verdict.
    """
    if verdict not in (*VERDICTS, None):
        raise ValueError(f"the verdict must be {' or '.join(VERDICTS)}, found {verdict!r}")
    reviews = read_reviews(folder)
    reviews.pop(normalize_query(query), None)
    if verdict is not None:
        reviews[normalize_query(query)] = (query, verdict)
    rows = (json.dumps({"query": text, "verdict": said}, ensure_ascii=False) for text, said in reviews.values())
    write_atomically(folder / REVIEWS, "".join(f"{row}\n" for row in rows))


def refused_questions(asked: Asked) -> dict[str, Source]:
    """The normalized questions that people refused, as a source, if there are any; what they approved changes no result."""
    refused = frozenset(name for name, (_, verdict) in read_reviews(asked.folder).items() if verdict == REFUSED)
    return {REFUSED_QUESTIONS: Source(fingerprint_of(sorted(refused)), refused)} if refused else {}


def refused_of(inputs: Inputs) -> Collection[str]:
    """What refused_questions has read for a step."""
    return inputs.sources[REFUSED_QUESTIONS].value if REFUSED_QUESTIONS in inputs.sources else ()
