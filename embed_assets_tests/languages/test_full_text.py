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
