"""PDF files."""

import itertools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from embed_assets.corpus.encodings import with_newlines
from embed_assets.corpus.readers.converted import Converted, UnreadableError
from embed_assets.corpus.readers.pdf_headings import as_text, bookmarked, large_lines, printed_title, with_headings
from embed_assets.corpus.readers.printed_pages import compounds_of, joined_words, without_edges

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

_LIGATURES = str.maketrans({"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"})
# As they are printed; the last ones are those of Word's symbol fonts.
_BULLET = re.compile(r"^[•‣▪●○◦■\uf0b7\uf0a7\uf0a8\uf0d8\uf0fc\uf076][ \t]+(?=\S)")
_OF_THE_FONT = re.compile("[\ue000-\uf8ff\ufffd]")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f\ufffe\uffff]")


def read_pdf(content: bytes) -> Converted:
    """The text layer of a PDF file with the values of its forms, without the heads, feet and numbers of its pages.

    Raises:
        UnreadableError: it is protected, broken, or has pictures of text alone.
    """
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise UnreadableError("protected by a password") from None
        if "security" in str(error).lower():
            raise UnreadableError("protected by rights management (DRM)") from None
        raise UnreadableError(f"broken PDF: {error}") from None
    if document.get_formtype():
        document.init_forms()
    comments, broken, texts = 0, set(), []
    for number in range(len(document)):
        try:
            text, beside = _page(document, number)
        except pypdfium2.PdfiumError:  # the other pages are read
            text, beside = "", 0
            broken.add(number + 1)
        texts.append(text)
        comments += beside
    if len(broken) == len(texts):
        raise UnreadableError("broken PDF: none of its pages can be opened")
    compounds = compounds_of("\n".join(texts))
    pages = [_CONTROLS.sub("", joined_words(with_newlines(text), compounds)).translate(_LIGATURES) for text in texts]
    unnamed = [number for number, page in enumerate(pages) if _has_no_names(page)]
    for number in unnamed:
        pages[number] = ""
    notes = []
    if empty := [number for number, page in enumerate(pages, start=1) if not page.strip() and number not in broken]:
        if len(empty) == len(pages):
            pictures = "pictures, or in fonts that do not name their letters" if unnamed else "pictures"
            raise UnreadableError(
                f"no text layer: its {len(pages)} pages are {pictures}; run text recognition (OCR) over it first"
            )
        notes.append(f"{len(empty)} of {len(pages)} pages have no text layer: {', '.join(map(str, empty[:20]))}")
    notes += [f"{len(broken)} of {len(pages)} pages are broken: {', '.join(map(str, sorted(broken)[:20]))}"] if broken else []
    notes += [f"{comments} comments left out"] if comments else []
    if attachments := document.count_attachments():
        notes.append(f"{attachments} attached files left out")
    lines = [
        [_BULLET.sub("- ", line.strip()) for line in page if line.strip()]
        for page in without_edges([page.splitlines() for page in pages])
    ]
    marked = _with_levels(document, lines)
    is_markdown = any(level for page in marked for level, _ in page)
    text = "\n\n".join(filter(None, (_paragraphs(page, is_markdown) for page in marked)))
    return Converted(text, _title(document, pages[0]), markdown=is_markdown, notes=tuple(notes))


def _page(document: "PdfDocument", number: int) -> tuple[str, int]:
    """The text of a page, and how many comments somebody pinned to it."""
    import pypdfium2.raw as pdfium

    page = document[number]
    kinds = []
    for i in range(pdfium.FPDFPage_GetAnnotCount(page)):
        annotation = pdfium.FPDFPage_GetAnnot(page, i)
        kinds.append(pdfium.FPDFAnnot_GetSubtype(annotation))
        pdfium.FPDFPage_CloseAnnot(annotation)
    if page.formenv and pdfium.FPDF_ANNOT_WIDGET in kinds:
        page.flatten()  # which makes the values of boxes a part of the page; it has to be opened again
        page.close()
        page = document[number]
    text_page = page.get_textpage()
    # What was cut off is not seen. Elsewhere all is taken: the bounds of a turned page are others than those of its text.
    cut = page.get_cropbox() != page.get_mediabox()
    text = text_page.get_text_bounded(*page.get_cropbox()) if cut else text_page.get_text_range()
    text_page.close()
    page.close()
    return text, kinds.count(pdfium.FPDF_ANNOT_TEXT)


def _has_no_names(page: str) -> bool:
    """Whether most of a page is in characters that mean something to its own fonts alone."""
    return 2 * len(_OF_THE_FONT.findall(page)) > len("".join(page.split()))


def _with_levels(document: "PdfDocument", pages: Sequence[Sequence[str]]) -> list[list[tuple[int, str]]]:
    """The lines of each page with their levels: those that bookmarks name are headings; where there are none, large ones."""
    for headings_of in (bookmarked, large_lines):
        headings = headings_of(document)
        marked = [list(with_headings(page, headings.get(number, ()))) for number, page in enumerate(pages)]
        if any(level for page in marked for level, _ in page):
            break
    return marked


def _title(document: "PdfDocument", page: str) -> str:
    """The title among the file's properties, if the first page has its words: others are those of a template or a program.

    Else what the first page has in its largest letters.
    """
    title = " ".join(document.get_metadata_value("Title").split())
    words = re.findall(r"\w+", title.lower())
    return title if words and set(words) <= set(re.findall(r"\w+", page.lower())) else printed_title(document)


def _paragraphs(lines: Sequence[tuple[int, str]], is_markdown: bool) -> str:
    """The lines of a page, with their levels (with_headings), as text: those that go on in the next one, in one line."""
    parts = []
    for level, run in itertools.groupby(lines, key=lambda line: line[0]):
        words = [line for _, line in run]
        if level:
            parts += [f"{'#' * level} {heading}" for heading in words]
        else:
            text = "\n".join(map(as_text, words) if is_markdown else words)
            parts.append(re.sub(r"(?<=[\w,;])\n(?=[a-zà-ÿ(])", " ", text))
    return "\n\n".join(parts)
