import json
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from embed_assets.models.answers import TOO_LONG, UNFINISHED, Answer
from embed_assets.models.language_models import LanguageModel
from embed_assets.models.settings import LanguageModelSettings
from embed_assets.queries.answers import read_json
from embed_assets.queries.artifacts import Artifacts
from embed_assets.queries.batch_answers import batch_pairs, missing_styles, read_batch
from embed_assets.queries.filters import QuestionRules
from embed_assets.queries.jobs import Job, plan_jobs
from embed_assets.queries.judges import drop_badly_judged
from embed_assets.queries.prompts import PromptError, load_prompt, load_question_prompts
from embed_assets.queries.questions import render_job, write_questions
from embed_assets.queries.settings import QuestionsSettings
from embed_assets.queries.shares import deal_styles
from embed_assets.queries.surroundings import surroundings

BATCH = load_prompt("batch.jinja", [])
ROWS = [
    {"document_id": "pump.md", "start": 0, "end": 70, "passage": "Pump\nThe pump runs dry when the float switch sticks: E4012."},
    {"document_id": "valve.md", "start": 10, "end": 60, "passage": "Valve\nClose the valve by hand before opening the housing."},
]
ASKED = (("symptom", 2), ("structural", 3))


def question(query: str, passages: list, complexity=3, style: str = "symptom") -> dict:
    return {"query": query, "style": style, "reasoning_type": "causal", "complexity": complexity, "passages": passages}


def read(*questions: dict, text: str = "", rows: tuple[int, ...] = (0, 1), styles=ASKED) -> list[tuple]:
    settings = QuestionsSettings(mode="batch", min_complexity=2)
    job = Job(BATCH, rows, 0, styles=styles)
    found = read_batch(Answer(text or json.dumps({"questions": questions})), job, settings)
    pairs = list(batch_pairs(found, job, ROWS, QuestionRules(settings), settings))
    assert {pair["prompt"] for pair in pairs} <= {BATCH.fingerprint}
    return [(pair["query"], pair["style"], pair["document_id"], pair["dropped"]) for pair in pairs]


@pytest.mark.parametrize(
    ("passages", "documents", "dropped"),
    [
        ([1], ["pump.md"], None),
        ([2, 1], ["valve.md", "pump.md"], None),
        ([1, 1, 1], ["pump.md"], None),
        ([1, 3, 0], ["pump.md"], None),
        ("Passage 2", ["valve.md"], None),
        ([3], ["pump.md"], "names no passage"),
        ([], ["pump.md"], "names no passage"),
        (["first"], ["pump.md"], "names no passage"),
    ],
)
def test_a_batch_question_belongs_to_the_passages_that_it_names(passages, documents, dropped):
    query = "Why is there no water in the pump?"
    assert read(question(query, passages)) == [(query, "symptom", name, dropped) for name in documents]


def test_batch_questions_are_judged_one_by_one():
    found = read(
        question("1. Why is there no water in the pump?", [1], complexity=2),
        question("Where is the pump?", [1], complexity=1),
        question("Why does the pump show E4012?", [2]),
        question("Which steps does the passage name?", [1], style="Structural "),
        question("Why is the pump dry?", [1], complexity="hard", style="riddle"),
    )
    assert found == [
        ("Why is there no water in the pump?", "symptom", "pump.md", None),
        ("Where is the pump?", "symptom", "pump.md", "complexity below 2"),
        ("Why does the pump show E4012?", "symptom", "valve.md", "unknown identifier"),
        ("Which steps does the passage name?", "structural", "pump.md", "speaks of the passage"),
        ("Why is the pump dry?", "batch", "pump.md", None),
    ]


TWO = ["Why is the pump dry?", "What does E4012 mean?"]


BOTH = [{"query": query, "style": "symptom"} for query in TWO]


@pytest.mark.parametrize(
    "text",
    [
        "Sure! Here are two questions:\n\n1. {0}\n2. {1}\n\nDo you want more of them?",
        "* **{0}**\n* **{1}**",
        "Question 1: {0}\nQuestion 2: {1}",
        "{0}\n{1}",
        '["{0}", "{1}"]',
        '{"questions": ["{0}", "{1}"]}',
        '{"query": "{0}"}\n{"query": "{1}"}',
        '[{"question": "{0}", }, {"question": "{1}"},]',
        "```json\n[{“query”: “{0}”, “style”: “symptom”}, {“query”: “{1}”}]\n```",
        '{"questions": [{"query": "{0}"}, {"query": "{1}"}]} Those are [2] questions.',
        json.dumps({"queries": BOTH}),
        json.dumps({"output": {"questions": BOTH}}),
        json.dumps({"Questions": [{"Query": query, "Style": "Symptom"} for query in TWO]}),
        json.dumps({"questions": [BOTH[0], {"query": None}, {"style": "symptom"}, BOTH[1]]}),
        json.dumps({"symptom": TWO}),
        json.dumps({"questions": {"symptom": [TWO[0], {"question": TWO[1]}]}}),
        json.dumps({"question_1": TWO[0], "answer_1": "It sticks again.", "question_2": TWO[1], "answer_2": "It runs dry now."}),
        json.dumps({"questions": {"1": TWO[0], "2": TWO[1]}}),
        json.dumps({"reasoning": ["step one of it", "step two of it"], "queries": TWO}),
        json.dumps({"tool_calls": [{"function": {"name": "write", "arguments": json.dumps({"questions": BOTH})}}]}),
        repr({"questions": BOTH}),
        json.dumps(json.dumps({"questions": BOTH})),
        json.dumps({"questions": [{"query": TWO[0].replace("the ", "the\n")}, BOTH[1]]}),
        "1. **{0}**\n   - Answer: the float switch sticks.\n   - Reasoning type: causal\n2. **{1}**\n   - Answer: x",
        "Style: symptom\nQuery: {0}\nAnswer: The switch sticks here.\nReasoning type: causal\n\nStyle: symptom\nQuery: {1}",
        "Question: {0}\nAnswer: The switch sticks.\n\nQuestion: {1}\nAnswer: it runs dry now.",
        "### Question 1\n{0}\n\n### Question 2\n{1}\n",
        "## Symptom questions\n1. {0}\n2. {1}",
        "1. **Symptom**\n   - {0}\n   - {1}",
        "{0}\n{1}\nWould you like me to write more questions?",
        'questions:\n  - query: "{0}"\n    answer: "It sticks a lot."\n  - query: "{1}"\n    style: symptom\n',
        "| # | Question | Style |\n|---|---|---|\n| 1 | {0} | symptom |\n| 2 | {1} | symptom |",
        "<questions>\n  <question style='symptom'>{0}</question>\n  <question>{1}</question>\n</questions>",
        "symptom: {0}\nsymptom: {1}",
    ],
)
def test_no_question_is_lost_and_no_answer_taken_for_one_whatever_the_form(text):
    found = read(text=text.replace("{0}", TWO[0]).replace("{1}", TWO[1]), rows=(0,), styles=(("symptom", 5),))
    assert found == [(query, "symptom", "pump.md", None) for query in TWO]


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ('{"questions": [{"query": "What does "E4012" mean here?", "style": "symptom"}]}', 'What does "E4012" mean here?'),
        (r'{"questions": [{"query": "Why is C:\System dry?"}]}', r"Why is C:\System dry?"),
        ("{'questions': [{'query': 'What's wrong with the pump?'}]}", "What's wrong with the pump?"),
    ],
)
def test_texts_without_their_escapes_are_read(text, query):
    assert read(text=text, rows=(0,), styles=(("symptom", 5),)) == [(query, "symptom", "pump.md", None)]


@pytest.mark.parametrize("text", ["Sure! Here are two.", "", '{"questions": []}', '{"answer": "?"}', "I cannot do that."])
def test_an_answer_without_questions_gives_none(text):
    assert read(text=text or " ") == []


def test_names_of_styles_are_no_fields():
    text = json.dumps({"question": TWO[0], "how_to": TWO[1]})
    found = read(text=text, rows=(0,), styles=(("question", 1), ("how_to", 1)))
    assert [row[:2] for row in found] == [(TWO[0], "question"), (TWO[1], "how_to")]


def test_no_more_questions_are_taken_than_were_asked_for():
    assert len(read(*[question(f"Why is pump {number} dry?", [1]) for number in range(30)])) == 5


def test_what_is_missing_is_counted_by_style():
    job, settings = Job(BATCH, (0,), 0, styles=ASKED), QuestionsSettings(mode="batch")

    def missing(*styles: str) -> dict[str, int]:
        text = json.dumps({"questions": [question("Why?", [1], style=style) for style in styles]})
        return dict(missing_styles(job, read_batch(Answer(text), job, settings)))

    assert missing() == dict(ASKED) and missing("symptom", "structural") == {"symptom": 1, "structural": 2}
    assert missing("riddle", "riddle") == {"symptom": 2, "structural": 1}
    assert missing("symptom", "symptom", "symptom") == {"structural": 2}
    assert missing("symptom", "symptom", "structural", "structural", "structural") == {}


def test_styles_are_dealt_by_their_shares_to_the_last_question():
    shares = {"question": 3, "search": 1, "symptom": 0, "multi_hop": 4}
    settings = QuestionsSettings(mode="batch", questions_per_chunk=7, styles=shares)
    dealt = [dict(deal_styles(f"Passage {number}", False, settings)) for number in range(400)]
    assert {sum(counts.values()) for counts in dealt} == {7} and {style for counts in dealt for style in counts} == {
        "question",
        "search",
    }
    whole = sum((Counter(counts) for counts in dealt), Counter())
    for style, exact in {"question": 5.25, "search": 1.75}.items():
        assert {counts.get(style, 0) for counts in dealt} == {int(exact), int(exact) + 1}
        assert abs(whole[style] - 400 * exact) < 35
    assert deal_styles("Passage", True, settings) == (("multi_hop", 2),)


class Scripted:
    """Answers one prompt after the other from a list."""

    def __init__(self, *answers: str):
        self.answers, self.prompts = list(answers), []

    def answer(self, prompts, seeds, sampling):
        for number, prompt in enumerate(prompts):
            self.prompts.append(prompt)
            text = self.answers.pop(0)
            yield number, Answer("", text, text != "refused") if text in ("unfinished", TOO_LONG, "refused") else Answer(text)

    def close(self) -> None:
        pass


def written_by(chunks, folder: Path, *answers: str, ask_again: int = 2):
    settings = QuestionsSettings(
        mode="batch", styles={"symptom": 2, "search": 3}, questions_per_chunk=5, max_questions=5, ask_again=ask_again
    )
    engine = Scripted(*answers)
    with LanguageModel(LanguageModelSettings(), folder, engine=engine) as model:
        jobs = plan_jobs(chunks, [load_question_prompts(settings, [])["batch"]], None, settings)
        table = write_questions(chunks, jobs, model, settings)
    return table, engine.prompts


def some(*styles: str) -> str:
    return json.dumps(
        {"questions": [question(f"Any {style} number {number}?", [1], style=style) for number, style in enumerate(styles)]}
    )


def test_what_a_call_did_not_write_is_asked_for_again_and_only_that(chunks, tmp_path):
    table, prompts = written_by(chunks, tmp_path, some("symptom", "search"), some("search"), some("symptom", "search"))
    assert table.height == 5 and table["dropped"].null_count() == 5
    assert [prompts[i].count(' of the style "') for i in range(3)] == [2, 2, 2]
    assert '- 1 of the style "symptom"\n- 2 of the style "search"' in prompts[1]
    assert "Any symptom number 0?" in prompts[1] and "Any symptom number 0?" not in prompts[0]


@pytest.mark.parametrize(
    "text",
    [
        '{"questions": [{"query": "Why is the pump dry?"}, {"query": "What does E40',
        '{"questions": [{"query": "Why is the pump dry?"}, {"query": "What does E4012 mean?", "passages": [1',
        "```json\n[{'query': 'Why is the pump dry?'},\n {'query': 'What does",
        "1. Why is the pump dry?\n2. What does E40",
    ],
)
def test_of_an_unfinished_answer_the_finished_questions_are_read(text: str):
    job = Job(BATCH, (0,), 0, styles=ASKED)
    found = read_batch(Answer(text, UNFINISHED), job, QuestionsSettings(mode="batch"))
    assert [question.query for question in found] == ["Why is the pump dry?"]


def test_what_stays_unwritten_is_told_of_each_question(chunks, tmp_path):
    table, prompts = written_by(chunks, tmp_path, some("symptom"), "I cannot.", "unfinished")
    assert len(prompts) == 3
    counted = Counter(table.select("style", "dropped").rows())
    assert counted == {("symptom", None): 1, ("symptom", "unfinished"): 1, ("search", "unfinished"): 3}
    table, _ = written_by(chunks, tmp_path / "other", some("symptom"), ask_again=0)
    assert Counter(table["dropped"]) == {None: 1, "not written": 4}


def test_a_prompt_that_is_too_long_is_not_asked_again(chunks, tmp_path):
    table, prompts = written_by(chunks, tmp_path, TOO_LONG)
    assert len(prompts) == 1 and Counter(table["dropped"]) == {TOO_LONG: 5}


def test_a_call_that_was_refused_is_not_asked_again(chunks, tmp_path, monkeypatch):
    monkeypatch.setattr("embed_assets.models.language_models.MOST_FAILED", 1.0)
    table, prompts = written_by(chunks, tmp_path, "refused")
    assert len(prompts) == 1 and Counter(table["dropped"]) == {"refused": 5}


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path


def test_a_style_file_of_ones_own_is_heard_in_batch_mode(folder):
    settings = QuestionsSettings(mode="batch", styles={"search": 1, "haiku": 1})
    (folder / "haiku.jinja").write_text("{#- description: seventeen syllables that long for an answer -#}\n{{ passage }}")
    batch = load_question_prompts(settings, [folder])["batch"]
    text = render_job(Job(batch, (0,), 0, styles=(("haiku", 2),)), ROWS, settings, {})
    assert "- haiku: seventeen syllables that long for an answer" in text and "search" not in text.partition("The styles")[2]
    (folder / "search.jinja").write_text("{#- description: two words -#}\n{{ passage }}")
    other = load_question_prompts(settings, [folder])["batch"]
    assert other.fingerprint != batch.fingerprint and dict(other.styles)["search"] == "two words"


@pytest.mark.parametrize("mode", ["single", "batch"])
def test_a_misspelt_style_is_refused_in_both_modes(mode, folder):
    with pytest.raises(PromptError, match=r"'serach\.jinja' is in none of .*did you mean 'search'\?"):
        load_question_prompts(QuestionsSettings(mode=mode, styles={"serach": 1}), [folder])


def test_a_style_without_a_description_is_refused_in_batch_mode_alone(folder):
    (folder / "haiku.jinja").write_text("{{ passage }}")
    with pytest.raises(PromptError, match=r"'haiku' says nothing of itself.*description"):
        load_question_prompts(QuestionsSettings(mode="batch", styles={"haiku": 1}), [folder])
    assert load_question_prompts(QuestionsSettings(styles={"haiku": 1}), [folder])["haiku"].description == ""


def test_what_a_style_says_of_itself_is_no_part_of_its_prompt(folder):
    plain = load_prompt("question.jinja", [])
    (folder / "question.jinja").write_text(plain.source.replace(plain.description, "something else"))
    other = load_prompt("question.jinja", [folder])
    assert other.source != plain.source and other.fingerprint == plain.fingerprint and other.version == plain.version == "2"
    assert plain.description == "a plain question in one sentence"
    assert other.render({"passage": "x", "reader": "y", "language": ""}) == plain.render(
        {"passage": "x", "reader": "y", "language": ""}
    )


def chunks_of(*sections: tuple[str, str, list[str]]) -> pl.DataFrame:
    """Chunks of (document, heading, texts)."""
    rows = [(name, heading, text) for name, heading, texts in sections for text in texts]
    return pl.DataFrame(
        [(name, f"{heading}\n{text}", text) for name, heading, text in rows],
        schema=["document_id", "passage", "text"],
        orient="row",
    )


CHUNKS = chunks_of(
    ("a.md", "A > One", ["first", "second", "third"]), ("a.md", "A > Two", ["fourth"]), ("b.md", "B > One", ["fifth", "sixth"])
)


@pytest.mark.parametrize(
    ("context", "rows", "around"),
    [
        ("chunk", (1,), ""),
        ("section", (1,), "first\n\nthird"),
        ("section", (3,), ""),
        ("document", (1,), "first\n\nthird\n\nfourth"),
        ("document", (0, 4), "second\n\nthird\n\nfourth\n\nsixth"),
    ],
)
def test_a_call_shows_what_stands_around_its_chunks(context, rows, around):
    settings = QuestionsSettings(mode="batch", context=context)
    assert surroundings(CHUNKS, settings)(Job(BATCH, rows, 0)) == around


def test_what_stands_next_to_a_chunk_comes_first_and_the_context_is_not_overrun():
    long = chunks_of(("a.md", "A", [f"{number} " * 500 for number in range(9)]))
    for tokens in (1200, 2048, 4096):
        settings = QuestionsSettings(mode="batch", context="document", writer=LanguageModelSettings(max_model_tokens=tokens))
        shown = surroundings(long, settings)(Job(BATCH, (4,), 0))
        numbers = sorted({int(word) for word in shown.split()})
        assert len(shown) + len(long["passage"][4]) <= 3 * (tokens - 700)
        assert numbers == {1200: [], 2048: [3, 5], 4096: [0, 1, 2, 3, 5, 6, 7, 8]}[tokens]


def test_the_answer_to_a_question_goes_with_it_to_the_judge(chunks, tmp_path):
    answered = question("Why is there no water in the pump?", [1]) | {"answer": " The float switch sticks. "}
    settings = QuestionsSettings(mode="batch", answers=True, styles={"symptom": 1}, max_questions=1, questions_per_chunk=1)
    pump = chunks.filter(pl.col("document_id") == "pump.md")
    writer, judge = (
        Scripted(json.dumps({"questions": [answered]})),
        Scripted('{"relevance": 8, "accuracy": 8, "context_support": 8, "clarity": 8}'),
    )
    with LanguageModel(LanguageModelSettings(), tmp_path, engine=writer) as model:
        written = write_questions(pump, plan_jobs(pump, [BATCH], None, settings), model, settings)
    assert written["answer"].to_list() == ["The float switch sticks."] and '"answer": …' in writer.prompts[0]
    prompt = load_prompt("judge.jinja", [])
    with LanguageModel(LanguageModelSettings(), tmp_path, engine=judge) as model:
        drop_badly_judged(written, pump, prompt, model, LanguageModelSettings(), 7)
    assert "\n\nAnswer: The float switch sticks.\n\nAnswer with JSON" in judge.prompts[0]
    assert "and the answer to it," in judge.prompts[0]
    without = prompt.render({"passage": "p", "query": "q", "answer": ""})
    assert "Answer: " not in without and "\n\nQuery: q\n\nAnswer with JSON" in without and "answer to it" not in without


def test_artifacts_of_nine_kinds_are_bounded_and_read_from_texts_and_objects():
    kinds = {kind: [f"{kind} {number}" for number in range(9)] for kind in Artifacts.model_fields}
    found = read_json(
        json.dumps(kinds | {"entities": [{"text": "pump"}, {"name": "valve"}, 7, ""], "themes": "water"}), Artifacts
    )
    assert len(kinds) == 9 and found.concepts == ["concepts 0", "concepts 1", "concepts 2", "concepts 3", "concepts 4"]
    assert found.entities == ["pump", "valve"] and found.themes == ["water"]
    text = load_prompt("artifacts.jinja", []).render({"passage": "p"})
    assert all(f'- "{kind}": ' in text and f'"{kind}": [' in text for kind in kinds)


def test_a_complexity_without_end_spoils_nothing():
    query = "Why is there no water in the pump?"
    assert read(question(query, [1], complexity=float("inf"))) == [(query, "symptom", "pump.md", None)]
