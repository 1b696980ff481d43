"""Source documents: a folder of files, or a BEIR corpus."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from embed_assets.artifacts.workspace import CollectionError
from embed_assets.corpus.beir import read_corpus
from embed_assets.corpus.converted_files import convert_files, ending_of
from embed_assets.corpus.encodings import composed, is_binary
from embed_assets.corpus.files import Listing, SkippedDocument, list_files, source_files
from embed_assets.corpus.heading_paths import own_title
from embed_assets.corpus.menus import without_menus
from embed_assets.corpus.readers.conversion import HAS_MENUS
from embed_assets.corpus.readers.converted import Converted
from embed_assets.corpus.settings import DocumentsSettings
from embed_assets.corpus.structure import LONGEST_HEADING, shorten, title_heading
from embed_assets.progress import track

logger = logging.getLogger(__name__)


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
    folder: Path, settings: DocumentsSettings, skipped: list[SkippedDocument], memos: Path | None = None
) -> Iterator[Document]:
    """Read the documents of a collection, one after another.

    Args:
        folder: holds ``documents/`` or ``corpus.jsonl``.
        settings: which files are read, and what their readers may take.
        skipped: gets what is skipped, each with the reason.
        memos: folder of what was converted before, by the bytes of the file; None: convert all.

    Raises:
        CollectionError: there was no usable document, or corpus.jsonl is malformed (the line is named).
    """
    listing = list_files(folder)
    skipped += listing.skipped
    if (folder / "documents").is_dir():
        found = _read_files(listing, settings, memos)
    else:
        rows = track(read_corpus(source_files(folder)[0]), "reading documents")
        found = (_read_beir_document(*row, settings) for row in rows)
    usable = 0
    for item in found:
        if isinstance(item, Document):
            usable += 1
            yield item
        else:
            skipped.append(item)
    if not usable:
        reasons = "; ".join(f"{item.document_id}: {item.reason}" for item in skipped[:5]) or "the folder is empty"
        raise CollectionError(f"{folder}: no usable document ({reasons})")
    for item in skipped:
        logger.warning("%s: skipped %s: %s", folder.name, item.document_id, item.reason)


def _read_beir_document(document_id: str, title: str, text: str, settings: DocumentsSettings) -> Document | SkippedDocument:
    if is_binary(text):
        return SkippedDocument(document_id, "binary data")
    title, text = composed(title), composed(text)
    # BEIR searches title and text together: a document may consist of its title alone.
    text = text if text.strip() else title
    return _checked(Document(document_id, own_title(title, text), text), settings)


def _read_files(listing: Listing, settings: DocumentsSettings, memos: Path | None) -> Iterator[Document | SkippedDocument]:
    reasons = {document_id: _reason_to_skip(path, settings) for document_id, path in listing.files.items()}
    files = {document_id: path for document_id, path in listing.files.items() if not reasons[document_id]}
    site = {name: path for name, path in files.items() if ending_of(name) in HAS_MENUS}
    # What stands on most pages of a site is known when all of them are read.
    pages = dict(convert_files(site, settings, memos))
    pages |= without_menus({name: page for name, page in pages.items() if isinstance(page, Converted)})
    others = convert_files({name: path for name, path in files.items() if name not in site}, settings, memos)
    for document_id in listing.files:
        if reasons[document_id]:
            page: Converted | str = reasons[document_id]
        else:
            page = pages.pop(document_id) if document_id in site else next(others)[1]
        if isinstance(page, Converted):
            yield _checked(_document(document_id, page), settings)
        else:
            yield SkippedDocument(document_id, page)
    next(others, None)  # the memo gets the last ones


def _reason_to_skip(path: Path, settings: DocumentsSettings) -> str:
    extension = ending_of(path.name)
    if extension not in settings.extensions:
        return f"{extension or 'no'} extension is not among {', '.join(settings.extensions)}"
    size = path.stat().st_size
    if size > settings.max_megabytes * 1e6:
        return f"{size / 1e6:.1f} MB is more than {settings.max_megabytes} MB"
    return "empty file" if size == 0 else ""


def _document(document_id: str, page: Converted) -> Document:
    title = page.title or (title_heading(page.text) if page.markdown else "") or PurePosixPath(document_id).stem
    metadata = json.dumps(page.metadata, ensure_ascii=False, sort_keys=True)
    return Document(document_id, shorten(title, LONGEST_HEADING), page.text, page.markdown, metadata, "; ".join(page.notes))


def _checked(document: Document, settings: DocumentsSettings) -> Document | SkippedDocument:
    characters = len(document.text.strip())
    if characters < settings.min_characters:
        return SkippedDocument(document.document_id, f"{characters} characters of text are fewer than {settings.min_characters}")
    return document
