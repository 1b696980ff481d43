import json
from pathlib import Path

import polars as pl
import pytest

from embed_assets.artifacts.workspace import CollectionError
from embed_assets.evaluation.evaluation_set import LABEL_SCHEMA, QUERY_SCHEMA, current_labels
from embed_assets.evaluation.human_labels import human_labels_digest, read_human_labels

QUERIES = [
    {"_id": "q1", "text": "Why does the pump run dry?", "metadata": {"style": "problem"}},
    {"_id": "q2", "text": "clean the filter"},
]
QRELS = "query-id\tcorpus-id\tscore\nq1\tpump.md\t2\nq1\tfilter.md\t0\nq2\tfilter.md\t1\n"
DOCUMENTS = ["pump.md", "filter.md", "valve.md"]


@pytest.fixture
def labels_in(tmp_path):
    """Writes queries.jsonl and qrels/test.tsv and returns their folder."""

    def write(queries: list | str = QUERIES, qrels: str = QRELS) -> Path:
        text = queries if isinstance(queries, str) else "\n".join(json.dumps(query) for query in queries)
        (tmp_path / "queries.jsonl").write_text(text, encoding="utf-8")
        (tmp_path / "qrels").mkdir()
        (tmp_path / "qrels" / "test.tsv").write_text(qrels, encoding="utf-8", newline="")
        return tmp_path

    return write


def test_human_labels_are_read(labels_in):
    queries, labels, notes = read_human_labels(labels_in(), DOCUMENTS)
    assert queries.schema == QUERY_SCHEMA and labels.schema == LABEL_SCHEMA
    assert queries.rows() == [
        ("q1", "Why does the pump run dry?", "problem", "human", "test"),
        ("q2", "clean the filter", "", "human", "test"),
    ]
    assert labels.rows() == [("q1", "pump.md", None, None, None, 2), ("q2", "filter.md", None, None, None, 1)]
    assert notes == []


@pytest.mark.parametrize(
    "qrels", [QRELS.replace("\n", "\r\n"), QRELS.replace("q2", "\nq2"), QRELS.rstrip()], ids=["CRLF", "blank", "no end"]
)
def test_the_label_file_may_have_other_line_ends(labels_in, qrels):
    _, labels, _ = read_human_labels(labels_in(qrels=qrels), DOCUMENTS)
    assert labels.select("query_id", "document_id", "relevance").rows() == [("q1", "pump.md", 2), ("q2", "filter.md", 1)]


def test_a_quotation_mark_in_an_id_is_a_character(labels_in):
    qrels = QRELS.replace("filter.md", '"filter".md')
    _, labels, _ = read_human_labels(labels_in(qrels=qrels), ["pump.md", '"filter".md'])
    assert labels["document_id"].to_list() == ["pump.md", '"filter".md']


def test_labels_of_unknown_documents_are_noted(labels_in):
    folder = labels_in(qrels=QRELS + "q2\tgone.md\t1\nq2\tlost.md\t1\nq2\tirrelevant.md\t0\n")
    queries, labels, notes = read_human_labels(folder, DOCUMENTS)
    assert len(queries) == 2
    assert notes == ["2 labelled documents are not in the collection, such as 'gone.md', 'lost.md'"]
    documents = pl.DataFrame({"document_id": DOCUMENTS, "text": ["..."] * 3})
    assert current_labels(labels, documents)["document_id"].to_list() == ["pump.md", "filter.md"]


def test_queries_without_a_relevant_document_are_noted_and_left_out(labels_in):
    queries, _, notes = read_human_labels(labels_in([*QUERIES, {"_id": "q3", "text": "open the valve"}]), DOCUMENTS)
    assert queries["query_id"].to_list() == ["q1", "q2"]
    assert notes == ["1 of 3 queries have no relevant document and are left out"]


def test_labels_that_all_miss_the_collection_are_an_error(labels_in):
    with pytest.raises(CollectionError, match=r"it names 'filter\.md', 'pump\.md'; documents that are there: 'other\.md'$"):
        read_human_labels(labels_in(), ["other.md"])


def test_a_collection_without_labels_has_none(tmp_path):
    queries, labels, notes = read_human_labels(tmp_path, DOCUMENTS)
    assert queries.is_empty() and labels.is_empty() and notes == []
    assert queries.schema == QUERY_SCHEMA and labels.schema == LABEL_SCHEMA


def test_dev_labels_of_people_are_read_and_test_queries_choose_nothing(labels_in):
    folder = labels_in()
    (folder / "qrels" / "dev.tsv").write_text(QRELS.splitlines()[0] + "\nq1\tvalve.md\t1\nq2\tvalve.md\t1\n")
    (folder / "qrels" / "test.tsv").write_text(QRELS.replace("q2\tfilter.md\t1\n", ""))
    queries, labels, notes = read_human_labels(folder, DOCUMENTS)
    assert queries.select("query_id", "split").rows() == [("q1", "test"), ("q2", "dev")]
    assert labels.select("query_id", "document_id").rows() == [("q1", "pump.md"), ("q2", "valve.md")]
    assert notes == ["1 queries of qrels/dev.tsv have test labels too, and are tested with alone"]
    before = human_labels_digest(folder)
    (folder / "qrels" / "test.tsv").unlink()
    queries, _, _ = read_human_labels(folder, DOCUMENTS)
    assert set(queries["split"]) == {"dev"} and human_labels_digest(folder) != before


@pytest.mark.parametrize(("missing", "there"), [("queries.jsonl", "test.tsv"), ("qrels/test.tsv", "queries.jsonl")])
def test_half_of_the_labels_is_noted_and_told(labels_in, missing, there, caplog):
    folder = labels_in()
    (folder / missing).unlink()
    queries, labels, notes = read_human_labels(folder, DOCUMENTS)
    assert queries.is_empty() and labels.is_empty()
    assert len(notes) == 1 and notes[0].startswith(f"{there} has no counterpart") and notes[0] in caplog.text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        pytest.param('{"_id": "q2", ', "not JSON", id="not JSON"),
        pytest.param('"q2"', "expected a JSON object, found str", id="not an object"),
        pytest.param('{"text": "clean"}', "'_id' must be a non-empty string or a whole number", id="no id"),
        pytest.param('{"_id": 2.5, "text": "clean"}', "'_id' must be a non-empty string or a whole number", id="half an id"),
        pytest.param('{"_id": "", "text": "clean"}', "'_id' must be a non-empty string or a whole number", id="empty id"),
        pytest.param('{"_id": "q2"}', "'text' of the query 'q2' must be a non-empty string", id="no text"),
        pytest.param('{"_id": "q1", "text": "clean"}', "'q1' stands twice", id="duplicate id"),
    ],
)
def test_a_malformed_query_names_its_line(labels_in, line, words):
    folder = labels_in(f"{json.dumps(QUERIES[0])}\n\n{line}\n")
    with pytest.raises(CollectionError) as caught:
        read_human_labels(folder, DOCUMENTS)
    assert str(caught.value).startswith(f"{folder / 'queries.jsonl'}:3: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        "q1,pump.md,1",
        "q1\tpump.md",
        "q1\tpump.md\t1.5",
        "q1\tpump.md\tyes",
        "q1\tpump.md\t",
        "q1\tpump.md\t--1",
        "q1\tpump.md\t²",
    ],
)
def test_a_malformed_label_names_its_line(labels_in, line):
    folder = labels_in(qrels=QRELS + line + "\n")
    with pytest.raises(CollectionError) as caught:
        read_human_labels(folder, DOCUMENTS)
    assert str(caught.value).startswith(f"{folder / 'qrels' / 'test.tsv'}:5: expected query-id, corpus-id and a whole number")


def test_a_label_of_an_unknown_query_is_noted(labels_in):
    _, labels, notes = read_human_labels(labels_in(qrels=QRELS + "q9\tpump.md\t1\n"), DOCUMENTS)
    assert "q9" not in labels["query_id"].to_list()
    assert "1 labelled queries have no text in queries.jsonl, such as 'q9', and are left out" in notes


@pytest.mark.parametrize(
    ("qrels", "words"),
    [("", "there is no label in it"), ("query-id,corpus-id,score\nq1,pump.md,1\n", ":1: expected query-id, corpus-id")],
    ids=["empty", "commas"],
)
def test_a_label_file_without_rows_is_refused(labels_in, qrels, words):
    with pytest.raises(CollectionError, match=rf"test\.tsv{words}|test\.tsv: {words}"):
        read_human_labels(labels_in(qrels=qrels), DOCUMENTS)


def test_a_label_file_that_is_not_utf8_is_named(labels_in):
    folder = labels_in()
    (folder / "qrels" / "test.tsv").write_bytes(QRELS.replace("pump", "p\xfcmp").encode("latin-1"))
    with pytest.raises(CollectionError, match=r"test\.tsv.*UTF-8"):
        read_human_labels(folder, DOCUMENTS)


def test_a_negative_label_is_not_relevant(labels_in):
    _, labels, _ = read_human_labels(labels_in(qrels=QRELS + "q1\tvalve.md\t-1\n"), DOCUMENTS)
    assert labels["document_id"].to_list() == ["pump.md", "filter.md"]


def test_the_digest_of_the_labels_tells_any_change(labels_in):
    folder = labels_in()
    before = human_labels_digest(folder)
    assert human_labels_digest(folder) == before
    (folder / "qrels" / "test.tsv").write_text(QRELS.replace("2", "1"))
    changed = human_labels_digest(folder)
    (folder / "qrels" / "test.tsv").unlink()
    assert len({before, changed, human_labels_digest(folder)}) == 3
