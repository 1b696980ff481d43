"""Files that look like what users bring, and have a name that nothing reads."""

from collections.abc import Iterator, Mapping
from pathlib import Path

# What a file may be called → the names that are read, in the collection's folder and below qrels/.
BROUGHT = {
    "corpus": ("corpus.jsonl",),
    "queries": ("queries.jsonl",),
    "pairs": ("pairs.jsonl", "pairs.parquet"),
    "triplets": ("triplets.jsonl", "triplets.parquet"),
    "reviewed_questions": ("reviewed_questions.jsonl",),
    "qrels": ("qrels/test.tsv", "qrels/dev.tsv", "qrels/train.tsv"),
}
LABELS = {"test": ("test.tsv",), "dev": ("dev.tsv",), "validation": ("dev.tsv",), "val": ("dev.tsv",), "train": ("train.tsv",)}
TABLES = {".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".jsonlines", ".parquet", ".arrow", ".xlsx"}
PACKED = {".gz", ".zip", ".bz2", ".xz", ".zst"}


def unread_files(folder: Path) -> list[str]:
    """What is brought under a name that is not read, and not under one that is, such as triplets.csv; in words.

    Args:
        folder: the collection's folder.
    """
    return [*_unread(folder, BROUGHT), *_unread(folder / "qrels", LABELS)]


def _unread(folder: Path, brought: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        name = path.name.lower()
        name = name[: -len(path.suffix)] if path.suffix.lower() in PACKED else name
        stem, point, ending = name.rpartition(".")
        read = brought.get(stem, ())
        there = any((folder / it).is_file() or (folder / f"{it}.gz").is_file() for it in read)
        if point + ending in TABLES and read and not there and path.is_file():
            yield f"{path} is not read: write it as {' or '.join(read)}, or give it another name"
