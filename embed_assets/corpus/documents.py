"""Source documents: a folder of files, or a BEIR corpus."""

import html
import io
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from embed_assets.artifacts.files import digest_of_files, digests_of_files
from embed_assets.artifacts.workspace import CollectionError
from embed_assets.corpus.beir import CORPUS, find_file, read_corpus
from embed_assets.corpus.settings import DocumentsSettings
from embed_assets.progress import track

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Document:
    """One source document as Markdown or plain text.

    The id is the path below ``documents/`` with forward slashes, or the ``_id`` of a BEIR corpus.
    """

    document_id: str
    title: str
    text: str


@dataclass(frozen=True)
class SkippedDocument:
    """A source that gave no document, and why."""

    document_id: str
    reason: str


def source_files(folder: Path) -> list[Path]:
    """The files that the documents of a collection are read from, sorted; hidden files are left out.

    Raises:
        CollectionError: there are none.
    """
    if (folder / "documents").is_dir():
        paths = (folder / "documents").rglob("*")
        return sorted(path for path in paths if path.is_file() and not _is_hidden(path, folder))
    if (corpus := find_file(folder, CORPUS)) is None:
        raise CollectionError(f"{folder}: there is neither documents/ nor corpus.jsonl, and its settings name no production.uri")
    return [corpus]


def source_digest(folder: Path, anew: bool = False) -> str:
    """Hash of the names and bytes of a collection's source files; ``anew`` as in digests_of_files."""
    return digest_of_files(folder, source_files(folder), anew)


def source_parts(folder: Path) -> dict[str, str]:
    """Hash of each source file by its name."""
    return digests_of_files(folder, source_files(folder))


def read_documents(folder: Path, settings: DocumentsSettings) -> tuple[list[Document], list[SkippedDocument]]:
    """Read the documents of a collection.

    Args:
        folder: holds ``documents/`` or ``corpus.jsonl``.
        settings: which files are read.

    Returns:
        The documents and the files that were skipped, each with the reason.

    Raises:
        CollectionError: no usable document is left, or corpus.jsonl is malformed (the line is named).
    """
    if (folder / "documents").is_dir():
        found = [_read_file(path, folder / "documents", settings) for path in track(source_files(folder), "reading documents")]
    else:
        found = [_read_beir_document(*row, settings) for row in read_corpus(source_files(folder)[0])]
    documents = [item for item in found if isinstance(item, Document)]
    skipped = [item for item in found if isinstance(item, SkippedDocument)]
    if not documents:
        reasons = "; ".join(f"{item.document_id}: {item.reason}" for item in skipped[:5]) or "the folder is empty"
        raise CollectionError(f"{folder}: no usable document ({reasons})")
    for item in skipped:
        logger.warning("%s: skipped %s: %s", folder.name, item.document_id, item.reason)
    return documents, skipped


def _read_beir_document(document_id: str, title: str, text: str, settings: DocumentsSettings) -> Document | SkippedDocument:
    # BEIR searches title and text together: a document may consist of its title alone.
    return _checked(Document(document_id, title, text) if text.strip() else Document(document_id, "", title), settings)


def _read_file(path: Path, root: Path, settings: DocumentsSettings) -> Document | SkippedDocument:
    document_id = path.relative_to(root).as_posix()
    extension = path.suffix.lower()
    if extension not in settings.extensions:
        return SkippedDocument(document_id, f"{extension or 'no'} extension is not among {', '.join(settings.extensions)}")
    size = path.stat().st_size
    if size > settings.max_megabytes * 1e6:
        return SkippedDocument(document_id, f"{size / 1e6:.1f} MB is more than {settings.max_megabytes} MB")
    if size == 0:
        return SkippedDocument(document_id, "empty file")
    read = _READERS.get(extension, _read_text)
    try:
        title, text = read(path)
    except UnicodeDecodeError:
        return SkippedDocument(document_id, "not UTF-8 text")
    except Exception as error:  # a converter may raise anything on a broken file, which must not stop the others
        return SkippedDocument(document_id, f"unreadable: {type(error).__name__}: {str(error).strip()[:200]}")
    return _checked(
        Document(document_id, title or next((name for _, _, name in markdown_headings(text) if name), path.stem), text), settings
    )


def _checked(document: Document, settings: DocumentsSettings) -> Document | SkippedDocument:
    if "\0" in document.text:
        return SkippedDocument(document.document_id, "binary data")
    characters = len(document.text.strip())
    if characters < settings.min_characters:
        return SkippedDocument(document.document_id, f"{characters} characters of text are fewer than {settings.min_characters}")
    return document


def _read_text(path: Path) -> tuple[str, str]:
    return "", path.read_text(encoding="utf-8-sig")


def _read_restructured_text(path: Path) -> tuple[str, str]:
    from docutils.core import publish_string

    page = publish_string(
        path.read_text(encoding="utf-8-sig"),
        writer="html5",
        settings_overrides={
            "report_level": 5,
            "halt_level": 5,
            "file_insertion_enabled": False,
            "raw_enabled": False,
            "output_encoding": "unicode",
            "embed_stylesheet": False,
        },
    )
    title, text = _convert(page.encode(), ".html")
    return "" if title == "<string>" else title, text


def _read_office_file(path: Path) -> tuple[str, str]:
    return _convert(path.read_bytes(), path.suffix.lower())


def _read_html(path: Path) -> tuple[str, str]:
    from bs4.dammit import EncodingDetector

    page = path.read_bytes()
    try:
        page.decode()
    except UnicodeDecodeError:
        # What a browser takes where the page does not say.
        encoding = EncodingDetector.find_declared_encoding(page, is_html=True) or "windows-1252"
        page = page.decode(encoding).encode()
    return _convert(page, ".html")


def _convert(content: bytes, extension: str) -> tuple[str, str]:
    """Title and Markdown of a file, by the converter of its kind alone: MarkItDown's fallback reads anything as text."""
    from markitdown import MarkItDown, StreamInfo
    from markitdown.converters import DocxConverter, HtmlConverter, PdfConverter

    converter = MarkItDown(enable_builtins=False, enable_plugins=False)
    converter.register_converter({".html": HtmlConverter, ".docx": DocxConverter, ".pdf": PdfConverter}[extension]())
    result = converter.convert_stream(io.BytesIO(content), stream_info=StreamInfo(extension=extension, charset="utf-8"))
    return html.unescape(result.title or "").strip(), result.markdown


_READERS: dict[str, Callable[[Path], tuple[str, str]]] = {
    ".rst": _read_restructured_text,
    ".html": _read_html,
    ".htm": _read_html,
    ".pdf": _read_office_file,
    ".docx": _read_office_file,
}


def markdown_headings(text: str) -> list[tuple[int, int, str]]:
    """(offset in characters, level, title) of every heading of a Markdown text, in order."""
    from markdown_it import MarkdownIt

    line_starts = [0, *(match.end() for match in re.finditer(r"\r\n?|\n", text))]
    tokens = MarkdownIt("commonmark").parse(text)
    return [
        (line_starts[token.map[0]], int(token.tag[1:]), tokens[i + 1].content.strip())
        for i, token in enumerate(tokens)
        if token.type == "heading_open" and token.map
    ]


def _is_hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)
