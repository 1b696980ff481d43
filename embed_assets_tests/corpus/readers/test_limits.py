import io
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embed_assets.corpus import documents as reading
from embed_assets.corpus.readers import conversion
from embed_assets.corpus.readers.conversion import convert
from embed_assets.corpus.readers.converted import Converted
from embed_assets.corpus.settings import DocumentsSettings
from embed_assets_tests.corpus.at_once import read_documents
from embed_assets_tests.corpus.pdf_files import pdf
from embed_assets_tests.corpus.readers.test_conversion import HTML, RST, docx, mail, notebook, workbook


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "good.html").write_text("<p>The pump runs dry.</p>")
    return tmp_path


def test_a_file_that_takes_too_long_or_too_much_is_skipped_by_name_and_the_others_are_read(folder):
    (folder / "documents" / "long.docx").write_bytes(docx("<w:p><w:r><w:t>a</w:t></w:r></w:p>" * 400_000))
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", " " * 250_000_000)
    (folder / "documents" / "bomb.docx").write_bytes(bomb.getvalue())
    (folder / "documents" / "deep.ipynb").write_text("[" * 100_000)
    documents, skipped = read_documents(folder, DocumentsSettings(reader_seconds=4, reader_megabytes=600))
    assert [document.text for document in documents] == ["The pump runs dry."]
    reasons = {item.document_id: item.reason for item in skipped}
    assert reasons["bomb.docx"] == "unpacks to 250 MB in 1 parts, more than a document has"
    assert reasons["deep.ipynb"] == "nested too deeply"
    assert "documents.reader_" in reasons["long.docx"]


def test_a_small_file_that_repeats_a_cell_without_end_is_refused_and_a_large_one_with_as_much_text_is_not():
    """A workbook has each text once, however many cells name it."""
    import openpyxl

    book, out = openpyxl.Workbook(), io.BytesIO()
    for _ in range(200):
        book.active.append(["pump valve " * 2900])
    book.save(out)
    assert "far more than a file of" in str(convert(out.getvalue(), ".xlsx"))
    assert isinstance(convert(b"pump valve " * 600_000, ".log"), Converted)


def running_pandocs() -> set[str]:
    """Ids of the processes of this session that run pandoc."""
    found = set()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, session = (place / "stat").read_text().rpartition(")")[2].split()[:4]
            program = (place / "cmdline").read_bytes().partition(b"\0")[0]
        except OSError:  # it has ended meanwhile
            continue
        if session == str(os.getsid(0)) and state != "Z" and program.endswith(b"/pandoc"):
            found.add(place.name)
    return found


READER = "from embed_assets.corpus.readers.office import read_asciidoc\nread_asciidoc(b'[' * 20_000)\n"
RUN = """from embed_assets.corpus.readers.pool import ReaderPool
from embed_assets.corpus.settings import DocumentsSettings
if __name__ == "__main__":
    with ReaderPool(DocumentsSettings(), 1) as readers:
        readers.begin(b"[" * 20_000, ".adoc")()
"""


@pytest.mark.parametrize("script", [READER, pytest.param(RUN, marks=pytest.mark.long)])
def test_what_a_killed_reader_or_run_had_started_ends_with_it(tmp_path, script):
    (tmp_path / "run.py").write_text(script)
    before, started = running_pandocs(), time.monotonic()
    run = subprocess.Popen([sys.executable, tmp_path / "run.py"])
    while not (seen := running_pandocs() - before) and time.monotonic() < started + 30:
        time.sleep(0.02)
    run.kill()
    run.wait()
    assert seen, "it had not begun"
    deadline = time.monotonic() + 5
    while running_pandocs() & seen and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not running_pandocs() & seen


HOSTILE = [
    "`",
    "`a``b",
    "```\n",
    "~~~ \n",
    "    `\n",
    "[",
    "![",
    "[a](",
    "*a ",
    ">",
    "- ",
    "|-",
    "<a ",
    "a\\_",
    "<!--",
    "{#a ",
    "data:a/b;",
    "[[a|",
    "{{< a ",
    "{% a ",
    "{% comment %}",
    "{a}`",
    "==a",
    "++a+",
    "::: a\n",
    "```{a}\n",
    "!!! a\n    ",
    "a\\-",
    "> [!a]",
    "[a]{.",
]


@pytest.mark.parametrize("extension", [".md", ".mdx", ".txt"])
@pytest.mark.parametrize(
    "unit", [*HOSTILE, "data:image/png;base64,", '<img alt="" ', "![a](data:", "[a]: data:", "export const "]
)
def test_no_text_takes_longer_than_a_moment(unit, extension):
    """In one line and in many, as they come or behind a long run of backticks."""
    started = time.process_time()
    for text in (unit * (100_000 // len(unit)), f"{unit}\n" * (100_000 // len(unit)), "`" * 50_000 + " " + unit * 5000):
        assert convert(text.encode(), extension)
    assert time.process_time() - started < 6


def test_large_files_of_every_kind_are_read_in_a_process_with_limits(folder, monkeypatch):
    (folder / "documents" / "small.md").write_text("# Fan\n\nIt rattles.")
    (folder / "documents" / "large.md").write_text("The fan rattles. " * 10_000)
    here: list[str] = []
    monkeypatch.setattr(
        "embed_assets.corpus.converted_files.convert", lambda content, ending: here.append(ending) or convert(content, ending)
    )
    documents, skipped = read_documents(folder, DocumentsSettings())
    assert sorted(document.document_id for document in documents) == ["good.html", "large.md", "small.md"]
    assert here == [".md"] and skipped == []


def test_files_are_read_as_they_are_asked_for_and_come_in_their_order(folder, tmp_path, monkeypatch):
    large = "The fan rattles. " * 10_000
    names = [f"{number:03}.md" for number in range(120)]
    for name in names:
        (folder / "documents" / name).write_text(large if name == "040.md" else "It rattles.")
    here: list[bytes] = []
    monkeypatch.setattr(
        "embed_assets.corpus.converted_files.convert", lambda content, ending: here.append(content) or convert(content, ending)
    )
    documents = reading.read_documents(folder, DocumentsSettings(), [], tmp_path / "memos")
    assert next(documents).document_id == "000.md" and len(here) == 1
    assert [document.document_id for document in documents] == [*names[1:], "good.html"] and len(here) == 119
    again = reading.read_documents(folder, DocumentsSettings(), [], tmp_path / "memos")
    assert next(document.text for document in again if document.document_id == "040.md") == large
    assert len(here) == 119


def test_one_changed_file_converts_one_file(folder, tmp_path, monkeypatch):
    for name in "abc":
        (folder / "documents" / f"{name}.md").write_text(f"# {name}\n\nText.")
    read: list[bytes] = []
    monkeypatch.setattr(
        "embed_assets.corpus.converted_files.convert", lambda content, ending: read.append(content) or convert(content, ending)
    )
    first, _ = read_documents(folder, DocumentsSettings(), tmp_path / "memos")
    assert len(read) == 3
    (folder / "documents" / "b.md").write_text("# b\n\nOther text.")
    second, _ = read_documents(folder, DocumentsSettings(), tmp_path / "memos")
    assert read[3:] == [b"# b\n\nOther text."]
    assert [document for document in second if document not in first] == [second[1]]


SEEDS = {
    ".md": b"---\ntitle: a\n---\n# b\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```sh\nc\n```\n",
    ".mdx": b"import a from 'b'\n\n<Tab title=\"x\">text</Tab>\n",
    ".txt": "Größe".encode("utf-16"),
    ".html": HTML.encode(),
    ".rst": RST.encode(),
    ".pdf": pdf(["Pump manual", "The pump runs dry."]),
    ".docx": docx("<w:p><w:r><w:t>a</w:t></w:r></w:p>"),
    ".xlsx": workbook(),
    ".csv": b"a;b\n1;2\n",
    ".eml": mail(),
    ".ipynb": notebook().encode(),
}


@pytest.mark.parametrize("extension", SEEDS)
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(changes=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=8), st.integers(0, 40)), min_size=1, max_size=4))
def test_a_damaged_file_gives_text_or_a_reason(extension, changes):
    content = SEEDS[extension]
    for place, inserted, removed in changes:
        at = int(place * len(content))
        content = content[:at] + inserted + content[at + removed :]
    result = convert(content, extension)
    assert (isinstance(result, str) and result) or (isinstance(result, Converted) and "\0" not in result.text)


def test_every_ending_that_is_read_by_default_has_a_reader():
    assert set(DocumentsSettings().extensions) == {*conversion._READERS, ".txt"}
