import re

import polars as pl
import pytest
from markdown_it import MarkdownIt

from embed_assets.reports.html_report import write_html_report
from embed_assets.reports.writing import inert, write_table

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
