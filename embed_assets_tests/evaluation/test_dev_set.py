"""The dev queries that a training is judged by."""

from math import log2

import polars as pl
import pytest

from embed_assets.corpus.documents import Document
from embed_assets.evaluation.dev_set import DevSet, dev_ndcg, draw_dev_set, read_dev_set
from embed_assets_tests.evaluation.test_scoring import TableEncoder, human_labels, make_queries, ranking, span_labels
from embed_assets_tests.sample_documents import DOCUMENTS


def dev_queries(source: str, chunks: pl.DataFrame, count: int = 36) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Queries about the documents in turn, each answered by its whole document."""
    rows = chunks.select("document_id", "start", "end", "text").rows()
    asked = {f"{source}{number}": rows[number % len(rows)] for number in range(count)}
    queries = make_queries(source, {name: " ".join(row[3].split()[:4]) for name, row in asked.items()}, split="dev")
    if source == "human":
        return queries, human_labels(*((name, row[0], 1) for name, row in asked.items()))
    return queries, span_labels(*((name, *row[:3]) for name, row in asked.items()))


def drawn(chunks, encoder, *sources: tuple[pl.DataFrame, pl.DataFrame]) -> DevSet | None:
    queries, labels = (pl.concat(part) for part in zip(*sources, strict=True))
    return draw_dev_set(queries, labels, chunks, encoder)


def test_people_judge_before_written_questions_and_look_ups_never(chunks, encoder):
    human, written, lookups = (dev_queries(source, chunks) for source in ("human", "synthetic", "look-up"))
    assert drawn(chunks, encoder, human, written, lookups).source == "human"
    assert drawn(chunks, encoder, dev_queries("human", chunks, 29), written, lookups).source == "synthetic"
    assert drawn(chunks, encoder, lookups) is None
    assert drawn(chunks, encoder, dev_queries("synthetic", chunks, 29), lookups) is None


def test_what_answers_a_query_and_what_is_near_it_is_searched_and_nothing_else(chunks, encoder, monkeypatch):
    monkeypatch.setattr("embed_assets.evaluation.dev_set.NEAREST", 1)
    monkeypatch.setattr("embed_assets.evaluation.dev_set.OTHERS", 0)
    bread = chunks.filter(pl.col("document_id") == "bread.md").row(0, named=True)
    queries = make_queries("synthetic", {f"q{number}": "float switch of the pump" for number in range(30)}, split="dev")
    labels = span_labels(*((name, "bread.md", bread["start"], bread["end"]) for name in queries["query_id"]))
    dev = draw_dev_set(queries, labels, chunks, encoder)
    documents = chunks.filter(pl.col("chunk_id").is_in(dev.passages["unit"].to_list()))["document_id"]
    assert sorted(documents) == ["bread.md", "pump.md"]
    assert dev_ndcg(encoder, dev) == pytest.approx([1 / log2(3)] * 30)  # the right one of two is the second


def test_of_a_long_document_only_what_is_near_to_its_queries_is_searched(cut, encoder, monkeypatch):
    monkeypatch.setattr("embed_assets.evaluation.dev_set.NEAREST", 2)
    monkeypatch.setattr("embed_assets.evaluation.dev_set.OTHERS", 3)
    long = Document(
        "book.md", "Book", "\n\n".join(f"Chapter {number} tells of the {number}th voyage. " * 8 for number in range(40))
    )
    chunks = cut([*DOCUMENTS, long], max_tokens=64)
    assert chunks.filter(pl.col("document_id") == "book.md").height > 30
    queries = make_queries("human", {f"q{number}": f"What is told of voyage {number % 3}?" for number in range(30)}, split="dev")
    labels = human_labels(*((name, "book.md", 1) for name in queries["query_id"]))
    dev = draw_dev_set(queries, labels, chunks, encoder)
    assert "book.md" in set(dev.passages["unit"]) and dev.passages.height <= 3 * 2 + 3 * 2 + 3
    assert draw_dev_set(queries, labels, chunks, encoder).passages.equals(dev.passages)  # the draw has a seed


def test_a_document_scores_as_its_best_passage():
    passages = pl.DataFrame({"unit": ["a", "a", "b"], "passage": ["a1", "a2", "b1"]})
    dev = DevSet("human", {"q": "?", "r": "!"}, {"q": {"a": 1}, "r": {"a": 2, "b": 1}}, passages, ["a", "a"])
    encoder = TableEncoder({"?": ranking("a2", "b1", "a1"), "!": ranking("b1", "a1", "a2")})
    second = (1 + 2 / log2(3)) / (2 + 1 / log2(3))
    assert dev_ndcg(encoder, dev) == pytest.approx([1, second])


def test_it_is_read_as_it_was_written(chunks, encoder, tmp_path):
    assert read_dev_set(tmp_path) is None
    dev = drawn(chunks, encoder, dev_queries("human", chunks))
    dev.write(tmp_path)
    read = read_dev_set(tmp_path)
    assert (read.source, read.queries, read.relevant, read.clusters) == (dev.source, dev.queries, dev.relevant, dev.clusters)
    assert read.passages.equals(dev.passages)
    assert (dev_ndcg(encoder, read) == dev_ndcg(encoder, dev)).all()
