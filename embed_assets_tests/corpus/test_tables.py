"""Tables as documents."""

import csv
import io

import pytest

from embed_assets.corpus.readers.tables import read_csv, read_xlsx


def test_a_small_table_leaves_room_for_the_larger_ones_of_others():
    before = csv.field_size_limit()
    read_csv(b"a\n")
    assert csv.field_size_limit() >= before


@pytest.mark.parametrize(
    ("source", "row"),
    [
        ('name;price;note\nA_1;1,50;"x; y"\nB;2,25;none, really\n', "| A_1 | 1,50 | x; y |"),
        ("sep=;\nname;price\nA_1;1\n", "| A_1 | 1 |"),
        ("sep=,\nname,price\n", "| name | price |"),
        ("id,text\n1,one; two; three\n2,four; five; six\n", "| 1 | one; two; three |"),
        ('a, b\n1, "x, y"\n', "| 1 | x, y |"),
        ("a\tb\n1,5\t2,5\n", "| 1,5 | 2,5 |"),
        ("when|what\n12:30|start, then stop\n", "| 12:30 | start, then stop |"),
        ("one column\nof prose, with commas\nand none\n", "| one column |"),
    ],
)
def test_the_separator_is_that_which_makes_even_rows(source, row):
    assert row in read_csv(source.encode()).text.splitlines()


def test_numbers_of_a_sheet_are_those_that_it_shows_and_comments_are_listed():
    import openpyxl
    from openpyxl.comments import Comment

    book, out = openpyxl.Workbook(), io.BytesIO()
    sheet = book.active
    for column, (value, kind) in enumerate(
        [(0.256, "0%"), (0.256, "0.0%"), (42, "00000"), (42, "General"), (1.5, "0.00")], start=1
    ):
        sheet.cell(1, column, value).number_format = kind
    sheet["A1"].comment = Comment("Is that so?", "me")
    book.save(out)
    page = read_xlsx(out.getvalue())
    assert "| 26% | 25.6% | 00042 | 42 | 1.5 |" in page.text
    assert page.notes == ("1 comments left out",)


def test_formulas_that_were_never_computed_are_counted():
    import openpyxl

    book, out = openpyxl.Workbook(), io.BytesIO()
    book.active.append(["a", "=1+1", "=B1*2"])
    book.save(out)
    assert read_xlsx(out.getvalue()).notes == ("2 formulas without a value left out",)
