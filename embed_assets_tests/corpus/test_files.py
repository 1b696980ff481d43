import os

import pytest

from embed_assets.artifacts.workspace import CollectionError
from embed_assets.corpus.files import list_files, source_digest
from embed_assets.corpus.settings import DocumentsSettings
from embed_assets_tests.corpus.at_once import read_documents


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "collection"
    for name in ("documents/good.md", "elsewhere/wiki.md", ".git/notes.md"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"# {name}\n\nThe pump runs dry.")
    return root


def reasons(folder) -> dict[str, str]:
    return {item.document_id: item.reason for item in list_files(folder).skipped}


def test_a_linked_folder_of_the_collection_is_read_once(folder):
    (folder / "documents" / "wiki").symlink_to(folder / "elsewhere")
    (folder / "documents" / "again").symlink_to(folder / "elsewhere")
    assert list(list_files(folder).files) == ["again/wiki.md", "good.md"]
    assert reasons(folder) == {"wiki": "a link to what is read at its own place"}


def test_a_link_out_of_the_collection_is_never_followed_and_is_listed(folder, tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key.md").write_text("swordfish")
    (folder / "documents" / "folder").symlink_to(tmp_path / "secret")
    (folder / "documents" / "file.md").symlink_to(tmp_path / "secret" / "key.md")
    assert list(list_files(folder).files) == ["good.md"]
    assert reasons(folder) == dict.fromkeys(
        ("file.md", "folder"), "a link out of the collection's folder, which is never followed"
    )


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("nowhere", "a link to nothing"),
        ("documents", "a link to what is read at its own place"),
        ("documents/good.md", "a link to what is read at its own place"),
        (".", "a link to what is read at its own place"),
        (".git", "a link to a hidden place"),
        ("documents/link", "a link to nothing"),
    ],
)
def test_links_that_are_not_followed_say_why(folder, target, reason):
    (folder / "documents" / "link").symlink_to(folder / target)
    assert list(list_files(folder).files) == ["good.md"] and reasons(folder) == {"link": reason}


def test_names_that_are_no_utf8_are_read_under_a_replaced_name(folder):
    (folder / "documents" / os.fsdecode(b"caf\xe9.md")).write_text("The valve leaks.")
    documents, skipped = read_documents(folder, DocumentsSettings())
    assert [document.document_id for document in documents] == ["caf\\xe9.md", "good.md"] and not skipped
    assert len(source_digest(folder)) == 32


def test_composed_and_decomposed_names_are_equal(folder):
    (folder / "documents" / "gro\u0308ße.md").write_text("a")
    assert "größe.md" in list_files(folder).files
    (folder / "documents" / "größe.md").write_text("b")
    assert reasons(folder) == {"größe.md": "another file has the same name in another writing of its letters"}


def test_what_lies_beside_and_what_is_no_file_is_listed(folder):
    (folder / "settings.yml").write_text("")
    (folder / "corpus.jsonl").write_text("")
    os.mkfifo(folder / "documents" / "pipe.md")
    assert reasons(folder) == {
        "settings.yml": "not read: that would be settings.yaml",
        "corpus.jsonl": "not read: there is documents/ as well",
        "pipe.md": "neither a file nor a folder",
    }


def test_nearly_the_name_of_something_that_is_read_is_listed(folder):
    known = ("corpus.jsonl", "queries.jsonl.gz", "pairs.parquet", "triplets.jsonl", "qrels/test.tsv", "qrels/dev.tsv.gz")
    wrong = (
        "pairs.csv",
        "Queries.jsonl",
        "qrels.tsv",
        "corpus.json",
        "docs/a.md",
        "triplet.jsonl",
        "qrels/Test.tsv",
        "qrels/test.txt",
        "qrels/validation.tsv",
        "reviewed_questions.csv",
    )
    other = (
        "README.md",
        "pairing.md",
        "documentation.pdf",
        "qrels/testing.tsv",
        "reviewed_questions.jsonl",
    )
    for name in (*known, *wrong, *other, "prompts/pairs.jinja"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("")
    found = reasons(folder)
    assert found.pop("corpus.jsonl") == "not read: there is documents/ as well"
    assert set(found) == {name.removesuffix("/a.md") for name in wrong}
    assert found["pairs.csv"] == "not read: that would be pairs.jsonl or pairs.parquet"
    assert found["qrels/Test.tsv"] == "not read: that would be qrels/test.tsv"


def test_a_collection_without_documents_says_what_there_is_instead(tmp_path):
    (tmp_path / "corpus.tsv").write_text("")
    with pytest.raises(CollectionError, match=r"corpus\.tsv is not read: that would be corpus\.jsonl"):
        list_files(tmp_path)


def test_what_is_passed_over_counts_in_the_digest(folder):
    before = source_digest(folder)
    (folder / "documents" / "link").symlink_to("/nowhere")
    assert source_digest(folder) != before
