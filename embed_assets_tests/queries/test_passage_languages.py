"""Each question in the language of its passage."""

import json
from pathlib import Path

import polars as pl
import pytest

from embed_assets.corpus.documents import Document
from embed_assets.corpus.spans import with_language
from embed_assets.models.answers import Answer
from embed_assets.models.language_models import LanguageModel
from embed_assets.models.settings import LanguageModelSettings
from embed_assets.queries.jobs import plan_jobs
from embed_assets.queries.lookups import take_lookups
from embed_assets.queries.passage_languages import PassageLanguages, in_words
from embed_assets.queries.prompts import load_question_prompts
from embed_assets.queries.questions import write_questions
from embed_assets.queries.settings import QuestionsSettings

GERMAN = (
    "Die Pumpe läuft trocken, wenn der Schwimmerschalter klemmt. Drehen Sie das Ventil von Hand zu und reinigen Sie den Filter, "
    "bevor Sie das Gehäuse wieder öffnen."
)
FRENCH = (
    "La pompe tourne à vide quand le flotteur est bloqué. Fermez la vanne à la main et nettoyez le filtre avant de rouvrir "
    "le boîtier de la machine."
)
ENGLISH = (
    "The pump runs dry when the float switch sticks. Close the valve by hand and clean the filter before you open the housing "
    "of the machine again."
)
TABLE = "| E4012 | E4013 |\n| --- | --- |\n| 0x1F | 0x2A |"
COLLECTION = [
    Document("english.md", "Pump", ENGLISH),
    Document("german.md", "Pumpe", f"{GERMAN}\n\n{TABLE}"),
    Document("french.md", "Pompe", FRENCH),
    Document("both.md", "Pump", f"{ENGLISH}\n\n{GERMAN}\n\n{ENGLISH.replace('pump', 'mill')}"),
    Document("codes.md", "Codes", TABLE),
]


@pytest.fixture(scope="module")
def mixed(cut) -> pl.DataFrame:
    return with_language(cut(COLLECTION, max_tokens=48).lazy(), "auto").collect()


def test_a_passage_has_its_own_language_else_that_of_its_document_else_that_of_the_collection(mixed):
    languages = PassageLanguages(mixed)
    found: dict[str, list[str]] = {}
    for row, (name, text) in enumerate(mixed.select("document_id", "text").iter_rows()):
        found.setdefault(name, []).append(languages.of(row))
        if text.startswith("|"):
            assert languages.of(row) == ("de" if name == "german.md" else "en")
    assert set(found["both.md"]) == {"en", "de"} and set(found["german.md"]) == {"de"} and set(found["english.md"]) == {"en"}
    assert set(found["french.md"]) == {"fr"} and set(found["codes.md"]) == {"en"}
    assert (
        PassageLanguages(with_language(mixed.lazy(), "de").collect()).of(mixed["document_id"].to_list().index("codes.md")) == "de"
    )


def test_prompts_name_the_language_of_what_they_show():
    assert in_words(["en"]) == in_words(["en", "en"]) == ""
    assert in_words(["de", "de"]) == "German, the language of the passages"
    assert in_words(["de", "en"]) == "German, the language of the first passage"
    assert in_words(["en", "de"]) == "English, the language of the first passage"
    assert in_words(["nb", "no"]) == "Norwegian, the language of the passages"
    assert in_words(["qu"]) == "the language of the passages"


class InEnglish:
    """Answers in English, whatever it is asked."""

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def answer(self, prompts, seeds, sampling):
        for number, prompt in enumerate(prompts):
            self.prompts.append(prompt)
            query = "Why is there no water at all in here, and who can mend it?"
            yield number, Answer(json.dumps({"questions": [{"query": query}]}) if sampling.json_schema else query)

    def close(self) -> None:
        pass


@pytest.mark.parametrize("mode", ["single", "batch"])
def test_each_question_is_asked_for_in_the_language_of_its_passage_and_refused_in_another(mixed, tmp_path: Path, mode: str):
    settings = QuestionsSettings(mode=mode, styles={"question": 1}, max_questions=99, ask_again=0)
    prompts = load_question_prompts(settings, [])
    jobs, writer = plan_jobs(mixed, [*prompts.values()], None, settings), InEnglish()
    with LanguageModel(LanguageModelSettings(), tmp_path, engine=writer) as model:
        table = write_questions(mixed, jobs, model, settings)
    languages = PassageLanguages(mixed)
    expected = [languages.of(job.rows[0]) for job in jobs]
    assert {"en", "de", "fr"} == set(expected)
    words = {"en": "", "de": "German, the language", "fr": "French, the language"}
    prompt_of = {passage: prompt for passage in mixed["passage"] for prompt in writer.prompts if passage in prompt}
    for job, language in zip(jobs, expected, strict=True):
        prompt = prompt_of[mixed["passage"][job.rows[0]]]
        assert words[language] in prompt and prompt.count(", the language of the passage") == (language != "en")
    assert table["dropped"].to_list() == [None if language == "en" else "another language" for language in expected]


def test_no_look_up_is_made_of_words_that_say_nothing_in_the_language_of_the_passage(cut):
    cut_ones = cut([*COLLECTION[:3], Document("more.md", "Pump", ENGLISH.replace("pump", "mill"))])
    chunks = with_language(cut_ones.lazy(), "en").collect()
    settings = QuestionsSettings(sentences_per_chunk=0, neighbours_per_chunk=0, keywords_per_chunk=9, titles_per_chunk=0)
    words = {word for query in take_lookups(chunks, settings)["query"] for word in query.lower().split()}
    assert words & {"schwimmerschalter", "ventil", "klemmt", "gehäuse"} and words & {"flotteur", "vanne", "boîtier", "bloqué"}
    assert not words & {"sie", "wenn", "von", "quand", "la", "avant"}
