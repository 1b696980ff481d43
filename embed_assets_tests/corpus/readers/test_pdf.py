"""PDF files with what printers, offices and forms put around the text."""

import time

import pytest

from embed_assets.corpus.readers.conversion import convert
from embed_assets.corpus.readers.converted import Converted
from embed_assets.corpus.readers.pdf_headings import with_headings
from embed_assets.corpus.structure import read_structure
from embed_assets_tests.corpus.pdf_files import pdf
from embed_assets_tests.corpus.readers.test_conversion import read


def test_all_text_of_a_turned_page_is_read():
    sideways = b"BT /F1 12 Tf 0 1 -1 0 60 40 Tm (High up) Tj 0 1 -1 0 580 740 Tm (and far out) Tj ET"
    assert read(".pdf", pdf(sideways, page=b"/Rotate 90")).text.split() == ["High", "up", "and", "far", "out"]


def test_a_file_whose_fonts_do_not_name_their_letters_has_no_text_and_a_single_letter_costs_no_more_than_itself():
    def text_of(names: bytes) -> Converted | str:
        others = (
            b"<< /Producer (none) >>",
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /ToUnicode 6 0 R >>",
            b"<< /Length %d >>\nstream\n%s\nendstream" % (len(names), names),
        )
        return convert(pdf(["The pump stops."], others=others).replace(b"/F1 3 0 R", b"/F1 5 0 R"), ".pdf")

    cmap = b"/CMapName /X def 1 begincodespacerange <00> <FF> endcodespacerange 1 beginbfrange %s endbfrange endcmap"
    one_letter, all_letters = text_of(cmap % b"<70> <70> <E070>"), text_of(cmap % b"<21> <FF> <E021>")
    assert isinstance(one_letter, Converted) and one_letter.text == "The \ue070um\ue070 sto\ue070s."
    assert "fonts that do not name their letters" in str(all_letters)


def test_a_file_under_rights_management_says_so():
    locked = pdf(["Text."]).replace(b"/Root 1 0 R", b"/Root 1 0 R /Encrypt << /Filter /EBX_HANDLER /V 4 >> /ID [<00><00>]")
    assert convert(locked, ".pdf") == "protected by rights management (DRM)"


def test_what_was_cut_off_a_page_is_not_read():
    marks = b"BT /F1 12 Tf 72 720 Td (Text.) Tj 0 60 Td (book.indd 3) Tj ET"
    assert read(".pdf", pdf(marks, page=b"/CropBox [50 50 560 750]")).text == "Text."


def test_what_is_filled_into_a_form_is_text_and_comments_are_counted():
    appearance = b"BT /F1 12 Tf 2 5 Td (Ada Moss) Tj ET"
    form = b"<< /Type /XObject /Subtype /Form /BBox [0 0 200 20] /Resources << /Font << /F1 3 0 R >> >> /Length %d >>"
    others = (
        b"<< /Producer (none) >>",
        b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (name) /V (Ada Moss) /Rect [120 690 320 710] /F 4 /AP << /N 6 0 R >> >>",
        form % len(appearance) + b"\nstream\n" + appearance + b"\nendstream",
        b"<< /Type /Annot /Subtype /Text /Rect [10 10 30 30] /Contents (Is that so?) >>",
    )
    content = pdf(["Name:"], page=b"/Annots [5 0 R 7 0 R]", catalog=b"/AcroForm << /Fields [5 0 R] >>", others=others)
    page = read(".pdf", content)
    assert page.text.split() == ["Name:", "Ada", "Moss"] and page.notes == ("1 comments left out",)


@pytest.mark.parametrize(
    ("title", "expected"), [("Pump Manual", "Pump Manual"), ("Microsoft Word - doc1", ""), ("Template 2019", ""), ("", "")]
)
def test_the_title_of_the_properties_holds_if_the_first_page_has_its_words(title, expected):
    page = read(".pdf", pdf(["The pump manual, 2nd issue"], ["Template 2019"], others=(b"<< /Title (%s) >>" % title.encode(),)))
    assert page.title == expected


def test_a_broken_page_costs_no_other_one():
    content = pdf(["First."], ["Second."], ["Third."])
    page = read(".pdf", content.replace(b"/Kids [4 0 R 6 0 R", b"/Kids [4 0 R 1 0 R"))
    assert page.text.split() == ["First.", "Third."] and page.notes == ("1 of 3 pages are broken: 2",)


NUMBERS, CHAPTERS = ("one", "two", "three", "four", "five", "six"), (4, 9, 11, 18, 20, 31)


@pytest.mark.parametrize(
    ("head", "foot"),
    [
        ("ACME 2024 - Rev. 3", "Page {} of 6"),
        ("{}  ACME 2024", "12.08.2024 14:33"),
        ("ACME | {}", "{}"),
    ],
)
def test_heads_and_feet_are_left_out_and_numbered_chapters_stay(head, foot):
    chapters = [[f"Part {chapter}", f"It has {words} parts."] for chapter, words in zip(CHAPTERS, NUMBERS, strict=True)]
    text = read(".pdf", pdf(*([head.format(i), *lines, foot.format(i)] for i, lines in enumerate(chapters, start=1)))).text
    assert [line for line in text.splitlines() if line] == [line for chapter in chapters for line in chapter]


def test_roman_numbers_of_a_preface_are_page_numbers_as_well():
    pages = [[f"Words {NUMBERS[i]}.", f"Manual {numeral}"] for i, numeral in enumerate(("iii", "iv", "v", "vi"))]
    assert "Manual" not in read(".pdf", pdf(*pages)).text


def test_pages_of_one_line_are_not_taken_for_empty_ones():
    assert read(".pdf", pdf(["Slide 1"], ["Slide 2"], ["Slide 3"], ["Slide 4"])).text.count("Slide") == 4


BOOKMARKS = (
    b"<< /Producer (none) >>",
    b"<< /First 6 0 R /Last 8 0 R >>",
    b"<< /Title (Care of the pump) /Parent 5 0 R /Next 8 0 R /First 7 0 R /Last 7 0 R /Dest [9 0 R /Fit] >>",
    b"<< /Title (Oil and filters for all machines) /Parent 6 0 R /Dest [11 0 R /Fit] >>",
    b"<< /Title (Index) /Parent 5 0 R /Prev 6 0 R /Dest [11 0 R /Fit] >>",
)


def test_lines_that_bookmarks_name_are_headings():
    """With or without their numbers, over several lines, and on their own page alone."""
    pages = (
        ["See Care of the pump.", "Chapter 2", "Care of the Pump", "# pump --check", "Look at it."],
        ["Care of the pump", "2.1 Oil and filters", "for all machines", "Change them", "each May."],
    )
    page = read(".pdf", pdf(*pages, catalog=b"/Outlines 5 0 R", others=BOOKMARKS))
    assert page.markdown and page.text.split("\n\n") == [
        "See Care of the pump.",
        "# Chapter 2 Care of the Pump",
        "    # pump --check\nLook at it.",
        "Care of the pump",
        "## 2.1 Oil and filters for all machines",
        "Change them each May.",
    ]


@pytest.mark.parametrize(
    ("bookmark", "lines", "heading"),
    [
        ("Restore a backup", ["Create a backup", "Restore a backup"], "Restore a backup"),
        ("Add a user", ["user", "Add a user"], "Add a user"),
        ("Step 2 Storage", ["Step 1 Storage", "Step 2 Storage"], "Step 2 Storage"),
        ("Civil law", ["Law", "2 Civil law"], "2 Civil law"),
        ("Chapter 3: Oil", ["2 Oil", "3 Oil"], "3 Oil"),
        ("iv. Oil", ["Oil"], "Oil"),
        ("Tools", ["A Tools"], "A Tools"),
        ("I see no oil", ["6.6 I see no oil"], "6.6 I see no oil"),
        ("Oil", ["4 }", "2 Oil"], "2 Oil"),
    ],
)
def test_a_bookmark_names_the_line_with_its_words_and_with_no_other_number(bookmark, lines, heading):
    assert [line for level, line in with_headings(lines, [(1, bookmark)]) if level] == [heading]


def test_bookmarks_that_name_no_line_leave_the_headings_to_large_letters():
    """Programs that make PDF files of pictures or slides name each page."""
    outline = (
        b"<< /Producer (none) >>",
        b"<< /First 6 0 R /Last 6 0 R >>",
        b"<< /Title (Page 1) /Parent 5 0 R /Dest [7 0 R /Fit] >>",
    )
    text = b" ".join(b"(The pump has to rest after use, %s.) Tj T*" % words.encode() for words in NUMBERS)
    shown = b"BT 28 TL 72 720 Td /F1 24 Tf (Rest) Tj T* /F1 12 Tf %s ET" % text
    page = read(".pdf", pdf(shown, catalog=b"/Outlines 5 0 R", others=outline))
    assert [line for line in page.text.splitlines() if line.startswith("#")] == ["# Rest"]


def test_two_characters_of_chinese_are_a_heading_and_a_sentence_in_large_letters_is_none():
    text = b" ".join(b"(The pump has to rest after use, %s.) Tj T*" % words.encode() for words in NUMBERS)
    shown = b"BT 28 TL 72 760 Td /F1 24 Tf (AB) Tj T* /F1 12 Tf %s /F1 24 Tf (ABABC) Tj ET" % text
    names = b"/Encoding << /Differences [65 /uni6982 /uni8FF0 /uni3002] >>"
    page = read(".pdf", pdf(shown).replace(b"/Helvetica", b"/Helvetica " + names))
    assert [line for line in page.text.splitlines() if line.startswith("#")] == ["# 概述"]


@pytest.mark.parametrize("line", ["<?php", "<script>", "<!-- a comment", "<PRE class=oil>"])
def test_html_in_a_listing_hides_no_heading_below(line):
    text = b" ".join(b"(The pump has to rest after use, %s.) Tj T*" % words.encode() for words in NUMBERS)
    parts = (b"/F1 24 Tf (Rest) Tj T* /F1 12 Tf (%s) Tj T*" % line.encode(), text, b"/F1 24 Tf (Oil) Tj T* /F1 12 Tf", text)
    page = read(".pdf", pdf(b"BT 28 TL 72 760 Td %s ET" % b" ".join(parts)))
    assert [heading.title for heading in read_structure(page.text).headings] == ["Rest", "Oil"]


def test_lines_in_large_letters_are_headings_where_there_are_no_bookmarks():
    """Letters of 24 points are the first level, those of 16 the second; text has 12, and code, of which there is most, 8."""

    def show(size: int, *lines: str) -> bytes:
        return b"/F1 %d Tf " % size + b" ".join(b"(%s) Tj T*" % line.encode() for line in lines)

    text = [f"The pump has to rest for {NUMBERS[i % 6]} minutes after use." for i in range(12)]
    code = [f"pump --rest {i} --verbose --log-to /var/log/pump/{i}.log" for i in range(20)]
    parts = (show(24, "Pump manual"), show(16, "1 Rest", "and sleep"), show(12, *text), show(8, *code), show(16, "Sold. Gone."))
    page = read(".pdf", pdf(b"BT 14 TL 72 720 Td %s ET" % b" ".join(parts)))
    assert page.markdown
    assert [line for line in page.text.splitlines() if line.startswith("#")] == ["# Pump manual", "## 1 Rest and sleep"]


@pytest.mark.parametrize(
    ("lines", "title"),
    [
        ([(24, "Pump manual"), (12, "ACME")], "Pump manual"),
        ([(12, "ACME"), (24, "Care of"), (24, "the pump"), (18, "2nd issue")], "Care of the pump"),
        ([(24, "1 Care of the pump"), (12, "Oil it.")], ""),
        ([(12, "Pump manual"), (12, "ACME")], ""),
        ([(13, "Pump manual"), (12, "ACME")], ""),
    ],
)
def test_the_title_is_what_the_first_page_has_in_its_largest_letters(lines, title):
    shown = b" ".join(b"/F1 %d Tf (%s) Tj T*" % (size, line.encode()) for size, line in lines)
    assert read(".pdf", pdf(b"BT 28 TL 72 720 Td %s ET" % shown)).title == title


def test_letters_on_their_side_are_no_larger_than_others():
    words = [b"Wim", *[b"it runs dry, and nobody sees it"] * 9]
    lines = b" ".join(b"0 1 -1 0 %d 40 Tm (%s) Tj" % (60 + 20 * i, line) for i, line in enumerate(words))
    assert not read(".pdf", pdf(b"BT /F1 12 Tf %s ET" % lines, page=b"/Rotate 90")).markdown


def test_bullets_are_those_of_lists():
    assert read(
        ".pdf", pdf(b"BT /F1 12 Tf 14 TL 72 720 Td (Tools:) Tj T* (\xb7 a key) Tj T* (\xb7 new oil) Tj ET")
    ).text.splitlines() == [
        "Tools:",
        "- a key",
        "- new oil",
    ]


def test_where_all_letters_are_of_one_size_no_line_is_a_heading():
    page = read(".pdf", pdf(["# Pump manual", "The pump has to rest."]))
    assert not page.markdown and page.text == "# Pump manual\nThe pump has to rest."


def test_hyphens_of_letters_and_of_compounds_stay():
    page = ["The cool-", "ant of the X-", "ray and the long-", "term test."]
    text = read(".pdf", pdf(page, ["No other long-term use of e-", "mail."])).text
    assert " ".join(text.split()) == "The coolant of the X-ray and the long-term test. No other long-term use of e-mail."


def test_a_word_without_end_takes_no_longer_than_others():
    start = time.process_time()
    read(".pdf", pdf(["a" * 8_000]))
    assert time.process_time() - start < 1
