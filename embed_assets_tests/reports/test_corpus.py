import polars as pl

from embed_assets.corpus.documents import Document
from embed_assets.reports.corpus import write_corpus


def test_what_was_left_out_of_a_file_is_in_the_report(tmp_path):
    (tmp_path / "report").mkdir()
    documents = pl.DataFrame([Document("a.docx", "A", "text", notes="3 pictures left out"), Document("b.md", "B", "text")])
    chunks = pl.DataFrame({"chunk_id": ["a::0"], "document_id": ["a"], "text": ["x"], "passage": ["x"], "tokens": [1]})
    documents.write_parquet(tmp_path / "documents.parquet")
    chunks.write_parquet(tmp_path / "chunks.parquet")
    write_corpus(tmp_path, [])
    written = "".join(path.read_text() for path in (tmp_path / "report").rglob("*left_out*"))
    assert "a.docx" in written and "3 pictures left out" in written and "b.md" not in written
