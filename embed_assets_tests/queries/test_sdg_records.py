"""The recipe's generated pairs as own pairs, and pairs as such records."""

import json

import polars as pl
import pytest

from embed_assets.artifacts.workspace import CollectionError
from embed_assets.queries.own_pairs import read_own_pairs
from embed_assets.queries.sdg_records import DocumentNames, pairs_of_record, records_of_pairs
from embed_assets_tests.sample_documents import DOCUMENTS, ask

TABLE = pl.DataFrame(
    [(document.document_id, document.title, document.text) for document in DOCUMENTS],
    schema=["document_id", "title", "text"],
    orient="row",
)


def record(*pairs: dict, file_name="/data/in/pump.md", marks: tuple[float, ...] = (), **changes) -> dict:
    text = TABLE.filter(pl.col("document_id") == "pump.md")["text"][0]
    judged = {"qa_evaluations": {"evaluations": [{"overall": {"score": mark}} for mark in marks]}} if marks else {}
    chunks = [{"chunk_id": 1, "text": " ".join(text.split())}]
    return {"file_name": file_name, "chunks": chunks, "deduplicated_qa_pairs": list(pairs)} | judged | changes


def pair(question: str = "Why is there no water?", segments=(1,), **changes) -> dict:
    return {
        "question": question,
        "answer": "The switch sticks.",
        "query_type": "contextual",
        "segment_ids": list(segments),
    } | changes


def test_records_in_pairs_jsonl_are_own_pairs_beside_plain_ones(chunks, encoder, tmp_path):
    lines = [record(pair()), {"query": "PRT-7719", "document_id": "printer.md", "answer": "Fixed in 3.8.1."}]
    (tmp_path / "pairs.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    own, notes = read_own_pairs(tmp_path, TABLE, chunks, encoder)
    assert own.select("query", "style", "document_id", "answer").rows() == [
        ("Why is there no water?", "contextual", "pump.md", "The switch sticks."),
        ("PRT-7719", "own", "printer.md", "Fixed in 3.8.1."),
    ]
    assert notes == []


def test_records_in_pairs_parquet_are_own_pairs_too(chunks, encoder, tmp_path):
    pl.DataFrame([record(pair(), marks=(8.0,))]).write_parquet(tmp_path / "pairs.parquet")
    own, notes = read_own_pairs(tmp_path, TABLE, chunks, encoder)
    assert own.select("query", "document_id").rows() == [("Why is there no water?", "pump.md")] and notes == []


def test_what_the_judge_of_the_recipe_refused_is_left_out():
    names = DocumentNames(["pump.md"])
    judged = record(pair("good?"), pair("bad?"), pair("just good?"), marks=(8.5, 6.9, 7.0))
    assert [row["query"] for row in pairs_of_record("f:1", judged, names)] == ["good?", "just good?"]


def test_a_pair_about_several_chunks_has_a_row_for_each_and_a_bundle_names_its_documents():
    chunks = [{"chunk_id": 1, "text": "One.", "doc_path": "/in/a.md"}, {"chunk_id": 2, "text": "Two.", "doc_id": "in/b.md"}]
    bundle = record(pair(segments=(1, 2)), file_name=["/in/a.md", "/in/b.md"], chunks=chunks)
    rows = list(pairs_of_record("f:1", bundle, DocumentNames(["a.md", "b.md"])))
    assert [(row["document_id"], row["passage"]) for row in rows] == [("a.md", "One."), ("b.md", "Two.")]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("guide/a.md", "guide/a.md"),
        ("/home/x/docs/guide/a.md", "guide/a.md"),
        ("C:\\docs\\other\\a.md", "other/a.md"),
        ("/elsewhere/b.md", "deep/b.md"),
        ("/elsewhere/a.md", "/elsewhere/a.md"),
        ("c.md", "c.md"),
    ],
)
def test_documents_are_found_by_paths_of_another_machine(path, name):
    assert DocumentNames(["guide/a.md", "other/a.md", "deep/b.md"]).find(path) == name


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"file_name": None}, "'file_name' must be"),
        ({"chunks": "no JSON"}, "'chunks' must be a list of objects"),
        ({"deduplicated_qa_pairs": [pair(segments=(7,))]}, "names the chunk 7, which is not there"),
        ({"qa_evaluations": {"evaluations": []}}, "0 evaluations of 1 pairs"),
        ({"deduplicated_qa_pairs": [pair() | {"segment_ids": 1}]}, "'segment_ids' must be a list"),
        ({"deduplicated_qa_pairs": [pair(segments=([1],))]}, "'segment_ids' must be a list"),
        ({"chunks": [{"chunk_id": [1], "text": "x"}]}, "names the chunk 1, which is not there"),
        ({"qa_evaluations": {"evaluations": [{"overall": {"mark": 8}}]}}, "needs a number as its 'score'"),
    ],
)
def test_a_record_that_cannot_be_used_is_named(changes, words):
    with pytest.raises(CollectionError, match=r"pairs\.jsonl:3") as caught:
        list(pairs_of_record("pairs.jsonl:3", record(pair()) | changes, DocumentNames(["pump.md"])))
    assert words in str(caught.value)


def test_pairs_that_are_written_as_records_are_read_as_the_same_pairs(chunks, encoder, tmp_path):
    pump, chess = ("what does E4012 mean", "pump.md"), ("who plays chess", "chess.md")
    both = ask(chunks, ("pump and chess", "pump.md"), ("pump and chess", "chess.md")).with_columns(
        query_id=pl.lit("both"), style=pl.lit("multi_hop")
    )
    pairs = pl.concat([ask(chunks, pump, chess), both]).with_columns(answer=pl.lit("Yes."), judge_score=pl.lit(8.0))
    records = list(records_of_pairs(pairs, chunks))
    assert [it["file_name"] for it in records] == [["pump.md"], ["chess.md"], ["chess.md", "pump.md"]]
    assert [it["deduplicated_qa_pairs"][0]["hop_count"] for it in records] == [1, 1, 2]
    (tmp_path / "pairs.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in records))
    own, _ = read_own_pairs(tmp_path, TABLE, chunks, encoder)
    columns = ["query", "document_id", "start", "end", "answer"]
    assert sorted(own.select(columns).rows()) == sorted(pairs.select(columns).rows())
