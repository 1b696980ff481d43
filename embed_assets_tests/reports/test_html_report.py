"""The HTML report: one file, with pictures inside, in which nothing from documents runs."""

import json
from pathlib import Path

from embed_assets.artifacts.store import FINDINGS, SUMMARY
from embed_assets.reports.html_report import write_html_report


def test_tables_pictures_figures_and_findings_are_in_one_file(tmp_path: Path):
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "loss.png").write_bytes(b"\x89PNG")
    (folder / "loss.md").write_text("| step | loss |\n| --- | --- |\n| 1 | 0.5 |")
    (folder / SUMMARY).write_text(json.dumps({"train_triplets": 12}))
    (folder / FINDINGS).write_text(json.dumps([{"name": "loss_fell", "passed": False, "message": "from 1 to 2"}]))
    write_html_report(tmp_path / "report.html", "bakery", {"checkpoint": folder})
    page = (tmp_path / "report.html").read_text()
    assert "<h2>checkpoint</h2>" in page and "<td>0.5</td>" in page and "<td>train triplets</td><td>12</td>" in page
    assert 'src="data:image/png;base64,iVBORw=="' in page
    assert '<p class="failed">✗ loss fell: from 1 to 2</p>' in page
    assert "http:" not in page and "https:" not in page


def test_markup_in_a_document_is_shown_and_never_run(tmp_path: Path):
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "preview.md").write_text("| passage |\n| --- |\n| <script>alert(1)</script> |")
    (folder / SUMMARY).write_text(json.dumps({"best": "<img src=x onerror=alert(1)>"}))
    write_html_report(tmp_path / "report.html", "<b>bakery</b>", {"corpus_chunks": folder})
    page = (tmp_path / "report.html").read_text()
    assert "<script>" not in page and "<img" not in page and "<b>" not in page
    assert "&lt;script&gt;alert(1)" in page
