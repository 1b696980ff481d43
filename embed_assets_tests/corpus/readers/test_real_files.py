"""Files as office programs write them, made by libraries: no word of them is lost, and all are in their order."""

import email.message
import io
import re
import subprocess
import zipfile
from pathlib import Path

import pytest

from embed_assets.corpus.readers import office
from embed_assets.corpus.readers.conversion import OUT_OF_MEMORY, convert
from embed_assets.corpus.readers.converted import Converted

BOOK = """---
title: Orchard care
---

# Spring

Prune the *pear trees* before the [sap rises](https://example.com/sap).[^wound]

[^wound]: Seal wounds above three centimetres.

- Sharpen the saw
    - Oil its hinge
- Burn sick wood

## Feeding

| Tree | Compost |
|------|--------:|
| Pear | 12 kg   |
| Plum | 9 kg    |

> Never feed after August.

# Autumn

1. Pick at dawn
2. Store at 4 °C

```
crates --count 40
```

Größe und Süße: prüfen!
"""
IN_ORDER = [
    "Spring",
    "Prune",
    "the",
    "pear",
    "trees",
    "before",
    "the",
    "sap",
    "rises",
    "Sharpen",
    "the",
    "saw",
    "Oil",
    "its",
    "hinge",
    "Burn",
    "sick",
    "wood",
    "Feeding",
    "Tree",
    "Compost",
    "Pear",
    "12",
    "kg",
    "Plum",
    "9",
    "kg",
    "Never",
    "feed",
    "after",
    "August",
    "Autumn",
    "Pick",
    "at",
    "dawn",
    "Store",
    "at",
    "4",
    "°C",
    "crates",
    "--count",
    "40",
    "Größe",
    "und",
    "Süße:",
    "prüfen!",
]


def read(content: bytes, extension: str) -> Converted:
    page = convert(content, extension)
    assert isinstance(page, Converted), page
    return page


def assert_in_order(text: str, words: list[str]) -> None:
    place = 0
    for word in words:
        match = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)").search(text, place)
        assert match, f"{word!r} is missing, or stands before {text[max(0, place - 40) : place]!r}"
        place = match.end()


@pytest.mark.parametrize("kind", ["odt", "epub", "docx", "html"])
def test_a_book_keeps_all_its_words(tmp_path: Path, kind: str):
    import pypandoc

    path = tmp_path / f"book.{kind}"
    pypandoc.convert_text(BOOK, kind, format="markdown", outputfile=str(path), extra_args=["--standalone"])
    page = read(path.read_bytes(), f".{kind}")
    assert_in_order(page.text, IN_ORDER)
    assert "Seal wounds above three centimetres." in page.text
    headings = [line for line in page.text.splitlines() if re.fullmatch("#+ (Spring|Feeding|Autumn)", line)]
    assert [heading.lstrip("# ") for heading in headings] == ["Spring", "Feeding", "Autumn"]
    assert "| Pear | 12 kg |" in page.text and "https://" not in page.text and "*" not in page.text


def test_slides_keep_titles_lists_tables_groups_charts_and_notes():
    from pptx import Presentation
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE
    from pptx.util import Inches

    deck, out, box = Presentation(), io.BytesIO(), (Inches(1), Inches(1), Inches(4), Inches(2))
    deck.core_properties.title = "Orchard year"
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text = "Pruning"
    frame = slide.placeholders[1].text_frame
    frame.text = "Saw first"
    inner = frame.add_paragraph()
    inner.text, inner.level = "then shears", 1
    cells = slide.shapes.add_table(2, 2, *box).table
    for row, words in enumerate((("Tree", "Month"), ("Plum", "March"))):
        for column, word in enumerate(words):
            cells.cell(row, column).text = word
    group = slide.shapes.add_group_shape()
    group.shapes.add_textbox(*box).text_frame.text = "Grouped hint"
    slide.notes_slide.notes_text_frame.text = "Say why dry days matter"
    data = CategoryChartData()
    data.categories = ["North", "South"]
    data.add_series("Harvest", (3.5, 7))
    data.add_series("Sold", (None, 1234567))
    second = deck.slides.add_slide(deck.slide_layouts[5])
    second.shapes.title.text = "Yield"
    chart = second.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, *box, data).chart
    chart.has_title = True
    chart.chart_title.text_frame.text = "Tons by slope"
    deck.save(out)
    page = read(out.getvalue(), ".pptx")
    assert page.title == "Orchard year" and page.notes == ()
    words = "Pruning Saw first then shears Tree Month Plum March Grouped hint Say why dry days matter Yield Tons by slope Harvest"
    assert_in_order(page.text, [*words.split(), "Sold", "North", "3.5", "South", "7", "1234567"])
    assert "| North | 3.5 |  |" in page.text
    assert "## Pruning" in page.text and "  - then shears" in page.text and "| Plum | March |" in page.text


def test_workbooks_keep_all_sheets_that_are_shown_dates_numbers_and_merged_cells():
    import datetime

    import openpyxl

    book, out = openpyxl.Workbook(), io.BytesIO()
    book.properties.title = "Store"
    first, second = book.active, book.create_sheet("Staff list")
    first.title = "Fruit"
    for row in (["Fruit in 2026", None, None], ["kind", "kg", "picked"], ["plum", 12.25, datetime.date(2026, 8, 30)]):
        first.append(row)
    first.merge_cells("A1:C1")
    first["B5"] = "far below"
    second.append(["name", "shift"])
    second.append(["Ines | Ana", datetime.time(6, 30)])
    book.save(out)
    page = read(out.getvalue(), ".xlsx")
    assert page.title == "Store"
    words = [
        "Fruit",
        "Fruit in 2026",
        "kind",
        "kg",
        "picked",
        "plum",
        "12.25",
        "2026-08-30",
        "far below",
        "Staff list",
        "name",
        "shift",
    ]
    assert_in_order(page.text, [*words, "Ines", "Ana", "06:30:00"])
    assert page.text.count("\n## ") + page.text.startswith("## ") == 2


def test_mails_keep_both_parts_of_a_cut_text_and_what_is_forwarded():
    inner = email.message.EmailMessage()
    inner["Subject"], inner["From"] = "Frost warning", "weather@example.org"
    inner.set_content("<p>Frost below <b>-2 °C</b> on Friday.</p>", subtype="html")
    outer = email.message.EmailMessage()
    outer["Subject"], outer["To"] = "Fwd: Frost", "orchard@example.org"
    outer.set_content("Please cover the blossoms.\n")
    outer.make_mixed()
    outer.add_attachment(b"\x89PNG", maintype="image", subtype="png", filename="map.png")
    rest = email.message.EmailMessage()
    rest.set_content("The fleece is in shed 3.")
    rest["Content-Disposition"] = "inline"
    outer.attach(rest)
    invitation = email.message.EmailMessage()
    invitation.set_content("BEGIN:VCALENDAR\nUID:123\nEND:VCALENDAR", subtype="calendar")
    outer.attach(invitation)
    outer.add_attachment(inner)
    page = read(outer.as_bytes(), ".eml")
    assert page.title == "Fwd: Frost" and page.notes == ("attached files left out: map.png, text/calendar",)
    assert "VCALENDAR" not in page.text
    words = (
        "Fwd: Frost orchard@example.org Please cover the blossoms The fleece is in shed 3 Frost warning weather@example.org Frost"
    )
    assert_in_order(page.text, [*words.split(), "below", "-2 °C", "on", "Friday"])


def test_a_mail_that_forwards_itself_for_ever_is_read():
    message = email.message.EmailMessage()
    message["Subject"] = "core"
    message.set_content("innermost")
    for number in range(40):
        outer = email.message.EmailMessage()
        outer["Subject"] = f"layer {number}"
        outer.set_content(f"words {number}")
        outer.add_attachment(message)
        message = outer
    page = read(message.as_bytes(), ".eml")
    assert "words 39" in page.text and "words 30" in page.text and page.notes == ("attached files left out: message/rfc822",)


@pytest.mark.parametrize(
    ("kind", "name", "text", "reason"),
    [
        ("odt", "META-INF/manifest.xml", "<manifest:encryption-data/>", "protected by a password"),
        ("epub", "META-INF/encryption.xml", '<CipherReference URI="EPUB/ch1.xhtml"/>', "protected against copying (DRM)"),
        ("epub", "META-INF/encryption.xml", '<CipherReference URI="EPUB/font.otf"/>', "pandoc: "),
        ("odt", "x.xml", " " * 3000, "unpacks to 0 MB in 1 parts, more than a document has"),
    ],
)
def test_locked_and_overfull_files_of_pandoc_say_why_they_are_not_read(monkeypatch, kind: str, name: str, text: str, reason: str):
    monkeypatch.setattr(office, "MOST_UNPACKED", 2000)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text)
    page = convert(out.getvalue(), f".{kind}")
    assert isinstance(page, str) and page.startswith(reason)


def test_a_file_that_pandoc_has_no_memory_for_may_be_read_with_more(monkeypatch):
    said = subprocess.CompletedProcess([], 251, b"", b"pandoc: out of memory\n")
    monkeypatch.setattr(office.subprocess, "run", lambda *_, **__: said)
    assert convert(b"= Fan\n", ".adoc") == OUT_OF_MEMORY


def test_boxes_and_shapes_of_an_open_document_are_read_behind_their_paragraph(tmp_path: Path):
    import pypandoc

    path = tmp_path / "box.odt"
    pypandoc.convert_text("First.\n\nLast.\n", "odt", format="markdown", outputfile=str(path), extra_args=["--standalone"])
    out = io.BytesIO()
    shape = b"<draw:custom-shape><text:p>Shape.</text:p></draw:custom-shape>"
    inner = b"<draw:frame><draw:text-box><text:p>Inner.</text:p></draw:text-box></draw:frame>"
    box = b"<draw:frame><draw:text-box><text:p>Caption." + inner + b"</text:p></draw:text-box></draw:frame>"
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(out, "w") as copy:
        for name in archive.namelist():
            part = archive.read(name)
            if name == "content.xml":
                part = part.replace(b"First.", b"First." + box).replace(b"</office:text>", shape + b"</office:text>")
            copy.writestr(name, part)
    assert read(out.getvalue(), ".odt").text.split() == ["First.", "Caption.", "Inner.", "Last.", "Shape."]
