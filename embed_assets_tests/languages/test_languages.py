"""The whole way of a query, in seven languages: found, taken from the text, kept by the round trip, compared."""

import numpy as np
import polars as pl
import pytest

from embed_assets.evaluation.scoring import Contest, LabelledCollection, score_systems
from embed_assets.evaluation.settings import EvaluationSetSettings, ScoringSettings
from embed_assets.queries.filters import QuestionRules, filter_pairs
from embed_assets.queries.lookups import take_lookups
from embed_assets.queries.settings import QuestionsSettings
from embed_assets.retrieval.bm25 import Bm25Index
from embed_assets.text.languages import differs_in_language, find_language, sure_language, words_without_meaning
from embed_assets.text.tokens import normalize
from embed_assets.training.leaks import training_pairs
from embed_assets_tests.languages.corpora import LANGUAGES, chunks_of, read_corpus


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_language_of_a_collection_is_found(language):
    assert find_language(chunks_of(language)["passage"].to_list()) == language


def test_code_and_logs_are_of_no_language_and_choose_none():
    logs = [f"12:30:{i} [E{i}] x={i} 0x1F;" + "}{][;:=/" * 40 + f" a{i}b c{i}d" for i in range(50)]
    prose = ["The pump starts when the water in the shaft reaches the upper mark of the float switch."]
    assert find_language([*logs, *prose]) == find_language(logs) == "en"
    values = [f'{{"id":{i},"name":"valve {i}","maxRetries":{i}}},' * 20 for i in range(50)]
    assert find_language([*values, *prose]) == "en"


TRADITIONAL = (
    "變頻器 VFD-E 故障代碼說明。請檢查馬達接線是否短路，並確認加速時間設定。若仍出現「oc」訊息，請洽原廠維修。"
    "請至設定頁面開啟雙重驗證，並輸入六位數驗證碼。如未收到簡訊，請於六十秒後重新發送，並確認手機號碼是否正確。"
)


def test_traditional_characters_are_chinese():
    assert find_language([TRADITIONAL]) == sure_language(TRADITIONAL) == "zh"
    assert not differs_in_language(TRADITIONAL, "zh", 20)


@pytest.mark.parametrize(
    ("language", "words"),
    [("ar", "إلى إذا هل"), ("el", "και το για από"), ("he", "הוא של את"), ("ja", "こと とき"), ("ro", "și în"), ("th", "ให้ เป็น")],
)
def test_words_without_meaning_are_written_as_people_write_them(language, words):
    assert set(words.split()) <= words_without_meaning(language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_bm25_finds_other_forms_of_the_words(language):
    chunks, corpus = chunks_of(language), read_corpus(language)
    queries = [(f"q{i}", row["query"], "", "human", "test") for i, row in enumerate(corpus)]
    labels = [(f"q{i}", str(i), None, None, None, 1) for i in range(len(corpus))]
    scores = score_systems(
        LabelledCollection(
            "c",
            chunks,
            pl.DataFrame(queries, schema=["query_id", "query", "style", "source", "split"], orient="row"),
            pl.DataFrame(labels, schema=["query_id", "document_id", "start", "end", "text", "relevance"], orient="row"),
        ),
        Contest({}, hybrids={}),
        ScoringSettings(resamples=100),
    )
    # With English stop words and stems: .60 in Russian, .81 in German, .85 in Arabic.
    assert scores[0].summary["systems"]["bm25"]["ndcg@10"] >= 0.94


@pytest.mark.parametrize("language", LANGUAGES)
def test_lookups_are_words_of_their_document_in_every_style(language):
    chunks = chunks_of(language)
    passages = dict(chunks.select("document_id", "passage").iter_rows())
    lookups = take_lookups(chunks, QuestionsSettings(neighbours_per_chunk=0))
    for style, document_id, query in lookups.select("style", "document_id", "query").iter_rows():
        text = normalize(passages[document_id]).lower()
        # A word is whole where no letter or mark touches it; scripts without spaces show no borders.
        for word in normalize(query).lower().strip(".?!。").split():
            place = text.find(word)
            assert place >= 0, (style, query)
            if language not in ("ja", "zh"):
                assert not (text[place - 1 : place].isalpha() and style == "keyword") or f" {word}" in text, (style, query)
    found = lookups["style"].unique().to_list()
    assert {"keyword", "sentence", "title"} <= set(found)
    assert lookups.filter(pl.col("style") == "keyword").height == len(chunks)


@pytest.mark.parametrize("language", LANGUAGES)
def test_lookups_and_questions_pass_the_filters(encoder, language):
    chunks = chunks_of(language)
    settings = QuestionsSettings(neighbours_per_chunk=0, max_similarity=1.0)
    kept = filter_pairs(take_lookups(chunks, settings), chunks, encoder, settings).filter(pl.col("dropped").is_null())
    assert len(kept) >= 0.9 * len(take_lookups(chunks, settings))
    rules, passages = QuestionRules(settings), chunks["passage"].to_list()
    refused = [
        rules.refuse(row["query"], [passage], language=language)
        for row, passage in zip(read_corpus(language), passages, strict=True)
    ]
    assert refused.count(None) >= 19


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_leak_check_compares_queries_and_documents(encoder, language):
    chunks = chunks_of(language)
    settings = EvaluationSetSettings(test_share=0.0, dev_share=0.0)
    queries = [row["query"] for row in read_corpus(language)]
    pairs = chunks.select("document_id", "start", "end").with_columns(query_id=pl.col("document_id"), query=pl.Series(queries))
    held_out = pl.DataFrame({"query": [f"«{queries[3].upper()}»?"], "split": ["test"]})
    kept, left_out = training_pairs(pairs, chunks, held_out, encoder, settings)
    assert left_out["query"].to_list() == [queries[3]] and len(kept) == 19


def test_german_is_found_whether_composed_or_not():
    index = Bm25Index(["Die Düse tropft", "Der Hahn tropft"], "de")
    composed, decomposed = index.scores(["Düse"]), index.scores(["Du\u0308sen"])
    assert composed[0, 0] > 0 and np.array_equal(composed, decomposed)


@pytest.mark.parametrize(
    ("language", "passage", "query"),
    [
        ("pl", "Łożysko i zawór", "lozysko zawor"),
        ("vi", "Áp suất tối đa", "ap suat toi da"),
        ("fr", "LES ELEVES", "élèves"),
        ("ru", "Код А40-Е07", "A40"),  # Latin, which looks the same
        ("hi", "फ़िल्टर", "फिल्टर"),
    ],
)
def test_words_are_found_without_their_accents(language, passage, query):
    index = Bm25Index([passage, "PX-7 xyz"], language)
    found, other = index.scores([query])[0]
    assert found > 0 == other


def test_a_word_with_an_accent_is_another_one_where_both_are_written():
    assert Bm25Index(["El año", "El ano"], "es").scores(["ano", "año"]).argmax(axis=1).tolist() == [1, 0]
