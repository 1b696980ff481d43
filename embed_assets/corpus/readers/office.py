"""PowerPoint, OpenDocument, EPUB and AsciiDoc files, and what all archives of office programs have in common."""

import io
import os
import re
import signal
import subprocess
import zipfile
from dataclasses import replace
from functools import partial
from html import unescape
from itertools import zip_longest

from embed_assets.corpus.readers.converted import Converted, UnreadableError
from embed_assets.corpus.readers.html import parse, to_markdown
from embed_assets.corpus.readers.limits import limit_program

MOST_UNPACKED = 200_000_000
MOST_PARTS = 20_000
PANDOC_SECONDS = 60
_DRAWN = "{urn:oasis:names:tc:opendocument:xmlns:drawing:1.0}"
_ODT_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
_ADOC_COMMENT = re.compile(
    r"^(-{4,}|\.{4,})[ \t]*\n.*?^\1[ \t]*$|^(/{4,})[ \t]*\n.*?(?:^\2[ \t]*$|\Z)|^//(?!/)[^\n]*\n?", re.DOTALL | re.MULTILINE
)


def open_zip(content: bytes) -> zipfile.ZipFile:
    """The archive, if it is one and does not unpack to more than a document ever does.

    Raises:
        UnreadableError: it is no archive, is protected, or unpacks to more than 200 MB.
    """
    if content.startswith(b"\xd0\xcf\x11\xe0"):
        raise UnreadableError("protected by a password, or in the format of Office 97; save it in the current format")
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except (zipfile.BadZipFile, ValueError, OSError, EOFError) as error:
        raise UnreadableError(f"broken archive: {error}") from None
    size = sum(part.file_size for part in archive.infolist())
    if size > MOST_UNPACKED or len(archive.infolist()) > MOST_PARTS:
        raise UnreadableError(f"unpacks to {size / 1e6:.0f} MB in {len(archive.infolist())} parts, more than a document has")
    if any(part.flag_bits & 1 for part in archive.infolist()):
        raise UnreadableError("protected by a password")
    return archive


def read_pptx(content: bytes) -> Converted:
    """The slides of a presentation: titles as headings, text, tables and the speaker's notes."""
    from pptx import Presentation

    open_zip(content)
    deck = Presentation(io.BytesIO(content))
    parts: list[str] = []
    pictures = drawings = 0
    for slide in deck.slides:
        title = slide.shapes.title
        if title is not None and title.text_frame.text.strip():
            parts.append("## " + " ".join(title.text_frame.text.split()))
        shapes = [shape for shape in slide.shapes if title is None or shape.shape_id != title.shape_id]
        while shapes:
            shape = shapes.pop(0)
            if shape.shape_type == 6:  # a group
                shapes = [*shape.shapes, *shapes]
            elif getattr(shape, "has_table", False) and shape.has_table:
                parts.append(table([[cell.text for cell in row.cells] for row in shape.table.rows]))
            elif getattr(shape, "has_chart", False) and shape.has_chart:
                try:
                    parts.append(_chart(shape.chart))
                except Exception:  # of a kind that the library does not know: the rest of the deck is read
                    drawings += 1
            elif shape.has_text_frame and shape.text_frame.text.strip():
                lines = [
                    ("  " * p.level + "- " if p.level else "") + p.text for p in shape.text_frame.paragraphs if p.text.strip()
                ]
                parts.append("\n".join(lines).replace("\x0b", "\n"))
            elif shape.shape_type == 13:
                pictures += 1
            elif shape.element.tag.endswith("}graphicFrame"):
                drawings += 1
        if slide.has_notes_slide and (words := slide.notes_slide.notes_text_frame) is not None and words.text.strip():
            parts.append(words.text.strip())
    notes = tuple(
        f"{count} {what} left out" for count, what in ((pictures, "pictures"), (drawings, "diagrams and objects")) if count
    )
    title = (deck.core_properties.title or "").replace("PowerPoint Presentation", "")
    first = next((part.removeprefix("## ") for part in parts if part.startswith("## ")), "")
    return Converted("\n\n".join(parts), title or first, notes=notes)


def _chart(chart) -> str:
    """The title of a chart, and for each of its plots (bars, lines …) a table of the categories and series."""
    parts = [chart.chart_title.text_frame.text.strip() if chart.has_title and chart.chart_title.has_text_frame else ""]
    for plot in chart.plots:
        names = ["", *(series.name or "" for series in plot.series)]
        columns = [list(map(str, plot.categories)), *(list(map(_figure, series.values)) for series in plot.series)]
        parts.append(table([names, *map(list, zip_longest(*columns, fillvalue=""))]))
    return "\n\n".join(filter(None, parts))


def _figure(value: float | None) -> str:
    """A number of a chart with all its digits; nothing where there is a gap."""
    return "" if value is None else f"{value:.15g}"


def table(rows: list[list[str]]) -> str:
    """Rows as a Markdown table; the first one has the names of the columns."""
    width = max((len(row) for row in rows), default=0)
    cells = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] + [""] * (width - len(row)) for row in rows]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    return "\n".join([*lines[:1], "| " + " | ".join(["---"] * width) + " |", *lines[1:]]) if lines else ""


def core_title(archive: zipfile.ZipFile, part: str) -> str:
    """The title that a file of an office program, or a book, names among its properties; "" if there is none."""
    if part not in archive.namelist():
        return ""
    title = re.search(rb"<dc:title[^>]*>([^<]*)</dc:title>", archive.read(part))
    words = unescape(title[1].decode(errors="replace")).strip() if title else ""
    # Put there by programs, nobody's title.
    return "" if re.match(r"Microsoft (?:Word|PowerPoint) - |(?:PowerPoint Presentation|Untitled)$", words) else words


def read_odt(content: bytes) -> Converted:
    """An OpenDocument text."""
    archive = open_zip(content)
    manifest = "META-INF/manifest.xml"
    if manifest in archive.namelist() and b"encryption-data" in archive.read(manifest):
        raise UnreadableError("protected by a password")
    return replace(_pandoc(_with_boxes(content, archive), "odt"), title=core_title(archive, "meta.xml"))


def _with_boxes(content: bytes, archive: zipfile.ZipFile) -> bytes:
    """The file with what stands in text boxes and shapes, such as captions, behind the paragraph that holds them, for pandoc."""
    from lxml import etree

    page = archive.read("content.xml") if "content.xml" in archive.namelist() else b""
    if not re.search(b"<draw:(?:text-box|custom-shape)", page):
        return content
    tree = etree.fromstring(page, etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True))
    for box in list(tree.iter(f"{_DRAWN}text-box", f"{_DRAWN}custom-shape")):
        block = next(box.iterancestors(f"{_ODT_TEXT}p", f"{_ODT_TEXT}h"), None)
        block = next(box.iterancestors(f"{_DRAWN}frame"), box) if block is None else block  # it belongs to the page
        for part in reversed(box):
            block.addnext(part)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as copy:
        for name in archive.namelist():
            copy.writestr(name, etree.tostring(tree) if name == "content.xml" else archive.read(name))
    return out.getvalue()


def read_epub(content: bytes) -> Converted:
    """An electronic book, its chapters in the order of reading."""
    archive = open_zip(content)
    locked = "META-INF/encryption.xml"
    # Fonts may be encrypted in any book.
    if locked in archive.namelist() and re.search(rb"""URI=["'][^"']+\.x?html?["']""", archive.read(locked)):
        raise UnreadableError("protected against copying (DRM)")
    package = next((name for name in archive.namelist() if name.endswith(".opf")), "")
    return replace(_pandoc(content, "epub"), title=core_title(archive, package))


def read_asciidoc(content: bytes) -> Converted:
    """An AsciiDoc page; ``include::`` is not followed."""
    from embed_assets.corpus.encodings import decode
    from embed_assets.corpus.readers.front_matter import split_front_matter
    from embed_assets.corpus.readers.plain import encoding_notes

    text, encoding = decode(content)
    metadata, text = split_front_matter(text)
    included = len(re.findall(r"^include::", text, re.MULTILINE))
    text = re.sub(r"^(?:include|ifdef|ifndef|endif|ifeval)::.*$", "", text, flags=re.MULTILINE)
    # Comments, and code, in which such lines are none.
    text = _ADOC_COMMENT.sub(lambda match: match[0] if match[1] else "", text)
    title = re.match(r"(?:\s|//.*\n|:!?[\w-]+!?:.*\n)*=[ \t]+(.+)", text)
    attributes = dict(re.findall(r"^:([\w-]+):[ \t]+(\S.*?)[ \t]*$", text, re.MULTILINE))
    page = _pandoc(text.encode(), "asciidoc", *(["--shift-heading-level-by=1"] if title else []))
    notes = (f"directive include left out ({included})",) if included else ()
    words = re.sub(r"\{([\w-]+)\}", lambda name: attributes.get(name[1], name[0]), title[1].strip()) if title else ""
    heading = f"# {words}\n\n" if title else ""
    return Converted(heading + page.text, page.title, True, metadata, (*encoding_notes(encoding), *notes))


def _pandoc(content: bytes, source: str, *options: str) -> Converted:
    """What pandoc reads; its sandbox opens no file, and it has the memory that this process may take."""
    import pypandoc

    done = subprocess.run(
        [
            pypandoc.get_pandoc_path(),
            "--sandbox",
            "-f",
            source,
            "-t",
            "html",
            "--wrap=none",
            "--syntax-highlighting=none",
            *options,
        ],
        input=content,
        capture_output=True,
        preexec_fn=partial(limit_program, PANDOC_SECONDS, os.getpid()),
        check=False,
    )
    # Not by the clock: on a busy machine another try may have enough of it.
    if done.returncode == -signal.SIGXCPU:
        raise UnreadableError(f"pandoc computes for more than {PANDOC_SECONDS} s")
    if b"out of memory" in done.stderr:  # which it is not for good: the limit is a setting
        raise MemoryError
    if done.returncode:
        raise UnreadableError(f"pandoc: {done.stderr.decode(errors='replace').strip()[:200] or f'exit {done.returncode}'}")
    soup = parse(done.stdout.decode(errors="replace"))
    pictures = len(soup.find_all("img"))
    for link in soup.find_all(class_="footnote-back"):
        link.decompose()
    return Converted(to_markdown(soup), notes=(f"{pictures} pictures left out",) if pictures else ())
