"""Files that look like what users bring, and have a name that nothing reads."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from embed_assets.corpus.files import KINDS, KINDS_OF_LABELS, names_of_kind

TABLES = {".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".jsonlines", ".parquet", ".arrow", ".xlsx"}
PACKED = {".gz", ".zip", ".bz2", ".xz", ".zst"}


def unread_files(folder: Path) -> list[str]:
    """What is brought under a name that is not read, and not under one that is, such as triplets.csv; in words.

    Args:
        folder: the collection's folder.
    """
    return [*_unread(folder, KINDS), *_unread(folder / "qrels", KINDS_OF_LABELS)]


def _unread(folder: Path, kinds: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        name = path.stem if path.suffix.lower() in PACKED else path.name
        read = names_of_kind(path.name, kinds)
        there = any((folder / it).exists() or (folder / f"{it}.gz").exists() for it in read)
        if Path(name).suffix.lower() in TABLES and read and not there and path.is_file():
            yield f"{path} is not read: write it as {' or '.join(read)}, or give it another name"
