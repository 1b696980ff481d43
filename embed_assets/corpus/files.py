"""The files below ``documents/``, and what there is beside them."""

import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from embed_assets.artifacts.files import digest_of_files, digests_of_files, fingerprint_of
from embed_assets.artifacts.workspace import CollectionError
from embed_assets.corpus.beir import CORPUS, QUERIES, find_file

# Beginning of a name → what is read of that kind, in the collection's folder and below qrels/.
KINDS = {
    "setting": ("settings.yaml",),
    "(?:doc|document)": ("documents",),
    "(?:corpus|corpora)": (CORPUS,),
    "(?:query|querie)": (QUERIES,),
    "qrel": ("qrels/test.tsv", "qrels/dev.tsv", "qrels/train.tsv"),
    "pair": ("pairs.jsonl", "pairs.parquet"),
    "triplet": ("triplets.jsonl", "triplets.parquet"),
    "reviewed_question": ("reviewed_questions.jsonl",),
    "prompt": ("prompts",),
}
KINDS_OF_LABELS = {"train": ("train.tsv",), "(?:dev|val|valid|validation)": ("dev.tsv",), "test": ("test.tsv",)}


@dataclass(frozen=True)
class SkippedDocument:
    """A source that gave no document, and why."""

    document_id: str
    reason: str


@dataclass(frozen=True)
class Listing:
    """The files of a collection by the ids of their documents, sorted by id, and what is passed over."""

    files: dict[str, Path]
    skipped: list[SkippedDocument]


def list_files(folder: Path) -> Listing:
    """The files that the documents of a collection are read from, and all else that somebody may have meant to be read.

    Hidden files and folders are left out without a word. Links are followed once and only within the collection's
    own folder, so that nobody's link puts another place of the machine into the index.

    Raises:
        CollectionError: there is neither documents/ nor corpus.jsonl.
    """
    root = folder / "documents"
    corpus = find_file(folder, CORPUS)
    beside = []
    beside += [SkippedDocument(document_id_of(Path(name)), reason) for name, reason in _misnamed(folder)]
    if not root.is_dir():
        if corpus is None:
            raise CollectionError(
                f"{folder}: there is neither documents/ nor corpus.jsonl, and its settings name no production.uri"
                + "".join(f"; {item.document_id} is {item.reason}" for item in beside[:5])
            )
        return Listing({corpus.name: corpus}, beside)
    if corpus is not None:
        beside.append(SkippedDocument(corpus.name, "not read: there is documents/ as well"))
    files: dict[str, Path] = {}
    skipped: list[SkippedDocument] = []
    for path, reason in _walk(root, folder.resolve(), {root.resolve()}):
        document_id = document_id_of(path.relative_to(root))
        if not reason and document_id in files:
            reason = "another file has the same name in another writing of its letters"
        if reason:
            skipped.append(SkippedDocument(document_id, reason))
        else:
            files[document_id] = path
    return Listing(dict(sorted(files.items())), [*beside, *sorted(skipped, key=lambda item: item.document_id)])


def _misnamed(folder: Path) -> Iterator[tuple[str, str]]:
    """What lies beside the documents under nearly the name of something that is read, and under which name it would be."""
    for place, kinds in (("", KINDS), ("qrels/", KINDS_OF_LABELS)):
        parent = folder / place
        for name in sorted(path.name for path in parent.iterdir()) if parent.is_dir() else ():
            if known := names_of_kind(name, kinds):
                yield f"{place}{name}", f"not read: that would be {' or '.join(place + it for it in known)}"


def names_of_kind(name: str, kinds: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """What is read of the kind that a name says it is; nothing if it says none, or is read itself.

    Args:
        name: of a file or folder.
        kinds: KINDS or KINDS_OF_LABELS.
    """
    known = next((names for kind, names in kinds.items() if re.match(rf"{kind}s?(?![a-z])", name, re.IGNORECASE)), ())
    return () if name.removesuffix(".gz") in {it.partition("/")[0] for it in known} else known


def source_files(folder: Path) -> list[Path]:
    """The files that the documents of a collection are read from.

    Raises:
        CollectionError: there are none.
    """
    return list(list_files(folder).files.values())


def source_digest(folder: Path, anew: bool = False) -> str:
    """Hash of the names and bytes of a collection's source files, and of what is passed over; ``anew`` as in digests_of_files."""
    listing = list_files(folder)
    digest = digest_of_files(folder, listing.files.values(), anew)
    skipped = [[item.document_id, item.reason] for item in listing.skipped]
    return fingerprint_of([digest, skipped]) if skipped else digest


def source_parts(folder: Path) -> dict[str, str]:
    """Hash of each source file by its name."""
    parts = digests_of_files(folder, source_files(folder))
    return {document_id_of(Path(name)): digest for name, digest in parts.items()}


def document_id_of(path: Path) -> str:
    """A relative path with forward slashes, composed (NFC); bytes that are no UTF-8 and control characters as ``\\xe9``."""
    name = os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")
    name = re.sub(r"[\x00-\x1f\x7f]", lambda match: f"\\x{ord(match[0]):02x}", name)
    return unicodedata.normalize("NFC", name)


def _walk(place: Path, inside: Path, seen: set[Path]) -> Iterator[tuple[Path, str]]:
    """(file, "") and (what is passed over, why) below a folder; links come after all that lies there itself."""
    pending, links = [(place, place.resolve())], []  # to resolve each file would take most of the time
    while pending:
        parent, resolved = pending.pop()
        try:
            entries = sorted(os.scandir(parent), key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            yield parent, f"cannot be opened: {error.strerror}"
            continue
        for entry in entries:
            path = parent / entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_symlink():
                links.append(path)
            elif entry.is_dir():
                pending.append((path, resolved / entry.name))
                seen.add(resolved / entry.name)
            elif not entry.is_file():
                yield path, "neither a file nor a folder"
            elif not os.access(path, os.R_OK):
                yield path, "cannot be opened: no permission"
            else:
                seen.add(resolved / entry.name)
                yield path, ""
    for path in links:
        yield from _follow(path, inside, seen)


def _follow(link: Path, inside: Path, seen: set[Path]) -> Iterator[tuple[Path, str]]:
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):
        yield link, "a link to nothing"
        return
    if not target.is_relative_to(inside):
        yield link, "a link out of the collection's folder, which is never followed"
    elif any(part.startswith(".") for part in target.relative_to(inside).parts):
        yield link, "a link to a hidden place"
    elif (
        target in seen
        or any(above in seen and above != inside for above in target.parents)
        or target in (inside, inside / "documents")
    ):
        yield link, "a link to what is read at its own place"
    elif target.is_dir():
        seen.add(target)
        yield from _walk(link, inside, seen)
    elif target.is_file():
        seen.add(target)
        yield link, ""
    else:
        yield link, "a link to neither a file nor a folder"
