"""Source documents: a folder of files, or a BEIR corpus."""

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from embed_assets.artifacts.memo import Memo
from embed_assets.artifacts.workspace import CollectionError
from embed_assets.corpus.beir import read_corpus
from embed_assets.corpus.encodings import composed, is_binary
from embed_assets.corpus.files import Listing, SkippedDocument, list_files, source_files
from embed_assets.corpus.menus import without_menus
from embed_assets.corpus.readers.conversion import HAS_MENUS, LARGEST_IN_PLACE, READ_IN_PLACE, READERS_VERSION, convert
from embed_assets.corpus.readers.converted import Converted
from embed_assets.corpus.readers.pool import convert_all
from embed_assets.corpus.settings import DocumentsSettings
from embed_assets.corpus.structure import LONGEST_HEADING, read_structure, shorten
from embed_assets.progress import track

logger = logging.getLogger(__name__)
# Converted texts that are written to the memo at once.
BLOCK = 100


@dataclass(frozen=True)
class Document:
    """One source document as Markdown or plain text.

    Attributes:
        document_id: the path below ``documents/`` with forward slashes, or the ``_id`` of a BEIR corpus.
        text: in composed Unicode (NFC); spans count its characters.
        markdown: whether lines of the text may be headings, tables and fences.
        metadata: the keys of the page's front matter, as a JSON object.
        notes: what its reader could not take over, separated by "; ".
    """

    document_id: str
    title: str
    text: str
    markdown: bool = True
    metadata: str = "{}"
    notes: str = ""


def read_documents(
    folder: Path, settings: DocumentsSettings, memos: Path | None = None
) -> tuple[list[Document], list[SkippedDocument]]:
    """Read the documents of a collection.

    Args:
        folder: holds ``documents/`` or ``corpus.jsonl``.
        settings: which files are read, and what their readers may take.
        memos: folder of what was converted before, by the bytes of the file; None: convert all.

    Returns:
        The documents and what was skipped, each with the reason.

    Raises:
        CollectionError: no usable document is left, or corpus.jsonl is malformed (the line is named).
    """
    listing = list_files(folder)
    if (folder / "documents").is_dir():
        found = list(_read_files(listing, settings, memos))
    else:
        found = [_read_beir_document(*row, settings) for row in read_corpus(source_files(folder)[0])]
    documents = [item for item in found if isinstance(item, Document)]
    skipped = [*listing.skipped, *(item for item in found if isinstance(item, SkippedDocument))]
    if not documents:
        reasons = "; ".join(f"{item.document_id}: {item.reason}" for item in skipped[:5]) or "the folder is empty"
        raise CollectionError(f"{folder}: no usable document ({reasons})")
    for item in skipped:
        logger.warning("%s: skipped %s: %s", folder.name, item.document_id, item.reason)
    return documents, skipped


def _read_beir_document(document_id: str, title: str, text: str, settings: DocumentsSettings) -> Document | SkippedDocument:
    if is_binary(text):
        return SkippedDocument(document_id, "binary data")
    title, text = composed(title), composed(text)
    # BEIR searches title and text together: a document may consist of its title alone.
    return _checked(Document(document_id, title, text) if text.strip() else Document(document_id, "", title), settings)


def _read_files(listing: Listing, settings: DocumentsSettings, memos: Path | None) -> Iterator[Document | SkippedDocument]:
    reasons = {document_id: _reason_to_skip(path, settings) for document_id, path in listing.files.items()}
    files = {document_id: path for document_id, path in listing.files.items() if not reasons[document_id]}
    converted = dict(_convert(files, settings, memos))
    pages = {name: page for name, page in converted.items() if _ending(name) in HAS_MENUS and isinstance(page, Converted)}
    converted |= without_menus(pages)
    for document_id in listing.files:
        page = converted.get(document_id, reasons[document_id])
        if isinstance(page, Converted):
            yield _checked(_document(document_id, page), settings)
        else:
            yield SkippedDocument(document_id, page)


def _reason_to_skip(path: Path, settings: DocumentsSettings) -> str:
    extension = path.suffix.lower()
    if extension not in settings.extensions:
        return f"{extension or 'no'} extension is not among {', '.join(settings.extensions)}"
    size = path.stat().st_size
    if size > settings.max_megabytes * 1e6:
        return f"{size / 1e6:.1f} MB is more than {settings.max_megabytes} MB"
    return "empty file" if size == 0 else ""


def _convert(files: dict[str, Path], settings: DocumentsSettings, memos: Path | None) -> Iterator[tuple[str, Converted | str]]:
    """What the readers make of files, in any order: from the memo, in this process, or in processes of their own."""
    memo = Memo(memos / "documents.sqlite") if memos else None
    keys: dict[str, str] = {}

    def read(name: str) -> bytes:
        content = files[name].read_bytes()
        keys[name] = f"{READERS_VERSION}{_ending(name)}:{sha256(content).hexdigest()}"
        return content

    for name in files if memo else ():
        read(name)
    stored = memo.get_many(sorted(set(keys.values()))) if memo else {}
    known = {name: page for name, key in keys.items() if key in stored and (page := _loaded(stored[key])) is not None}
    yield from known.items()
    small = {name for name, path in files.items() if _ending(name) in READ_IN_PLACE and path.stat().st_size <= LARGEST_IN_PLACE}
    new = sorted(set(files) - set(known), key=lambda name: (name not in small, name))
    here = len(small - set(known))
    in_place = ((convert(read(name), _ending(name)), True) for name in new[:here])
    elsewhere = convert_all([(partial(read, name), _ending(name)) for name in new[here:]], settings)
    waiting: list[tuple[str, bytes]] = []
    results = zip(new, chain(in_place, elsewhere), strict=True)
    for name, (page, final) in track(results, "reading documents", total=len(new)):
        yield name, page
        if memo and final:
            waiting.append((keys[name], _dumped(page)))
        if memo and len(waiting) >= BLOCK:
            memo.put_many(waiting)
            waiting = []
    if memo and waiting:
        memo.put_many(waiting)


def _dumped(page: Converted | str) -> bytes:
    return json.dumps(page if isinstance(page, str) else asdict(page)).encode()


def _loaded(value: bytes) -> Converted | str | None:
    """What the memo holds; None if it is damaged: then the file is converted again."""
    try:
        page: Any = json.loads(value)
        if isinstance(page, str):
            return page
        return Converted(**page | {"notes": tuple(page["notes"]), "links": tuple(page["links"])})
    except (ValueError, TypeError, KeyError):
        return None


def _document(document_id: str, page: Converted) -> Document:
    headings = read_structure(page.text).headings if page.markdown and not page.title else []
    title = page.title or (headings[0].title if headings else PurePosixPath(document_id).stem)
    metadata = json.dumps(page.metadata, ensure_ascii=False, sort_keys=True)
    return Document(document_id, shorten(title, LONGEST_HEADING), page.text, page.markdown, metadata, "; ".join(page.notes))


def _checked(document: Document, settings: DocumentsSettings) -> Document | SkippedDocument:
    characters = len(document.text.strip())
    if characters < settings.min_characters:
        return SkippedDocument(document.document_id, f"{characters} characters of text are fewer than {settings.min_characters}")
    return document


def _ending(name: str) -> str:
    return PurePosixPath(name).suffix.lower()
