import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from embed_assets.artifacts.workspace import CollectionError
from embed_assets.corpus import beir
from embed_assets.corpus.documents import Document
from embed_assets.corpus.settings import DocumentsSettings
from embed_assets.evaluation.human_labels import read_human_labels
from embed_assets_tests.corpus.at_once import read_documents

CORPUS = [
    {"_id": 7, "title": "Dike", "text": "A dike keeps the sea out."},
    {"_id": "8", "title": "Lock", "text": ""},
    {"_id": "9", "title": "Weir"},
    {"_id": "10", "title": None, "text": None},
    {"_id": "11", "text": "The ferry leaves at nine."},
]
QUERIES = [{"_id": 1, "text": "what is a lock"}, {"_id": "q2", "text": "ferry"}, {"_id": "q3", "text": "nobody labelled it"}]


def lines(rows: list[dict]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def write(folder: Path, qrels: str, encoding: str = "utf-8", packed: bool = False) -> Path:
    for name, text in {"corpus.jsonl": lines(CORPUS), "queries.jsonl": lines(QUERIES), "qrels/test.tsv": qrels}.items():
        path = folder / f"{name}.gz" if packed else folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = text.encode(encoding)
        path.write_bytes(gzip.compress(content) if packed else content)
    return folder


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_documents_with_a_title_only_are_read_from_any_packing(tmp_path, encoding, packed, end):
    folder = write(tmp_path, f"query-id\tcorpus-id\tscore{end}1\t8\t1{end}", encoding, packed)
    documents, skipped = read_documents(folder, DocumentsSettings())
    assert documents == [
        Document("7", "Dike", "A dike keeps the sea out."),
        Document("8", "", "Lock"),
        Document("9", "", "Weir"),
        Document("11", "", "The ferry leaves at nine."),
    ]
    assert [item.document_id for item in skipped] == ["10"]
    queries, labels, _ = read_human_labels(folder, [document.document_id for document in documents])
    assert queries["query"].to_list() == ["what is a lock"]
    assert labels.select("query_id", "document_id", "relevance").rows() == [("1", "8", 1)]


@pytest.mark.parametrize(
    "text",
    [
        "query-id\tcorpus-id\tscore\n1\td 8\t2\nq2\td9\t0\n",
        "1\td 8\t2\nq2\td9\t0\n",
        "query_id\tdoc_id\trelevance\r\n1\td 8\t2.0\r\nq2\td9\t0.\r\n",
        "1\t0\td 8\t2\nq2\tQ0\td9\t0\n",
        "\ufeff1\td 8\t2\n\nq2 0 d9 0\n",
        "query-id\titer\tcorpus-id\tscore\n1\t0\td 8\t2\nq2\t0\td9\t0\n",
        "\n\nquery-id\tcorpus-id\tscore\n1\td 8\t2\nq2\td9\t0\n",
        "corpus-id\tquery-id\tscore\nd 8\t1\t2\nd9\tq2\t0\n",
        "docid\tqid\trel\nd 8\t1\t2\nd9\tq2\t0\n",
        "1\td 8\t1\nq2\td9\t0\n1\td 8\t2\n",
        "\tquery-id\tcorpus-id\tscore\n0\t1\td 8\t2\n1\tq2\td9\t0\n",
        "query-id\tcorpus-id\tscore\tannotator\tremark\n1\td 8\t2\tAnn\t-\nq2\td9\t0\tBob\t\n",
        "query-id\tcorpus-id\tscore\t\n1\td 8\t2\t\r\nq2\td9\t0\n",
        "query-id\tcorpus-id\tscore\n1\t0\td 8\t2\nq2 0 d9 0\n",
        "query-id\tcorpus-id\tscore\n1\td 8\t2\t1700000000\nq2\td9\t0\tAnn\t-\n",
        "judgment_id\tquery-id\tcorpus-id\tscore\n5\t1\td 8\t2\n6\tq2\td9\t0\n",
        "query_id\tquery\tdoc_id\tdocument\tlabel\n1\tHow?\td 8\tPull it.\t2\nq2\tWhy?\td9\tThe fan.\t0\n",
    ],
)
def test_qrels_of_several_shapes(tmp_path, text):
    (tmp_path / "test.tsv").write_bytes(text.encode())
    assert beir.read_qrels(tmp_path / "test.tsv") == [("1", "d 8", 2), ("q2", "d9", 0)]


@pytest.mark.parametrize(
    "row", ["1,d8,1", "1\td8", "1\td8\tyes", "1\td8\t0.5", "1\td8\tnan", "1\td8\t1e9", "a b c d e", "1\tq1\td8\t1"]
)
def test_other_rows_of_qrels_are_refused_by_line(tmp_path, row):
    (tmp_path / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n1\td8\t1\n{row}\n")
    with pytest.raises(CollectionError, match=r"test\.tsv:3: expected query-id, corpus-id and a whole number, separated by tabs"):
        beir.read_qrels(tmp_path / "test.tsv")


def test_qrels_of_unknown_queries_and_documents_are_counted(tmp_path):
    folder = write(tmp_path, "1\t8\t1\nPLAIN-2\t7\t1\nq2\tgone\t1\n")
    (folder / "qrels" / "validation.tsv").write_text("not, what it, should be\n")
    queries, labels, notes = read_human_labels(folder, ["7", "8", "9", "11"])
    assert queries["query_id"].to_list() == ["1", "q2"] and len(labels) == 2
    assert notes == [
        "1 labelled queries have no text in queries.jsonl, such as 'PLAIN-2', and are left out",
        "1 labelled documents are not in the collection, such as 'gone'",
        "1 of 3 queries have no relevant document and are left out",
    ]
    (folder / "qrels" / "test.tsv").write_text("PLAIN-2\t7\t1\n")
    with pytest.raises(CollectionError, match=r"no query of queries\.jsonl has a relevant document here"):
        read_human_labels(folder, ["7"])


@pytest.mark.parametrize("found", [True, 1.5, None, "", ["a"]])
def test_an_id_is_a_text_or_a_whole_number(tmp_path, found):
    (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": found, "text": "a"}))
    with pytest.raises(CollectionError, match=r"queries\.jsonl:1: '_id' must be a non-empty string or a whole number"):
        beir.read_queries(tmp_path / "queries.jsonl")


def test_ids_are_known_as_other_programs_write_them(tmp_path):
    corpus = [{"_id": name, "text": "A dike."} for name in (7.0, "8", "Lu\u0308fter", 'a"b', "1", "1 ")]
    qrels = '12.0\t7.0\t1\n"12"\t"Lüfter"\t1\n12\t8.0\t0\n12\t8\t2\n12\t"a""b"\t1\n12\t1\t1\n12\t1.0\t3\n'
    folder = write(tmp_path, qrels)
    (folder / "corpus.jsonl").write_text(lines(corpus))
    (folder / "queries.jsonl").write_text(lines([{"_id": 12, "text": "dy\u00adkes"}]))
    documents = [document.document_id for document in read_documents(folder, DocumentsSettings())[0]]
    queries, labels, notes = read_human_labels(folder, documents)
    assert queries.select("query_id", "query").rows() == [("12", "dykes")]
    # 1.0 may be "1" as well as "1 ": it stays unknown.
    assert labels.select("document_id", "relevance").rows() == [
        ("7", 1),
        ("Lu\u0308fter", 1),
        ("8", 2),
        ('a"b', 1),
        ("1", 1),
        ("1.0", 3),
    ]
    assert notes == ["1 labelled documents are not in the collection, such as '1.0'"]


def test_a_query_without_text_costs_itself_alone(tmp_path):
    folder = write(tmp_path, "1\t7\t1\nq2\t7\t1\nq3\t7\t1\n")
    (folder / "queries.jsonl").write_text(lines([{"_id": 1, "text": " "}, {"_id": "q2", "text": None}, QUERIES[2]]))
    queries, _, notes = read_human_labels(folder, ["7"])
    assert queries["query_id"].to_list() == ["q3"]
    assert notes == ["2 labelled queries have no text in queries.jsonl, such as '1', 'q2', and are left out"]


def test_a_style_that_is_null_is_none(tmp_path):
    (tmp_path / "queries.jsonl").write_text(lines([{"_id": "q", "text": "ferry", "metadata": {"style": None}}]))
    assert beir.read_queries(tmp_path / "queries.jsonl") == {"q": ("ferry", "")}


def test_paths_are_known_as_windows_writes_them():
    known = beir.KnownIds(["guide/install.md", "a/b", "a\\b"])
    assert known.find("guide\\install.md") == known.find("./guide/install.md") == "guide/install.md"
    assert known.find("a\\b") == "a\\b" and known.find("./a/b") == "./a/b"


def test_a_text_that_is_its_title_stands_once(tmp_path):
    folder = write(tmp_path, "1\t7\t1\n")
    (folder / "corpus.jsonl").write_text(lines([{"_id": 1, "title": "What is a dike?", "text": " What is a dike?"}]))
    assert read_documents(folder, DocumentsSettings())[0] == [Document("1", "", " What is a dike?")]


@pytest.mark.parametrize(
    ("qrels", "words"),
    [
        ("1\t007\t1\n", r"it names '007'; documents that are there: '11', '7', '8'$"),
        ("one\t7\t1\n", r"no query of queries\.jsonl .* compare their ids: 'one' here, '1', 'q2', 'q3' there$"),
    ],
)
def test_ids_that_match_nothing_are_told_beside_those_that_there_are(tmp_path, qrels, words):
    with pytest.raises(CollectionError, match=words):
        read_human_labels(write(tmp_path, qrels), ["7", "8", "11"])


def test_queries_that_are_trained_on_alone_lack_nothing(tmp_path):
    folder = write(tmp_path, "1\t7\t1\n")
    (folder / "qrels" / "test.tsv").rename(folder / "qrels" / "train.tsv")
    assert read_human_labels(folder, ["7"])[2] == []


def test_a_zero_byte_in_a_text_costs_no_more_than_itself(tmp_path):
    folder = write(tmp_path, "1\t7\t1\n")
    (folder / "corpus.jsonl").write_text(lines([{"_id": 1, "text": f"A di\0ke {'is long. ' * 20}"}, {"_id": 2, "text": "\1\2"}]))
    documents, skipped = read_documents(folder, DocumentsSettings())
    assert [it.text[:9] for it in documents] == ["A dike is"] and [it.reason for it in skipped] == ["binary data"]


def test_a_file_that_unpacks_to_far_more_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(beir, "UNPACKED_AT_LEAST", 1000)
    path = tmp_path / "corpus.jsonl.gz"
    path.write_bytes(gzip.compress(b"  \n" * 2_000_000))
    with pytest.raises(CollectionError, match="more than 200 times as long as the packed file"):
        list(beir.read_corpus(path))
    path.write_bytes(gzip.compress(lines(CORPUS).encode())[:-9])
    with pytest.raises(CollectionError, match="not a whole gzip file"):
        list(beir.read_corpus(path))
    path.write_bytes(b"plain")
    with pytest.raises(CollectionError, match="not a whole gzip file"):
        list(beir.read_corpus(path))


@pytest.mark.parametrize(("rows", "letters"), [(2_000_000, 1), (3_000, 100_000)])
def test_a_table_that_unpacks_to_far_more_is_refused(tmp_path, monkeypatch, rows, letters):
    """A value that all rows have is stored once."""
    path = tmp_path / "pairs.parquet"
    pl.select(query=pl.repeat("x" * letters, rows)).write_parquet(path)
    monkeypatch.setattr(beir, "UNPACKED_AT_LEAST", 1_000_000)
    with pytest.raises(CollectionError, match=r"pairs\.parquet: more than 200 times as long as the packed file"):
        beir.read_parquet(path)
    monkeypatch.setattr(beir, "UNPACKED_AT_LEAST", 1_000_000_000)
    assert len(beir.read_parquet(path)) == rows


@pytest.mark.parametrize(
    "cell", [[0] * 30_000_000, "x" * 150_000_000], ids=["a list of one number again and again", "a long text"]
)
def test_one_cell_that_unpacks_to_far_more_is_refused_before_it_is_unpacked(tmp_path, monkeypatch, cell):
    kind = pl.List(pl.Int8) if isinstance(cell, list) else pl.String
    pl.DataFrame({"query": ["Which pump?"], "more": [cell]}, {"query": pl.String, "more": kind}).write_parquet(
        tmp_path / "pairs.parquet"
    )
    monkeypatch.setattr(pl, "read_parquet", None)  # it is not even called
    with pytest.raises(CollectionError, match=r"pairs\.parquet: more than 200 times as long as the packed file"):
        beir.read_parquet(tmp_path / "pairs.parquet")


def test_what_is_written_is_read_again(tmp_path):
    beir.write_qrels(tmp_path / "test.tsv", [("q 1", "d\t1", 2)])
    beir.write_jsonl(tmp_path / "queries.jsonl", [{"_id": "q%201", "text": "à la 水"}])
    assert beir.read_qrels(tmp_path / "test.tsv") == [("q%201", "d%091", 2)]
    assert beir.read_queries(tmp_path / "queries.jsonl") == {"q%201": ("à la 水", "")}


def test_labels_of_an_empty_frame_keep_their_schema(tmp_path):
    queries, labels, notes = read_human_labels(tmp_path, [])
    assert queries.is_empty() and labels.is_empty() and notes == [] and labels.schema["relevance"] == pl.Int64


def test_files_that_were_put_together_and_rows_in_quotes_are_read(tmp_path):
    folder = write(tmp_path, '"query-id"\t"corpus-id"\t"score"\n"1"\t"8"\t"1"\n')
    corpus = folder / "corpus.jsonl"
    corpus.write_text(
        f"{lines(CORPUS)}\ufeff{lines([{'_id': 'x', 'title': float('nan'), 'text': 'A sluice.'}])}", encoding="utf-8"
    )
    assert read_documents(folder, DocumentsSettings())[0][-1] == Document("x", "", "A sluice.")
    assert read_human_labels(folder, ["8"])[1]["document_id"].to_list() == ["8"]


@pytest.mark.parametrize(
    ("corpus", "qrels", "words"),
    [
        ('{"id": "7", "contents": "x"}\n', "", "the keys of this line are 'id', 'contents': rename that of the id"),
        ('{"_id": "7", "title": "x", "contents": "y"}\n', "", "the text of '7' is called 'contents': rename it 'text'"),
        ('[{"_id": "7", "text": "x"}]\n', "", "found list: each line has to be one by itself"),
        ('[\n{"_id": "7", "text": "x"}]\n', "", "each line has to be one JSON object by itself"),
        ('{"_id": "7", "text": "x"}\n{"_id": 7, "text": "y"}\n', "", "stands twice: keep one of the lines"),
    ],
)
def test_a_refusal_says_what_to_do(tmp_path, corpus, qrels, words):
    folder = write(tmp_path, qrels)
    if corpus:
        (folder / "corpus.jsonl").write_text(corpus)
    with pytest.raises(CollectionError, match=words):
        read_human_labels(folder, [item.document_id for item in read_documents(folder, DocumentsSettings())[0]])


def test_a_number_that_python_does_not_read_is_told_with_its_line(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"_id": ' + "9" * 5000 + "}\n")
    with pytest.raises(CollectionError, match=r"corpus\.jsonl:1: not JSON: Exceeds the limit"):
        list(beir.read_jsonl(path))
