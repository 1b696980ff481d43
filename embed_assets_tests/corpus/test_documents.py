import json
import zipfile
from pathlib import Path

import pytest

from embed_assets.artifacts.workspace import CollectionError
from embed_assets.corpus.beir import read_jsonl
from embed_assets.corpus.documents import Document
from embed_assets.corpus.files import source_digest, source_files
from embed_assets.corpus.settings import DocumentsSettings
from embed_assets_tests.corpus.at_once import read_documents
from embed_assets_tests.corpus.pdf_files import pdf

SENTENCE = "The pump runs dry when the float switch sticks."
WORD = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def write_docx(path: Path, heading: str, paragraph: str) -> None:
    """A Word file with a heading and a paragraph, as small as the format allows."""
    office = "http://schemas.openxmlformats.org"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{office}/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Override PartName="/word/document.xml" '
        'ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{office}/package/2006/relationships"><Relationship Id="r1" '
        f'Type="{office}/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/></Relationships>',
        "word/document.xml": f"<w:document {WORD}><w:body>"
        f'<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>{heading}</w:t></w:r></w:p>'
        f"<w:p><w:r><w:t>{paragraph}</w:t></w:r></w:p></w:body></w:document>",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, f'<?xml version="1.0" encoding="UTF-8"?>{text}')


@pytest.fixture
def folder(tmp_path) -> Path:
    """A collection with one good document, so that reading it does not fail."""
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "good.md").write_text(f"# Good\n\n{SENTENCE}\n")
    return tmp_path


@pytest.fixture
def beir(tmp_path):
    """Writes corpus.jsonl and returns its folder."""

    def write(*rows: dict | str) -> Path:
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (tmp_path / "corpus.jsonl").write_text("\n".join(lines), encoding="utf-8")
        return tmp_path

    return write


def read_one(folder: Path, name: str, content: str | bytes) -> Document:
    path = folder / "documents" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    documents, skipped = read_documents(folder, DocumentsSettings())
    assert not skipped
    return next(document for document in documents if document.document_id == name)


def reason_to_skip(folder: Path, name: str, content: str | bytes, settings: DocumentsSettings = DocumentsSettings()) -> str:
    (folder / "documents" / name).write_bytes(content.encode() if isinstance(content, str) else content)
    documents, skipped = read_documents(folder, settings)
    assert [document.document_id for document in documents] == ["good.md"]
    assert [item.document_id for item in skipped] == [name]
    return skipped[0].reason


def test_markdown_is_read_as_it_is_with_its_first_heading_as_title(folder):
    text = f"## Pump manual ##\n\n{SENTENCE} Größe: 3 µm 🚰\n\n# Later heading\n"
    assert read_one(folder, "pumps/manual.md", text) == Document("pumps/manual.md", "Pump manual", text)


def test_an_underlined_markdown_heading_is_a_title(folder):
    assert read_one(folder, "manual.md", f"Pump manual\n===========\n\n{SENTENCE}\n").title == "Pump manual"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("notes.md", "# 4.2.0 (2024-03-01)\n\nFixed NOX-1.\n\n# 4.1.0 (2024-02-01)\n\nFixed NOX-2.\n"),
        ("notes.md", f"## Scope\n\n{SENTENCE * 500}\n\n## Terms\n\nPay.\n"),
        ("notes.md", "# 1 Care\n\nOil it.\n\n# 2. Storage\n\nKeep it dry.\n"),
        ("notes.md", "# Chapter 1: Care\n\nOil it.\n\n# Chapter 2: Storage\n\nKeep it dry.\n"),
        ("notes.rst", "Release 4.2\n===========\n\nFixed NOX-1.\n\nRelease 4.1\n===========\n\nFixed NOX-2.\n"),
    ],
)
def test_the_first_of_several_sections_is_not_the_title_of_the_others(folder, name, text):
    assert read_one(folder, name, text).title == "notes"


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("# Fan kit\n\nTurn.\n\n# Seals\n\nGrease.\n", "Fan kit"),
        ("# Fan 42\n\nTurn.\n\n# Seals 4\n\nGrease.\n", "Fan 42"),
        ("## Fan kit\n\nTurn.\n\n### Seals\n\nGrease.\n\n### Bolts\n", "Fan kit"),
    ],
)
def test_a_heading_that_none_is_like_is_the_title(folder, text, title):
    assert read_one(folder, "notes.md", text).title == title


def test_a_comment_in_a_code_block_is_no_title(folder):
    text = f"```sh\n# start it first\npump --start\n```\n\n# Pump manual\n\n{SENTENCE}\n"
    assert read_one(folder, "manual.md", text).title == "Pump manual"


def test_plain_text_takes_its_title_from_the_file_name(folder):
    assert read_one(folder, "float-switch.txt", SENTENCE) == Document(
        "float-switch.txt", "float-switch", SENTENCE, markdown=False
    )


def test_a_byte_order_mark_is_no_part_of_the_text(folder):
    assert read_one(folder, "bom.txt", b"\xef\xbb\xbf" + SENTENCE.encode()).text == SENTENCE


def test_restructured_text_becomes_markdown(folder):
    text = f"Pump manual\n===========\n\n{SENTENCE}\n\nCleaning\n--------\n\nUse *warm* water and ``--rinse``.\n"
    document = read_one(folder, "manual.rst", text)
    assert document.title == "Pump manual"
    assert SENTENCE in document.text and "## Cleaning" in document.text
    assert "Use warm water and --rinse." in document.text


def test_restructured_text_without_a_title_takes_that_of_the_file_name(folder):
    assert read_one(folder, "float-switch.rst", f"{SENTENCE}\n\nUse warm water.\n").title == "float-switch"


def test_restructured_text_cannot_read_other_files(folder, tmp_path):
    (tmp_path / "secret.txt").write_text("the password is swordfish")
    document = read_one(folder, "manual.rst", f"{SENTENCE}\n\n.. include:: {tmp_path / 'secret.txt'}\n")
    assert SENTENCE in document.text and "swordfish" not in document.text


def test_html_becomes_markdown_with_the_title_of_its_head(folder):
    page = (
        "<html><head><title>Pumps &amp; valves</title><style>p {color: red}</style></head>"
        f"<body><h1>Manual</h1><p>{SENTENCE} Größe: 3 µm</p><ul><li>Rinse it.</li></ul><script>track()</script></body></html>"
    )
    document = read_one(folder, "manual.html", page)
    assert document.title == "Pumps & valves"
    assert "# Manual" in document.text and f"{SENTENCE} Größe: 3 µm" in document.text and "Rinse it." in document.text
    assert "track()" not in document.text and "color" not in document.text and "<p>" not in document.text


def test_html_without_a_title_takes_its_first_heading(folder):
    assert read_one(folder, "manual.htm", f"<h2>Pump manual</h2><p>{SENTENCE}</p>").title == "Pump manual"


def test_word_files_are_read_with_their_heading(folder):
    write_docx(folder / "documents" / "manual.docx", "Pump manual", SENTENCE)
    documents, skipped = read_documents(folder, DocumentsSettings())
    assert not skipped
    assert documents[1].title == "Pump manual"
    assert SENTENCE in documents[1].text


def test_pdf_files_are_read(folder):
    document = read_one(folder, "float-switch.pdf", pdf(["Pump manual", SENTENCE]))
    assert document.title == "float-switch"
    assert "Pump manual" in document.text and SENTENCE in document.text


def test_extensions_are_told_apart_from_case(folder):
    assert read_one(folder, "MANUAL.MD", f"# Pump manual\n\n{SENTENCE}\n").title == "Pump manual"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        pytest.param("empty.md", "", "empty file", id="empty"),
        pytest.param("blank.md", " \n\t\n" * 20, "0 characters of text are fewer than 1", id="blank"),
        pytest.param("image.txt", b"\x89PNG\x00\x00\x00\rIHDR" + b"\x00" * 40, "binary data", id="binary, not UTF-8"),
        pytest.param("data.txt", b"\x00\x01\x02" * 20, "binary data", id="binary"),
        pytest.param("table.xyz", SENTENCE, ".xyz extension is not among .md, .markdown", id="unknown extension"),
        pytest.param("Makefile", SENTENCE, "no extension is not among .md", id="no extension"),
        pytest.param("garbage.pdf", b"%PDF-1.4 and then nothing of the kind.", "broken PDF", id="broken pdf"),
        pytest.param("cut.pdf", pdf([SENTENCE])[:300], "broken PDF", id="truncated pdf"),
        pytest.param("garbage.docx", "This was never a Word file, only text.", "broken archive", id="broken docx"),
    ],
)
def test_what_cannot_be_used_is_skipped_with_a_reason(folder, name, content, reason):
    assert reason in reason_to_skip(folder, name, content)


def test_html_in_another_encoding_than_utf8_is_read_as_a_browser_reads_it(folder):
    page = f"<html><head><title>Größe</title></head><body><p>{SENTENCE} Für Größe 3.</p></body></html>"
    (folder / "documents" / "latin.html").write_bytes(page.encode("latin-1"))
    documents, skipped = read_documents(folder, DocumentsSettings())
    assert not skipped
    assert [document.text.endswith("Für Größe 3.") for document in documents if document.document_id == "latin.html"] == [True]


def test_a_large_file_is_skipped_with_its_size(folder):
    reason = reason_to_skip(folder, "large.txt", SENTENCE * 30_000, DocumentsSettings(max_megabytes=1.0))
    assert reason == "1.4 MB is more than 1.0 MB"


def test_hidden_files_and_folders_are_passed_over(folder):
    for name in (".hidden.md", ".git/notes.md", "pumps/.drafts/draft.md"):
        path = folder / "documents" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SENTENCE)
    documents, skipped = read_documents(folder, DocumentsSettings())
    assert [document.document_id for document in documents] == ["good.md"] and not skipped


def test_a_collection_below_a_hidden_folder_is_read(tmp_path):
    root = tmp_path / ".cache" / "pumps"
    (root / "documents").mkdir(parents=True)
    (root / "documents" / "manual.md").write_text(SENTENCE)
    assert source_files(root) == [root / "documents" / "manual.md"]


def test_documents_come_in_a_fixed_order(folder):
    for name in ("zebra.md", "apple.md", "b/first.md"):
        path = folder / "documents" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"# {name}\n\n{SENTENCE}")
    documents, _ = read_documents(folder, DocumentsSettings())
    assert [document.document_id for document in documents] == ["apple.md", "b/first.md", "good.md", "zebra.md"]


@pytest.mark.parametrize("change", ["edit", "rename", "add", "remove"])
def test_the_source_digest_tells_any_change(folder, change):
    (folder / "documents" / "other.md").write_text(SENTENCE)
    before = source_digest(folder)
    assert source_digest(folder) == before
    if change == "edit":
        (folder / "documents" / "other.md").write_text(f"{SENTENCE} Replace it.")
    elif change == "rename":
        (folder / "documents" / "other.md").rename(folder / "documents" / "another.md")
    elif change == "add":
        (folder / "documents" / "third.md").write_text(SENTENCE)
    else:
        (folder / "documents" / "other.md").unlink()
    assert source_digest(folder) != before


def test_the_source_digest_does_not_see_hidden_files(folder):
    before = source_digest(folder)
    (folder / "documents" / ".DS_Store").write_bytes(b"\x00")
    assert source_digest(folder) == before


def test_an_empty_collection_is_an_error(tmp_path):
    (tmp_path / "documents").mkdir()
    with pytest.raises(CollectionError, match=r"no usable document .*the folder is empty"):
        read_documents(tmp_path, DocumentsSettings())


def test_a_collection_in_which_everything_is_skipped_says_why(tmp_path):
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "short.md").write_text("Short.")
    with pytest.raises(CollectionError, match=r"short\.md: 6 characters"):
        read_documents(tmp_path, DocumentsSettings(min_characters=20))


def test_a_beir_corpus_is_read(beir):
    rows = [
        {"_id": "d1", "title": " Pumps ", "text": SENTENCE, "metadata": {"url": "x"}},
        "",
        {"_id": "d2", "text": "Die Größe der Pumpe: 3 µm 🚰"},
        {"_id": "d3", "title": "", "text": "Short."},
    ]
    documents, skipped = read_documents(beir(*rows), DocumentsSettings(min_characters=20))
    assert documents == [Document("d1", "Pumps", SENTENCE), Document("d2", "", "Die Größe der Pumpe: 3 µm 🚰")]
    assert [(item.document_id, item.reason) for item in skipped] == [("d3", "6 characters of text are fewer than 20")]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        pytest.param('{"_id": "d2", "text": ', "not JSON", id="not JSON"),
        pytest.param('["d2"]', "expected a JSON object, found list", id="not an object"),
        pytest.param({"text": SENTENCE}, "'_id' must be a non-empty string or a whole number, found None", id="no id"),
        pytest.param(
            {"_id": 7.5, "text": SENTENCE}, "'_id' must be a non-empty string or a whole number, found 7.5", id="half an id"
        ),
        pytest.param(
            {"_id": "", "text": SENTENCE}, "'_id' must be a non-empty string or a whole number, found ''", id="empty id"
        ),
        pytest.param({"_id": "d2", "text": ["a"]}, "'text' and 'title' of 'd2' must be strings", id="list as text"),
        pytest.param({"_id": "d2", "text": SENTENCE, "title": 5}, "'text' and 'title' of 'd2'", id="number as title"),
        pytest.param({"_id": "d1", "text": SENTENCE}, "'d1' stands twice", id="duplicate id"),
    ],
)
def test_a_malformed_beir_corpus_names_the_line(beir, row, words):
    folder = beir({"_id": "d1", "text": SENTENCE}, "", row)
    with pytest.raises(CollectionError) as caught:
        read_documents(folder, DocumentsSettings())
    assert str(caught.value).startswith(f"{folder / 'corpus.jsonl'}:3: ")
    assert words in str(caught.value)


def test_a_beir_corpus_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / "corpus.jsonl").write_bytes('{"_id": "d1", "text": "Die Größe der Pumpe ist wichtig."}'.encode("latin-1"))
    with pytest.raises(CollectionError, match=r"corpus\.jsonl.*not UTF-8"):
        read_documents(tmp_path, DocumentsSettings())


def test_half_a_surrogate_pair_in_a_beir_corpus_does_not_get_through(beir):
    folder = beir({"_id": "d1", "text": SENTENCE}, r'{"_id": "d2", "text": "The emoji was cut in half: \ud83d here."}')
    try:
        documents, _ = read_documents(folder, DocumentsSettings())
    except CollectionError as error:
        assert ":2: " in str(error)
    else:
        assert all(document.text.encode("utf-8") for document in documents)


def test_jsonl_lines_are_numbered_as_an_editor_does(tmp_path):
    path = tmp_path / "queries.jsonl"
    path.write_text('{"_id": "q1"}\n\n{"_id": "q2", "text": "one\u2028two"}\r\n', encoding="utf-8", newline="")
    assert list(read_jsonl(path)) == [(1, {"_id": "q1"}), (3, {"_id": "q2", "text": "one\u2028two"})]
