"""Text files."""

import pytest

from embed_assets.corpus.structure import read_structure
from embed_assets_tests.corpus.readers.test_conversion import read


@pytest.mark.parametrize(
    ("text", "is_markdown"),
    [
        ("Release 4.1\n===========\n\nFixed NOX-1.\n", True),
        ("Text.\n\n  Fan kit  \n  --------\n", True),
        ("Text.\n\nFan kit\n-\n", False),
        ("name   size\n======================================\nfan    3\n", False),
        ("name   size\n-----------\nfan    3\n", False),
        ("A sentence\ngoes on\n-------\n", False),
        ("# no heading\n\nx = [\n    '=====',\n]\n", False),
    ],
)
def test_a_text_file_with_underlined_titles_is_markdown(text, is_markdown):
    page = read(".txt", text)
    assert (page.text, page.markdown) == (text, is_markdown)
    assert not read(".py", text).markdown


def test_comments_of_a_shell_are_no_headings_where_titles_are_underlined():
    text = "Pump\n====\n\nRun this:\n\n# pump --check\npump --start\n"
    assert [heading.title for heading in read_structure(read(".txt", text.encode()).text).headings] == ["Pump"]
    assert read(".txt", f"{text}\n## Valves\n\nTurn.\n".encode()).text.count("\n#") == 2


def test_heads_and_feet_of_printed_pages_are_no_text():
    pages = [
        f"Moss       RFC 9       May 2024\n\n   3.{i}  Pump {i * 7}\n\n      Turn it {way}.\n"
        for i, way in enumerate(["left", "right", "up", "down"])
    ]
    text = "\f".join(f"{page}\n\nMoss     Standards     [Page {i + 2}]\n" for i, page in enumerate(pages))
    assert read(".txt", text).text.startswith(
        "   3.0  Pump 0\n\n      Turn it left.\n\n   3.1  Pump 7\n\n      Turn it right.\n\n   3.2"
    )
    assert "May" not in read(".txt", text).text and "[Page" not in read(".txt", text).text


def test_words_that_are_cut_at_the_ends_of_lines_are_whole_where_that_is_usual():
    assert (
        read(".txt", "It is disassem-\n  bled by per-\nsonnel of the hous-\ning.").text
        == "It is disassembled by personnel of the housing."
    )
    kept = "A well-\nknown pump.\n" + "It turns.\n" * 100 + "A well-\nknown seal of a well-\nknown fan."
    assert read(".txt", kept).text == kept
