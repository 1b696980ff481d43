"""Tables as documents."""

import csv
import io

import pytest

from embed_assets.corpus.readers.tables import read_csv, read_xlsx
from embed_assets.corpus.structure import read_structure


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


@pytest.mark.parametrize(
    "above", ["# made by export 2.1\n", "# made by export, 2.1\n", "Pumps of 2024\n\n", "Pumps of 2024,,\n# made by export 2.1\n"]
)
def test_what_stands_above_the_names_of_the_columns_is_none(above):
    caption, _, page = read_csv(f"{above}id,part,price\n1,valve,3\n2,pump,4\n".encode()).text.rpartition("\n\n")
    assert page.startswith("| id | part | price |\n| --- |") and caption and "#" not in caption and "|" not in caption


def test_names_and_values_above_a_table_are_none_of_its_columns():
    above = "Kontonummer:;DE12 3456;;\nZeitraum;2024;;\n"
    page = read_csv(f"{above}Tag;Valuta;Text;Betrag\n1.2.;2.2.;Miete;500\n3.2.;3.2.;Strom;80\n".encode()).text
    assert page.startswith("Kontonummer: DE12 3456\n\nZeitraum 2024\n\n| Tag | Valuta | Text | Betrag |\n| --- |")


@pytest.mark.parametrize("source", ["#id,part\n1,valve\n", "part,\nvalve,3\n", "part\n# of a pump\n", "#,part,\n1,valve,3\n"])
def test_the_first_row_has_the_names_of_the_columns(source):
    assert read_csv(source.encode()).text.splitlines()[1].startswith("| --- |")


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("fan,load,,noise,\n,min,max,day,night\na,1,2,3,4\n", "| fan | load min | load max | noise day | noise night |"),
        ("fan,load,,unit\n,min,max,\na,1,2,kg\n", "| fan | load min | load max | unit |"),
        ("fan,load,,unit\n,1,2,\na,1,2,kg\n", "| fan | load |  | unit |"),
        ("fan,load,unit\n,none,kg\na,1,kg\n", "| fan | load | unit |"),
    ],
)
def test_groups_of_columns_have_their_names_before_those_of_the_columns(source, names):
    assert read_csv(source.encode()).text.splitlines()[0] == names


def test_a_bar_in_a_cell_does_not_end_it():
    page = read_csv(b"command,a|b\nls | wc,1\nls,2\n").text
    assert page.splitlines()[0] == r"| command | a\|b |" and len(read_structure(page).blocks) == 1


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


def test_tables_below_one_another_have_their_own_columns():
    """Names in bold below an empty row begin a table; a gap among the rows, or a row in bold elsewhere, does not."""
    import openpyxl
    from openpyxl.styles import Font

    book = openpyxl.Workbook()
    names, total, others = ("part", "price"), ("total", 7), ("Error", "Meaning")
    prices = (("Prices",), names, ("valve", 3), (), ("pump", 4), (), total)
    for row in (*prices, (), ("Errors",), others, ("E1", "dry"), (), ("As of May",)):
        book.active.append(row)
        for cell in book.active[book.active.max_row]:
            cell.font = Font(bold=row in (names, total, others))
    content = io.BytesIO()
    book.save(content)
    assert read_xlsx(content.getvalue()).text.split("\n\n") == [
        "## Sheet",
        "Prices",
        "| part | price |\n| --- | --- |\n| valve | 3 |\n| pump | 4 |\n| total | 7 |",
        "Errors",
        "| Error | Meaning |\n| --- | --- |\n| E1 | dry |\n| As of May |  |",
    ]


def test_hidden_sheets_are_counted_and_not_read():
    import openpyxl

    book, out = openpyxl.Workbook(), io.BytesIO()
    book.active.append(["part", "price"])
    book.create_sheet("Lists").append(["yes", "no"])
    book["Lists"].sheet_state = "hidden"
    book.save(out)
    page = read_xlsx(out.getvalue())
    assert page.text.startswith("## Sheet") and "Lists" not in page.text and page.notes == ("1 hidden sheets left out",)


def test_formulas_that_were_never_computed_are_counted():
    import openpyxl

    book, out = openpyxl.Workbook(), io.BytesIO()
    book.active.append(["a", "=1+1", "=B1*2"])
    book.save(out)
    assert read_xlsx(out.getvalue()).notes == ("2 formulas without a value left out",)
