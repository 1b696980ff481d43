"""PDF files."""

import re
from collections import defaultdict
from collections.abc import Container, Iterator
from typing import TYPE_CHECKING

from embed_assets.corpus.readers.converted import Converted, UnreadableError

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

# The hyphen that pdfium puts for one at the end of a line.
_LINE_HYPHEN = re.compile(r"\b(\w+)[\ufffe\u00ad\x02](?:\r?\n)?[ ]?(\w+)|\b(\w+)[-\u2010]\r?\n(\w+)")
_LIGATURES = str.maketrans({"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"})
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f\ufffe\uffff]")
_EDGE_LINES, FEWEST_PAGES = 2, 3
LONGEST_HEAD = 500  # characters; numbers of longer lines are none of pages
_NUMBER = re.compile(r"(?<![\d.,])\d{1,5}(?![\d.,]*\d)|\b[ivxlc]{1,6}\b")
_PAGE_NUMBER = re.compile(r"[-–—\s]*(?:\d{1,4}|[ivxlc]{1,6})[-–—\s]*")


def read_pdf(content: bytes) -> Converted:
    """The text layer of a PDF file with the values of its forms, without the heads, feet and numbers of its pages.

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
    compounds = set(re.findall(r"\b\w+(?:-\w+)+", "\n".join(texts)))
    pages = [_CONTROLS.sub("", _joined_words(text, compounds)).translate(_LIGATURES) for text in texts]
    notes = []
    if empty := [number for number, page in enumerate(pages, start=1) if not page.strip() and number not in broken]:
        if len(empty) == len(pages):
            raise UnreadableError(f"no text layer: its {len(pages)} pages are pictures; run text recognition (OCR) over it first")
        notes.append(f"{len(empty)} of {len(pages)} pages have no text layer: {', '.join(map(str, empty[:20]))}")
    notes += [f"{len(broken)} of {len(pages)} pages are broken: {', '.join(map(str, sorted(broken)[:20]))}"] if broken else []
    notes += [f"{comments} comments left out"] if comments else []
    if attachments := document.count_attachments():
        notes.append(f"{attachments} attached files left out")
    text = "\n\n".join(filter(None, map(_paragraphs, _without_edges(pages))))
    return Converted(text, _title(document, pages[0]), markdown=False, notes=tuple(notes))


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


def _title(document: "PdfDocument", page: str) -> str:
    """The title among the file's properties, if the first page has its words: others are those of a template or a program."""
    title = " ".join(document.get_metadata_value("Title").split())
    words = re.findall(r"\w+", title.lower())
    return title if words and set(words) <= set(re.findall(r"\w+", page.lower())) else ""


def _joined_words(page: str, compounds: Container[str]) -> str:
    """Words that were cut at the end of a line, whole again; a compound that stands elsewhere keeps its hyphen.

    So does a single letter, as in X-ray and e-mail, which nobody cuts off.
    """

    def join(match: re.Match) -> str:
        first, second = (match[1], match[2]) if match[1] else (match[3], match[4])
        if len(first) == 1 or not first[-1].isalpha() or not second[0].islower() or f"{first}-{second}" in compounds:
            return f"{first}-{second}"
        return first + second

    return _LINE_HYPHEN.sub(join, page.replace("\r\n", "\n").replace("\r", "\n"))


def _without_edges(pages: list[str]) -> list[list[str]]:
    """The lines of the pages without those at their edges that stand on most pages, page numbers aside, or are page numbers.

    All lines where that would leave most pages empty: their words are what the pages are about.
    """
    lines = [[line.strip() for line in page.splitlines() if line.strip()] for page in pages]
    if len(pages) < FEWEST_PAGES:
        return lines
    there: dict[str, set[tuple[int, int]]] = defaultdict(set)
    for number, page in enumerate(lines):
        for line in page[:_EDGE_LINES] + page[-_EDGE_LINES:]:
            for key, value in _edge_keys(line):
                there[key].add((number, number if value is None else value))
    needed = max(FEWEST_PAGES, len(pages) / 3)
    repeated = {key for key, places in there.items() if _following(places) >= needed}

    def is_edge(line: str) -> bool:
        return not repeated.isdisjoint(key for key, _ in _edge_keys(line)) or _PAGE_NUMBER.fullmatch(line) is not None

    kept = []
    for page in lines:
        first = next((i for i, line in enumerate(page[:_EDGE_LINES]) if not is_edge(line)), min(len(page), _EDGE_LINES))
        last = len(page)
        while last > first and len(page) - last < _EDGE_LINES and is_edge(page[last - 1]):
            last -= 1
        kept.append(page[first:last])
    emptied = sum(bool(page) and not rest for page, rest in zip(lines, kept, strict=True))
    return lines if emptied > sum(map(bool, lines)) / 2 else kept


def _edge_keys(line: str) -> Iterator[tuple[str, int | None]]:
    """The line itself, and with each of its numbers in turn left open, and what that number is."""
    line = line.lower()
    yield line, None
    for match in _NUMBER.finditer(line) if len(line) <= LONGEST_HEAD else ():
        yield f"{line[: match.start()]}#{line[match.end() :]}", int(match[0]) if match[0].isdecimal() else _roman(match[0])


def _following(places: set[tuple[int, int]]) -> int:
    """How many of the places (page, number) have a number that goes with the page: that of a chapter or a step does not."""
    return sum(any((page + step, number + step) in places for step in (-2, -1, 1, 2)) for page, number in places)


def _roman(numeral: str) -> int:
    worth = [{"i": 1, "v": 5, "x": 10, "l": 50, "c": 100}[letter] for letter in numeral]
    return sum(-one if one < after else one for one, after in zip(worth, [*worth[1:], 0], strict=True))


def _paragraphs(lines: list[str]) -> str:
    """Lines that go on in the next one, in one line."""
    text = "\n".join(lines)
    return re.sub(r"(?<=[\w,;])\n(?=[a-zà-ÿ(])", " ", text)
