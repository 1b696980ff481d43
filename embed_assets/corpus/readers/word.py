"""Word files."""

import io
import re
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

from embed_assets.corpus.readers.converted import Converted
from embed_assets.corpus.readers.html import parse, to_markdown
from embed_assets.corpus.readers.office import core_title, open_zip

if TYPE_CHECKING:
    from lxml.etree import _Element

_WRAPPER = re.compile(rb"</?w:(?:fldSimple|moveTo|dir|bdo)(?=[\s/>])[^>]*>")
_NEEDS_A_TREE = re.compile(rb"txbxContent|oMath|<w:vanish|<w:ruby>")
_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_ALTERNATIVES = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_SHAPE = "{urn:schemas-microsoft-com:vml}"
_CODE_STYLES = ("HTML Preformatted", "Preformatted Text", "Source Code", "Code", "Code Block")
# How formulas are written in one line; the names are those of the parts of an element.
_FORMULAS = {
    "f": ("num", "/", "den"),
    "sSup": ("e", "^", "sup"),
    "sSub": ("e", "_", "sub"),
    "sSubSup": ("e", "_", "sub", "^", "sup"),
    "rad": ("√", "e"),
    "d": ("(", "e", ")"),
}


def read_docx(content: bytes) -> Converted:
    """A Word file with its headings, lists, tables, notes and text boxes, as it looks with all changes accepted."""
    import mammoth

    pictures = [0]

    def picture(image) -> dict[str, str]:
        pictures[0] += 1
        return {"src": ""}

    archive = open_zip(content)
    style_map = "\n".join(_style_map(archive))
    result = mammoth.convert_to_html(_readable(archive), convert_image=picture_converter(picture), style_map=style_map)
    ignored = sorted(
        {m.message.removeprefix("An unrecognised element was ignored: ") for m in result.messages if "ignored" in m.message}
    )
    notes = [f"Word elements left out: {', '.join(ignored)}"] if ignored else []
    notes += [f"{pictures[0]} pictures left out"] if pictures[0] else []
    notes += _left_out(archive)
    soup = parse(re.sub(r'<a href="#(?:foot|end)note-ref-[^>]*>↑</a>', "", result.value))
    text = to_markdown(soup)
    # The title among a file's properties is often that of the file it was copied from: a heading says more.
    title = "" if re.search(r"^#", text, re.MULTILINE) else core_title(archive, "docProps/core.xml")
    return Converted(text, title, notes=tuple(notes))


def picture_converter(picture):
    """A converter of pictures for mammoth that keeps their alternative text and opens none."""
    import mammoth.html as html

    def convert(image) -> list:
        attributes = picture(image) | ({"alt": image.alt_text} if image.alt_text else {})
        return [html.element("img", attributes)]

    return convert


def _style_map(archive: zipfile.ZipFile) -> Iterator[str]:
    """Which styles are headings or code: by their names, by their outline level, or by the style that they are based on."""
    yield "p[style-name='Title'] => h1:fresh"
    yield from (f"p[style-name='{name}'] => pre:separator('\\n')" for name in _CODE_STYLES)
    if "word/styles.xml" not in archive.namelist():
        return
    styles = {style.get(f"{_WORD}styleId") or "": style for style in _tree(archive.read("word/styles.xml")).iter(f"{_WORD}style")}
    for name, style in styles.items():
        if style.get(f"{_WORD}type") != "paragraph" or not re.fullmatch(r"[A-Za-z_-][\w-]*", name, re.ASCII):
            continue
        level, seen = None, set()
        while style is not None and level is None and style not in seen:
            seen.add(style)
            outline, own_name = style.find(f"{_WORD}pPr/{_WORD}outlineLvl"), _value(style.find(f"{_WORD}name"))
            if outline is not None and _value(outline).isdecimal():
                level = int(_value(outline)) + 1
            elif heading := re.fullmatch(r"heading ([1-9])", own_name, re.IGNORECASE):
                level = int(heading[1])
            style = styles.get(_value(style.find(f"{_WORD}basedOn")))
        if level is not None and level <= 6:
            yield f"p.{name} => h{level}:fresh"


def _value(element: "_Element | None") -> str:
    return "" if element is None else element.get(f"{_WORD}val") or ""


def _tree(xml: bytes) -> "_Element":
    """The tree of a part of the file; entities stay what they are, so that none grows."""
    from lxml import etree

    return etree.fromstring(xml, etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True))


def _readable(archive: zipfile.ZipFile) -> io.BytesIO:
    """The file without what mammoth passes over with all that it holds: fields, moves, directions, boxes, formulas."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as copy:
        for name in archive.namelist():
            data = archive.read(name)
            if re.fullmatch(r"word/\w+\.xml", name):
                data = _WRAPPER.sub(b"", data).replace(b"<w:cr/>", b"<w:br/>")
                data = _with_plain_parts(data) if _NEEDS_A_TREE.search(data) else data
            copy.writestr(name, data)
    out.seek(0)
    return out


def _with_plain_parts(xml: bytes) -> bytes:
    """A part of the file with its boxes as mammoth knows them, its formulas and ruby as text, and without hidden text."""
    from lxml import etree

    tree = _tree(xml)
    for hidden in list(tree.iter(f"{_WORD}vanish")):
        run = hidden.getparent().getparent()
        if run.tag == f"{_WORD}r" and _value(hidden) not in ("0", "false"):
            run.getparent().remove(run)
    for drawing in list(tree.iter(f"{_ALTERNATIVES}AlternateContent", f"{_WORD}drawing")):
        _show_boxes(drawing)
    for ruby in list(tree.iter(f"{_WORD}ruby")):
        words, reading = (
            "".join(text.text or "" for part in ruby.iterfind(f"{_WORD}{name}") for text in part.iter(f"{_WORD}t"))
            for name in ("rubyBase", "rt")
        )
        shown = etree.Element(f"{_WORD}t")
        shown.text = f"{words}({reading})" if reading else words
        ruby.getparent().replace(ruby, shown)
    for formula in list(tree.iter(f"{_MATH}oMath")):
        run = etree.Element(f"{_WORD}r")
        text = etree.SubElement(run, f"{_WORD}t")
        text.text = _formula(formula)
        run.tail = formula.tail
        formula.getparent().replace(formula, run)
    for paragraph in list(tree.iter(f"{_MATH}oMathPara")):
        paragraph.tag = f"{_WORD}smartTag"  # whose content is read
    return etree.tostring(tree)


def _show_boxes(drawing: "_Element") -> None:
    """Text boxes that mammoth does not read, in the form in which it does; it reads those of a fallback."""
    from lxml import etree

    parent = drawing.getparent()
    if parent is None or next(drawing.iterancestors(f"{_ALTERNATIVES}AlternateContent"), None) is not None:
        return
    fallback = drawing.find(f"{_ALTERNATIVES}Fallback")
    if fallback is not None and next(fallback.iter(f"{_WORD}txbxContent"), None) is not None:
        return
    for box in list(drawing.iter(f"{_WORD}txbxContent")):
        shown = etree.Element(f"{_WORD}pict")
        etree.SubElement(etree.SubElement(shown, f"{_SHAPE}shape"), f"{_SHAPE}textbox").append(box)
        parent.insert(parent.index(drawing), shown)


def _formula(element: "_Element") -> str:
    """A formula in one line: (a+b)/2, x^2."""
    kind = str(element.tag).removeprefix(_MATH)
    if kind == "t":
        return element.text or ""
    if kind not in _FORMULAS:
        return "".join(map(_formula, element))
    parts = []
    for name in _FORMULAS[kind]:
        part = "".join(map(_formula, element.findall(f"{_MATH}{name}"))) if name.isalpha() else name
        parts.append(f"({part})" if name.isalpha() and kind != "d" and len(part) > 1 and not part.isalnum() else part)
    return "".join(parts)


def _left_out(archive: zipfile.ZipFile) -> list[str]:
    """What else there is in the file, and is not read."""
    names = archive.namelist()
    notes = []
    if "word/comments.xml" in names and (count := archive.read("word/comments.xml").count(b"<w:comment ")):
        notes.append(f"{count} comments left out")
    edges = [name for name in names if re.fullmatch(r"word/(?:header|footer)\d*\.xml", name)]
    if any(re.search(rb"<w:t[ >]", archive.read(name)) for name in edges):
        notes.append("heads and feet of the pages left out")
    objects = [name for name in names if re.fullmatch(r"word/(?:charts/chart\d*\.xml|diagrams/data\d*\.xml|embeddings/.+)", name)]
    if objects:
        notes.append(f"{len(objects)} charts, diagrams and objects left out")
    return notes
