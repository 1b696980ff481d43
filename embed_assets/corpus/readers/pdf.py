"""PDF files."""

import re
from collections import Counter

from embed_assets.corpus.readers.converted import Converted, UnreadableError

# The hyphen that pdfium puts for one at the end of a line.
_LINE_HYPHEN = re.compile(r"(\w+)[\ufffe\u00ad\x02](?:\r?\n)?[ ]?(\w+)|(\w+)-\r?\n(\w+)")
_LIGATURES = str.maketrans({"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"})
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f\ufffe\uffff]")
_EDGE_LINES = 2


def read_pdf(content: bytes) -> Converted:
    """The text layer of a PDF file, without the heads, feet and numbers of its pages.

    Raises:
        UnreadableError: it is protected by a password, broken, or has pictures of text alone.
    """
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise UnreadableError("protected by a password") from None
        raise UnreadableError(f"broken PDF: {error}") from None
    pages = []
    for page in document:
        text_page = page.get_textpage()
        pages.append(_CONTROLS.sub("", _joined_words(text_page.get_text_bounded())).translate(_LIGATURES))
        text_page.close()
        page.close()
    notes = []
    if empty := [number for number, page in enumerate(pages, start=1) if not page.strip()]:
        if len(empty) == len(pages):
            raise UnreadableError(f"no text layer: its {len(pages)} pages are pictures; run text recognition (OCR) over it first")
        notes.append(f"{len(empty)} of {len(pages)} pages have no text layer: {', '.join(map(str, empty[:20]))}")
    if document.get_formtype():
        notes.append("values of form boxes left out")
    if attachments := document.count_attachments():
        notes.append(f"{attachments} attached files left out")
    return Converted("\n\n".join(filter(None, map(_paragraphs, _without_edges(pages)))), markdown=False, notes=tuple(notes))


def _joined_words(page: str) -> str:
    """Words that were cut at the end of a line, whole again; a compound that the page has elsewhere keeps its hyphen."""
    whole = set(re.findall(r"[\w-]+", page))

    def join(match: re.Match) -> str:
        first, second = (match[1], match[2]) if match[1] else (match[3], match[4])
        if not first[-1].isalpha() or not second[0].islower() or f"{first}-{second}" in whole:
            return f"{first}-{second}"
        return first + second

    return _LINE_HYPHEN.sub(join, page.replace("\r\n", "\n").replace("\r", "\n"))


def _without_edges(pages: list[str]) -> list[list[str]]:
    """The lines of the pages without those at their edges that stand on most pages, numbers aside, or are page numbers."""
    lines = [[line.strip() for line in page.splitlines() if line.strip()] for page in pages]
    edges = Counter(key for page in lines for key in {_edge_key(line) for line in page[:_EDGE_LINES] + page[-_EDGE_LINES:]})
    repeated = {key for key, number in edges.items() if number >= max(3, len(pages) / 3)}

    def is_edge(line: str) -> bool:
        return len(pages) > 2 and (
            _edge_key(line) in repeated or re.fullmatch(r"[-–—\s]*(?:\d{1,4}|[ivxlc]{1,6})[-–—\s]*", line) is not None
        )

    kept = []
    for page in lines:
        first = next((i for i, line in enumerate(page[:_EDGE_LINES]) if not is_edge(line)), min(len(page), _EDGE_LINES))
        last = len(page)
        while last > first and len(page) - last < _EDGE_LINES and is_edge(page[last - 1]):
            last -= 1
        kept.append(page[first:last])
    return kept


def _edge_key(line: str) -> str:
    return re.sub(r"\d+|\b[ivxlc]+\b", "#", line.lower())


def _paragraphs(lines: list[str]) -> str:
    """Lines that go on in the next one, in one line."""
    text = "\n".join(lines)
    return re.sub(r"(?<=[\w,;])\n(?=[a-zà-ÿ(])", " ", text)
