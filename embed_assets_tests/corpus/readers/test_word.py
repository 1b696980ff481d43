"""Word files with what Word and its kin put around, and beside, the paragraphs."""

import io
import zipfile

import pytest

from embed_assets.corpus.documents import _document
from embed_assets_tests.corpus.readers.test_conversion import docx, read

OFFICE = "http://schemas.openxmlformats.org"
NAMES = (
    f'xmlns:mc="{OFFICE}/markup-compatibility/2006" xmlns:m="{OFFICE}/officeDocument/2006/math" '
    'xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape" xmlns:v="urn:schemas-microsoft-com:vml"'
)


def words(text: str, style: str = "") -> str:
    styled = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{styled}<w:r><w:t>{text}</w:t></w:r></w:p>"


def box(text: str) -> str:
    return f"<w:txbxContent>{words(text)}</w:txbxContent>"


def drawing(text: str) -> str:
    return f"<w:drawing><wps:txbx {NAMES}>{box(text)}</wps:txbx></w:drawing>"


def with_parts(content: bytes, **parts: str) -> bytes:
    out = io.BytesIO(content)
    with zipfile.ZipFile(out, "a") as archive:
        for name, text in parts.items():
            archive.writestr(f"word/{name}.xml", text)
        related = [
            f'<Relationship Id="{name}" Type="{OFFICE}/officeDocument/2006/relationships/{name}" Target="{name}.xml"/>'
            for name in parts
        ]
        archive.writestr(
            "word/_rels/document.xml.rels",
            f'<Relationships xmlns="{OFFICE}/package/2006/relationships">{"".join(related)}</Relationships>',
        )
    return out.getvalue()


@pytest.mark.parametrize(
    "run",
    [
        drawing("Torque 40"),
        f"<mc:AlternateContent {NAMES}><mc:Choice>{drawing('Torque 40')}</mc:Choice></mc:AlternateContent>",
        f"<mc:AlternateContent {NAMES}><mc:Choice>{drawing('Torque 40')}</mc:Choice><mc:Fallback><w:pict><v:shape><v:textbox>"
        f"{box('Torque 40')}</v:textbox></v:shape></w:pict></mc:Fallback></mc:AlternateContent>",
    ],
)
def test_the_words_of_a_text_box_are_read_once_whichever_program_drew_it(run):
    text = read(".docx", docx(f"<w:p><w:r><w:t>Before</w:t></w:r><w:r>{run}</w:r></w:p>{words('After')}")).text
    assert text.split() == ["Before", "Torque", "40", "After"]


def test_formulas_are_text_in_one_line_and_hidden_text_is_none():
    fraction = "<m:f><m:num><m:r><m:t>a+b</m:t></m:r></m:num><m:den><m:r><m:t>2</m:t></m:r></m:den></m:f>"
    power = "<m:sSup><m:e><m:r><m:t>x</m:t></m:r></m:e><m:sup><m:r><m:t>2</m:t></m:r></m:sup></m:sSup>"
    hidden = (
        "<w:r><w:rPr><w:vanish/></w:rPr><w:t>draft</w:t></w:r><w:r><w:rPr><w:vanish w:val='0'/></w:rPr><w:t>shown</w:t></w:r>"
    )
    inline = f"<w:p><w:r><w:t xml:space='preserve'>Mean </w:t></w:r><m:oMath {NAMES}>{fraction}</m:oMath></w:p>"
    page = read(
        ".docx", docx(f"{inline}<w:p><m:oMathPara {NAMES}><m:oMath>{power}</m:oMath></m:oMathPara></w:p><w:p>{hidden}</w:p>")
    )
    assert page.text == "Mean (a+b)/2\n\nx^2\n\nshown" and page.notes == ()


def test_headings_are_known_by_name_level_and_descent_and_code_keeps_its_blanks():
    word = f"{OFFICE}/wordprocessingml/2006/main"
    kinds = [
        ("kop1", '<w:name w:val="heading 1"/>'),
        ("own", '<w:name w:val="Chapter"/><w:basedOn w:val="kop1"/>'),
        ("level", '<w:name w:val="Part"/><w:pPr><w:outlineLvl w:val="1"/></w:pPr>'),
        ("titel", '<w:name w:val="Title"/>'),
        ("loop", '<w:name w:val="Loop"/><w:basedOn w:val="loop"/>'),
        ("src", '<w:name w:val="Source Code"/>'),
        ("1", '<w:name w:val="Figure"/><w:basedOn w:val="kop1"/>'),
    ]
    styles = "".join(f'<w:style w:type="paragraph" w:styleId="{name}">{inner}</w:style>' for name, inner in kinds)
    body = words("Pumps", "titel") + words("Start", "own") + words("Valves", "level") + words("plain", "loop")
    body += (
        words("if x:", "src")
        + '<w:p><w:pPr><w:pStyle w:val="src"/></w:pPr><w:r><w:t xml:space="preserve">    y()</w:t></w:r></w:p>'
    )
    page = read(".docx", with_parts(docx(body), styles=f'<w:styles xmlns:w="{word}">{styles}</w:styles>'))
    assert page.text == "# Pumps\n\n# Start\n\n## Valves\n\nplain\n\n```\nif x:\n    y()\n```"
    assert _document("a.docx", page).title == "Pumps" and page.notes == ()


def test_what_stands_beside_the_text_is_listed():
    word = f'xmlns:w="{OFFICE}/wordprocessingml/2006/main"'
    head = f"<w:hdr {word}>{words('Confidential')}</w:hdr>"
    comments = f'<w:comments {word}><w:comment w:id="1">{words("Is that so?")}</w:comment></w:comments>'
    page = read(".docx", with_parts(docx(words("Text.")), comments=comments, header1=head))
    assert page.notes == ("1 comments left out", "heads and feet of the pages left out")


@pytest.mark.parametrize(("title", "expected"), [("Pump &amp; valve", "Pump & valve"), ("Microsoft Word - x.doc", "f")])
def test_a_file_without_headings_has_the_title_of_its_properties(title, expected):
    out = io.BytesIO(docx(words("Text.")))
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("docProps/core.xml", f'<a xmlns:dc="x"><dc:title>{title}</dc:title></a>')
    assert _document("f.docx", read(".docx", out.getvalue())).title == expected


def test_characters_with_their_reading_above_them_are_read():
    ruby = "<w:ruby><w:rt><w:r><w:t>かんじ</w:t></w:r></w:rt><w:rubyBase><w:r><w:t>漢字</w:t></w:r></w:rubyBase></w:ruby>"
    assert read(".docx", docx(f"<w:p><w:r>{ruby}</w:r><w:r><w:t>です</w:t></w:r></w:p>")).text == "漢字(かんじ)です"
