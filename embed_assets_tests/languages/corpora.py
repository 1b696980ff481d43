"""Twenty short documents and a query for each, in seven languages; the queries use other forms of the documents' words."""

import json
from pathlib import Path

import polars as pl

LANGUAGES = ("ar", "de", "fr", "hi", "ja", "ru", "zh")


def read_corpus(language: str) -> list[dict[str, str]]:
    """``title``, ``text`` and ``query`` of each document."""
    lines = Path(__file__).with_name(f"{language}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def chunks_of(language: str) -> pl.DataFrame:
    """One chunk for each document."""
    rows = [
        {
            "chunk_id": f"{number}::0",
            "document_id": str(number),
            "start": 0,
            "end": len(row["text"]),
            "text": row["text"],
            "passage": f"{row['title']}\n{row['text']}",
            "tokens": 40,
            "language": language,
        }
        for number, row in enumerate(read_corpus(language))
    ]
    return pl.DataFrame(rows)
