import pytest

from embed_assets.text.languages import full_text_options
from embed_assets_tests.languages.corpora import LANGUAGES, chunks_of, read_corpus


@pytest.mark.parametrize("language", LANGUAGES)
def test_full_text_search_of_the_index_finds_the_document(tmp_path, language):
    import lancedb
    from lancedb.index import FTS
    from lancedb.query import MatchQuery

    chunks = chunks_of(language).select("chunk_id", "passage")
    table = lancedb.connect(tmp_path).create_table("t", chunks.to_arrow())
    table.create_index("passage", config=FTS(**full_text_options(language)))
    first = 0
    for number, row in enumerate(read_corpus(language)):
        hits = table.search(MatchQuery(row["query"], "passage"), query_type="fts").limit(1).to_list()
        first += bool(hits) and hits[0]["chunk_id"] == f"{number}::0"
    assert first >= 19


@pytest.mark.parametrize(
    ("language", "passage", "query"),
    [
        ("fr", "Les élèves de l'école", "eleves ecole"),
        ("pl", "Łożysko i zawór", "zawor"),
        ("vi", "Áp suất tối đa", "ap suat"),
        ("ko", "밸브를 잠그십시오", "밸브"),
        ("ko", "PS-200을 켜면 필터가 돈다", "PS-200 필터"),
    ],
)
def test_full_text_search_finds_words_without_accents_and_particles(tmp_path, language, passage, query):
    import lancedb
    from lancedb.index import FTS
    from lancedb.query import MatchQuery

    table = lancedb.connect(tmp_path).create_table("t", [{"passage": passage}, {"passage": "xyz"}])
    table.create_index("passage", config=FTS(**full_text_options(language)))
    hits = table.search(MatchQuery(query, "passage"), query_type="fts").to_list()
    assert [hit["passage"] for hit in hits] == [passage]
