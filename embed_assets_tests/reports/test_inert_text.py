import ast
import re
from pathlib import Path

import polars as pl
import pytest
from markdown_it import MarkdownIt

import embed_assets.defs
from embed_assets.reports import writing
from embed_assets.reports.html_report import write_html_report
from embed_assets.reports.writing import inert, write_notes, write_table

HOSTILE = [
    "![x](https://evil.example/pixel.png)",
    "[click](javascript:alert(1))",
    "<img src=x onerror=alert(1)><script>alert(2)</script>",
    "<https://evil.example>",
    "a | b | c",
    "`code` **bold** _it_ ~~gone~~",
    "\\[x](https://evil.example)",
    "&lt;b&gt; www.evil.example",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_cell_is_shown_as_it_was_written_and_is_no_markup(tmp_path, text):
    (tmp_path / "report").mkdir()
    write_table(tmp_path, "t", pl.DataFrame({"query": [text]}))
    markdown = (tmp_path / "report" / "t.md").read_text()
    for page in (MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(markdown),):
        (cell,) = re.findall("<td>(.*?)</td>", page)
        assert not re.search("<(?!/?t[dhr])", cell)
        shown = cell.replace("\u2060", "").replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")
        assert shown == text


@pytest.mark.parametrize("text", HOSTILE)
def test_a_note_about_a_document_is_no_markup(tmp_path, text):
    """Notes of the user's own pairs and of the evaluation set name documents and queries."""
    (tmp_path / "report").mkdir()
    write_notes(tmp_path, [f"1 pairs point to documents such as {text}", f"another\n\n# {text}"])
    page = MarkdownIt("commonmark", {"html": True}).enable("strikethrough").render((tmp_path / "report" / "notes.md").read_text())
    assert page.count("<li>") == 2 and not re.search("<(?!/?(?:li|ul|p)>)", page)


def test_the_reports_write_no_note_without_it():
    reports = Path(writing.__file__).parent.glob("*.py")
    assert [path.name for path in reports if '"notes", "' in path.read_text() and path.name != "writing.py"] == []


def test_the_outcomes_of_checks_are_inert_where_the_ui_reads_them_as_markdown():
    """They may name queries and documents, and repeat what an endpoint answered."""
    descriptions = [
        (path.name, ast.unparse(keyword.value))
        for path in Path(embed_assets.defs.__file__).parent.rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "AssetCheckResult"
        for keyword in call.keywords
        if keyword.arg == "description" and not isinstance(keyword.value, ast.Constant)
    ]
    assert len(descriptions) >= 5
    assert [found for found in descriptions if not found[1].startswith("inert(") and found[1] != "NOTHING"] == []


def test_the_report_loads_nothing_and_runs_nothing(tmp_path):
    (tmp_path / "report").mkdir()
    write_table(tmp_path, "t", pl.DataFrame({"query": HOSTILE}))
    (tmp_path / "report" / "note.md").write_text("\n".join(f"- {text}" for text in HOSTILE))
    write_html_report(tmp_path / "report.html", HOSTILE[2], {"qa_pairs": tmp_path / "report"})
    page = (tmp_path / "report.html").read_text()
    assert "default-src 'none'; img-src data:" in page
    assert not re.search(r"<(?:script|a|iframe|img src=x)\b", page) and 'src="http' not in page


def test_identifiers_stay_readable():
    assert inert("MAX_RETRY_COUNT of PRT-7719 at 3.8.1") == "MAX_RETRY_COUNT of PRT-7719 at 3.8.1"
