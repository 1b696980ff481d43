"""Triplets that users bring, as other tools write them.

They lie in the collection's folder, in any or all of

- triplets.jsonl and triplets.parquet: a query (ANCHORS), what answers it (POSITIVES) and what does not (``negative``,
  ``negative_1`` …, and NEGATIVES), each a text or a list of texts, or of objects with ``title`` and ``text``, as data sets of
  sentence-transformers, FlagEmbedding, Tevatron and DPR and the inline form of NeMo Automodel have them; where it is known also
  ``split`` (train or dev) and ``style``;
- train.json and val.json, as NVIDIA's recipe for embedding models writes them: queries with the ids of passages that lie in the
  Parquet files of one or more folders.
"""

import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import polars as pl

from embed_assets.artifacts.files import FileState, digest_of_files, state_of
from embed_assets.artifacts.workspace import CollectionError
from embed_assets.corpus.beir import as_id, files_of_rows, read_parquet, read_rows, require_unicode
from embed_assets.corpus.encodings import composed
from embed_assets.corpus.heading_paths import below_title
from embed_assets.queries.own_pairs import OWN_STYLE

TRIPLETS = "triplets"  # .jsonl and .parquet
RECIPE: dict[str, Literal["train", "dev"]] = {"train.json": "train", "val.json": "dev"}
ANCHORS = ("anchor", "query", "question")
POSITIVES = ("positive", "positives", "pos", "pos_doc", "positive_passages", "positive_ctxs")
NEGATIVES = ("negatives", "hard_negatives", "neg", "neg_doc", "negative_passages", "hard_negative_ctxs", "negative_ctxs")
NEGATIVE = re.compile(r"negative(_\d+)?")
METADATA = "merlin_metadata.json"  # in the folder of a corpus: its id
SPLITS: dict[str | None, Literal["train", "dev"] | None] = {None: None, "train": "train", "dev": "dev", "validation": "dev"}


class OwnTriplet(NamedTuple):
    """A query, a passage that answers it, and some that do not; its place is the file and the line."""

    place: str
    anchor: str
    positive: str
    negatives: tuple[str, ...]
    split: Literal["train", "dev"] | None = None
    style: str = OWN_STYLE


def read_own_triplets(folder: Path) -> tuple[list[OwnTriplet], list[str]]:
    """Read the triplets that the user brings: one for each query and passage that answers it.

    Args:
        folder: the collection's folder.

    Returns:
        The triplets (none where there is no such file), and what was not read, in words.

    Raises:
        CollectionError: a row cannot be used; the file and the line (or row) are named.
    """
    found: list[OwnTriplet] = []
    unread: set[str] = set()
    for place, row in read_rows(folder, TRIPLETS):
        found += _triplets_of_row(place, row, unread)
    for name, split in RECIPE.items():
        if (path := folder / name).is_file():
            found += _triplets_of_recipe(path, folder, split)
    return found, [f"columns of own triplets that are not read: {', '.join(sorted(unread)[:5])}"] if unread else []


def own_triplets_digest(folder: Path, anew: bool = False) -> str | None:
    """Hash of the files that the triplets of a collection are read from; None if the user brings none.

    ``anew`` as in digests_of_files.
    """
    folder = folder.resolve()  # as the paths of the corpora are
    files = files_of_rows(folder, TRIPLETS)
    for name in RECIPE:
        if (path := folder / name).is_file():
            files.append(path)
            for corpus in _corpora(path, folder).values():
                files += [*corpus, *(it for it in (corpus[0].parent / METADATA,) if it.is_file())]
    return digest_of_files(folder, set(files), anew) if files else None


def _triplets_of_row(place: str, row: Mapping[str, Any], unread: set[str]) -> Iterator[OwnTriplet]:
    names = sorted((name for name in row if NEGATIVE.fullmatch(name)), key=lambda name: (len(name), name))
    names += [name for name in NEGATIVES if name in row]
    anchors = _texts(place, _only(place, row, ANCHORS), row)
    positives = _texts(place, (positive := _only(place, row, POSITIVES)), row)
    if len(anchors) != 1 or not positives:
        raise CollectionError(f"{place}: a triplet needs one query, and a {positive!r} that is not empty")
    unread |= row.keys() - {*ANCHORS, *POSITIVES, *names, "split", "style"}
    negatives = tuple(text for name in names for text in _texts(place, name, row, may_be_missing=True))
    split, style = row.get("split"), row.get("style")
    if split not in SPLITS:
        raise CollectionError(f"{place}: 'split' must be train, dev or validation, or be left out; found {split!a:.80}")
    if not isinstance(style, str | None):
        raise CollectionError(f"{place}: 'style' must be a string, or be left out; found {style!a:.80}")
    for text in positives:
        yield OwnTriplet(place, anchors[0], text, negatives, SPLITS[split], (style or "").strip() or OWN_STYLE)


def _only(place: str, row: Mapping[str, Any], names: tuple[str, ...]) -> str:
    there = [name for name in names if name in row]
    if len(there) != 1:
        found = ", ".join(map(ascii, list(row)[:10])) or "nothing"
        raise CollectionError(f"{place}: every triplet needs one of {', '.join(names)}; the keys of this one are {found}")
    return there[0]


def _texts(place: str, name: str, row: Mapping[str, Any], may_be_missing: bool = False) -> list[str]:
    """The text or the texts of a column, each by itself or as ``title`` and ``text`` of an object.

    What is missing is null, blank, or the NaN of pandas.
    """
    value = row[name]
    texts = [_with_title(it) for it in (value if isinstance(value, list) else [] if value is None else [value])]
    if may_be_missing:
        texts = [it for it in texts if it is not None and it == it and (not isinstance(it, str) or composed(it).strip())]
    for text in texts:
        if not isinstance(text, str) or not composed(text).strip():
            raise CollectionError(f"{place}: {name!r} must be a non-empty text, or a list of those; found {text!a:.80}")
        require_unicode(place, text, f"{name!r}: {text!a:.80}")
    return [composed(text).strip() for text in texts]


def _with_title(passage: Any) -> Any:
    if not isinstance(passage, dict) or not isinstance(passage.get("text"), str):
        return passage
    title = passage.get("title")
    return below_title(title if isinstance(title, str) else "", passage["text"])


def _triplets_of_recipe(path: Path, folder: Path, split: Literal["train", "dev"]) -> Iterator[OwnTriplet]:
    corpora, records = _corpora(path, folder), _recipe(path)["data"]
    asked: list[tuple[str, str, str, list[str], list[str]]] = []
    for number, record in enumerate(records, start=1):
        place = f"{path}, record {number} (counted from 1)"
        if not isinstance(record, dict):
            raise CollectionError(f"{place}: expected an object, found {type(record).__name__}")
        anchors = _texts(place, _only(place, record, ANCHORS), record)
        positives, negatives = (_ids(place, record, name) for name in ("pos_doc", "neg_doc"))
        if len(anchors) != 1 or not positives:
            raise CollectionError(f"{place}: a record needs a question, and the id of a passage in 'pos_doc'")
        name = record.get("corpus_id", next(iter(corpora)) if len(corpora) == 1 else None)
        if name not in corpora:
            raise CollectionError(f"{place}: the corpus {name!a:.80} is none of {', '.join(map(ascii, corpora))}")
        asked.append((place, anchors[0], name, positives, negatives))
    texts = {name: _passages(corpora[name], asked, name) for name in {row[2] for row in asked}}
    for place, anchor, name, positives, negatives in asked:
        passages = texts[name]
        if missing := [it for it in (*positives, *negatives) if it not in passages]:
            raise CollectionError(f"{place}: there is no passage {missing[0]!a:.80} in the corpus {name!a:.80}")
        for positive in positives:
            yield OwnTriplet(place, anchor, passages[positive], tuple(passages[it] for it in negatives), split)


def _ids(place: str, record: Mapping[str, Any], name: str) -> list[str]:
    """Ids of passages, each by itself or as the ``id`` of an object."""
    listed = record.get(name) or []
    ids: list[Any] = (
        [as_id(it.get("id") if isinstance(it, dict) else it) for it in listed] if isinstance(listed, list) else [None]
    )
    if not all(isinstance(it, str) for it in ids):
        raise CollectionError(f"{place}: {name!r} must be a list of ids of passages; found {listed!a:.80}")
    return [str(it) for it in ids]


def _passages(files: Iterable[Path], asked: Iterable[tuple[str, str, str, list[str], list[str]]], corpus: str) -> dict[str, str]:
    """The texts of the passages of a corpus that records name."""
    wanted = pl.Series(sorted({it for row in asked if row[2] == corpus for it in (*row[3], *row[4])}), dtype=pl.String)
    texts: dict[str, str] = {}
    for path in files:
        table = read_parquet(path)
        if not {"id", "text"} <= set(table.columns) or table["text"].dtype != pl.String:
            raise CollectionError(f"{path}: a corpus needs the columns 'id' and 'text'; found {', '.join(table.columns)}")
        rows = table.select(pl.col("id").cast(pl.String), "text").filter(pl.col("id").is_in(wanted.implode()))
        for name, text in rows.iter_rows():
            if not (text := composed(text or "").strip()):
                raise CollectionError(f"{path}: the passage {name!a:.80} has no text")
            texts[name] = text
    return texts


def _corpora(path: Path, folder: Path) -> dict[str, list[Path]]:
    """The Parquet files of each corpus that a file of the recipe names, by the corpus' id."""
    listed = _recipe(path)["corpus"]
    found: dict[str, list[Path]] = {}
    for number, item in enumerate(listed if isinstance(listed, list) else [listed]):
        named = item.get("path") if isinstance(item, dict) else None
        if not isinstance(named, str):
            raise CollectionError(f"{path}: 'corpus' must be an object with a 'path', or a list of those; found {item!a:.80}")
        corpus = (path.parent / named).resolve()
        if not corpus.is_relative_to(folder.resolve()) or not corpus.is_dir():
            raise CollectionError(
                f"{path}: there is no folder {named!a:.200} within the collection's folder: put the corpus beside {path.name}, "
                "and name it relative to that file, such as ./corpus/"
            )
        files = [file for file in sorted(corpus.glob("*.parquet")) if file.resolve().is_relative_to(corpus)]
        if not files:
            raise CollectionError(f"{path}: the corpus {named!a:.200} has no Parquet file")
        name = _id_of_corpus(corpus) or str(number)
        if name in found:
            raise CollectionError(
                f"{path}: the corpora {found[name][0].parent} and {corpus} are both called {name!a:.80}: "
                f"give each another 'corpus_id' in its {METADATA}, and name that one in the records"
            )
        found[name] = files
    if not found:
        raise CollectionError(f"{path}: 'corpus' names no folder of passages")
    return found


def _id_of_corpus(corpus: Path) -> str | None:
    metadata = corpus / METADATA
    if not metadata.is_file():
        return None
    try:
        found = json.loads(metadata.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CollectionError(f"{metadata}: not JSON: {error}") from None
    return str(found["corpus_id"]) if isinstance(found, dict) and "corpus_id" in found else None


def _recipe(path: Path) -> dict[str, Any]:
    return _parsed(path, state_of(path))


@functools.lru_cache(maxsize=2)
def _parsed(path: Path, state: FileState) -> dict[str, Any]:
    """A file of the recipe, read again when its state changes."""
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise CollectionError(f"{path}: not JSON: {error}") from None
    if not isinstance(found, dict) or "corpus" not in found or not isinstance(found.get("data"), list):
        raise CollectionError(
            f"{path}: expected an object with 'corpus' and a list 'data', as NVIDIA's recipe for embedding models writes it: "
            "correct, rename or remove the file"
        )
    return found
