import json
import time

import pytest

from embed_assets.queries.answers import read_json, read_list, read_question, without_reasoning
from embed_assets.queries.judges import Judgement
from embed_assets.queries.written_json import json_values, questions_in

ASKED = "How do I reset the fan counter?"
BATCH = json.dumps(
    {"questions": [{"query": ASKED, "style": "how_to", "reasoning_type": "factual", "complexity": 2, "passages": [1]}]}
)
# What model families put around an answer.
AROUND = {
    "qwen3, deepseek-r1": "<think>\nThe passage {is} about fans.\n</think>\n\n{}",
    "template began to think": "I should ask about the fan.\n</think>\n{}",
    "gpt-oss": "<|channel|>analysis<|message|>Ask [one].<|end|><|start|>assistant<|channel|>final<|message|>{}<|return|>",
    "magistral": "[THINK]Maybe the counter?[/THINK]{}",
    "kimi": "◁think▷Hm.◁/think▷{}",
    "command a": "<|START_THINKING|>Hm.<|END_THINKING|><|START_RESPONSE|>{}<|END_RESPONSE|>",
    "seed-oss": "<seed:think>Hm.</seed:think>{}",
    "llama": "Sure! Here is one good question:\n\n{}",
    "llama, in a line of its own": "Certainly!\n{}\n\nLet me know if you need more.",
    "gemma": "{}<end_of_turn>",
    "phi": "<|assistant|>\n{}<|end|>",
    "mistral": " {}</s>",
    "fence": "```\n{}\n```",
    "fence with language": "Here you go:\n```json\n{}\n```\nIt names the counter.",
}


def questions_of(text: str) -> list[dict]:
    return questions_in(json_values(without_reasoning(text)))


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
@pytest.mark.parametrize("form", ["{}", "1. {}", "Question: {}", "**Question:** {}", "**{}**", '"{}"', "- “{}”", "> {}"])
def test_the_question_is_taken_out_of_what_stands_around_it(around, form):
    assert read_question(around.replace("{}", form.replace("{}", ASKED))) == ASKED


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_json_is_taken_out_of_what_stands_around_it(around):
    assert questions_of(around.replace("{}", BATCH)) == json.loads(BATCH)["questions"]
    verdict = '{"relevance": 8, "accuracy": 9, "context_support": 7, "clarity": 10}'
    assert read_json(around.replace("{}", verdict), Judgement).clarity == 10


@pytest.mark.parametrize(
    ("answer", "question"),
    [
        ('{"question": "Why E7?"}', "Why E7?"),
        ("Sure, why does E7 show up?", "why does E7 show up?"),
        ("Here's a question: Why does E7 show up?", "Why does E7 show up?"),
        ("1. Why E7?\n2. Why E8?", "Why E7?"),
        ("Frage: Warum erscheint E7?", "Warum erscheint E7?"),
        ("当然！\n如何更换风扇？", "如何更换风扇？"),
        ("OK button does nothing after E7", "OK button does nothing after E7"),
        ("3.8.1 fan noise", "3.8.1 fan noise"),
        ("Error E7: what now?", "Error E7: what now?"),
        ("Analysis of E7: what now?", "Analysis of E7: what now?"),
        ("What is in the assistant final report?", "What is in the assistant final report?"),
        ("--no-verify with C++ and {braces}", "--no-verify with C++ and {braces}"),
        ("What does the <response> of <answer> hold?", "What does the <response> of <answer> hold?"),
        ("Sure.\n<answer>Why E7?</answer>", "Why E7?"),
        ("<query>Why E7?</query><answer>The hose leaks.</answer>", "Why E7?"),
        ("Based on the passage, a good question would be: Why E7?", "Why E7?"),
        ("Certainly! Below is a question.\n\n---\n\nWhy E7?\n\n---\n\nTell me if you need more!", "Why E7?"),
        ("Hmm, the user wants a question.\n\nWhy E7?", "Why E7?"),
        ("Thought: I should ask.\nFinal Answer: Why E7?", "Why E7?"),
        ("Title: Errors\nWhy E7?", "Why E7?"),
        ("Title: Errors\npump stops with E7", "pump stops with E7"),
        ("The pump stops with E7.\nTell me if you need more!", "The pump stops with E7."),
        ("*Question*: Why E7?", "Why E7?"),
        ("1) **Why E7?** – asks for the cause", "Why E7?"),
        ("— Why E7?", "Why E7?"),
        ("🤔 Why E7?", "Why E7?"),
        ("👍 in Slack means what?", "👍 in Slack means what?"),
        ('"question": "Why E7?"', "Why E7?"),
        ("Sure, I can help with that! Why E7?", "Why E7?"),
        ("Keyword query: pump stops E7", "pump stops E7"),
        ("Passage 1 question: Why E7?", "Why E7?"),
        ('Here you go: {"question": "Why E7?"} Tell me more!', "Why E7?"),
        ('<tool_call>{"name": "ask", "arguments": {"question": "Why E7?"}}</tool_call>', "Why E7?"),
        ('What does this do: {"query": "all"}?', 'What does this do: {"query": "all"}?'),
        ("Why E7?<|endoftext|>Human: thanks", "Why E7?"),
        ("# Errors of the pump\n\nWhy E7?", "Why E7?"),
        ('Is "</s>" the end of a text?', 'Is "" the end of a text?'),
        ("What is the question type: single or multiple choice?", "What is the question type: single or multiple choice?"),
        ("#12 wire ampacity", "#12 wire ampacity"),
        ("***Why E7?***", "Why E7?"),
        ("```Why E7?```", "Why E7?"),
        ("Sure - why E7?", "why E7?"),
        ("İşte bir soru: E7 neden görünür?", "E7 neden görünür?"),
        ("Oto pytanie: Dlaczego E7?", "Dlaczego E7?"),
        ("Customer question: Why E7?", "Why E7?"),
        ('A nurse might ask, "Why E7?"', "Why E7?"),
        ("As a nurse, I might ask: Why E7?", "Why E7?"),
        ("slow query: which index helps?", "slow query: which index helps?"),
        ("<question><style>search</style><query>Why E7?</query></question>", "Why E7?"),
        (
            "<|start|>assistant<|channel|>commentary<|message|>Hm<|end|><|start|>assistant<|channel|>final<|message|>Why E7?",
            "Why E7?",
        ),
        ('{"answer": "x",\n "question": "Are these VLANs 10, #20?",}', "Are these VLANs 10, #20?"),
        ('{\n  // what is asked\n  "question": "Why E7?", /* short */\n}', "Why E7?"),
        ('{\n"question": "What is at https://a.b//c, # or //?"\n}', "What is at https://a.b//c, # or //?"),
        ("A relevant question for this passage could be: Why E7?", "Why E7?"),
        ('One question that this passage answers is: "Why E7?"', "Why E7?"),
        ("Why E7? (This question is answered by the passage.)", "Why E7?"),
        ("\\[ \\boxed{\\text{Why E7?}} \\]", "Why E7?"),
        ("Why does\u202fNOX\u201148213 come?\u200b", "Why does NOX-48213 come?"),
        ("<think>never ends", ""),
        (" \n", ""),
        ("```\n```", ""),
    ],
)
def test_the_question_in_an_answer(answer, question):
    assert read_question(answer) == question


@pytest.mark.parametrize(
    "around",
    [
        "<question>{}</question>",
        "### Question 1\n{}",
        "assistant\n\n{}",
        "['{}']",
        "$\\boxed{{{}}}$",
        "-> {}",
        "✅ {}",
        "Hier ist eine Frage: {}",
        "Voici une question :\n{}",
        "{} (Note: the passage answers it.)",
    ],
)
def test_the_question_is_taken_out_of_habits_of_models(around):
    assert read_question(around.format(ASKED)) == ASKED


@pytest.mark.parametrize("question", ["Question: what is a question?", "How do I write a -> b?", "What does f(note: x) do?"])
def test_what_a_question_is_about_stays(question):
    assert read_question(question) == question.removeprefix("Question: ")


@pytest.mark.parametrize(
    "answer",
    [
        "a) {}\nb) {}",
        "1、{}\n2、{}",
        "① {}\n② {}",
        "#1 {}\n#2 {}",
        "<questions><question>{}</question><question>{}</question></questions>",
        "<question><style>search</style><query>{}</query></question>\n<question><query>{}</query></question>",
    ],
)
def test_a_list_is_read_with_any_numbers_and_elements(answer):
    assert read_list(answer.format(ASKED, "Why E7?")) == [ASKED, "Why E7?"]


def test_a_list_stands_for_the_only_field_and_what_does_not_fit_is_passed_over():
    questions = json.loads(BATCH)["questions"]
    assert questions_of(f"[1] see {{x}}: {json.dumps(questions)}") == questions
    assert read_json('{"relevance": 11}', Judgement) is None
    assert questions_of("no JSON at all") == questions_of("[" * 100_000) == questions_of("[" * 99 + "]" * 99) == []


def test_a_number_of_thousands_of_digits_is_passed_over():
    assert questions_of(f'{{"n": {"9" * 5000}}}\n{BATCH}')[0]["query"] == ASKED


def test_half_of_a_surrogate_pair_is_left_out_and_a_whole_one_is_a_character():
    text = json.dumps(json.loads(BATCH)).replace(ASKED, "Why \\ud83d E7 \\ud83d\\ude00?")
    assert questions_of(text)[0]["query"] == "Why  E7 😀?"
    assert read_question("Why \ud83dE7?") == "Why E7?"


@pytest.mark.parametrize(
    "text",
    [
        'Here is the question:\n{"question": "{}"}',
        '{"Question": "{}", "Answer": "Press F8."}',
        '[\n  "{}"\n]',
        '["{}", "Why E7?"]',
        '{"result": {"questions": [{"text": "{}"}]}}',
        "{'question': '{}', 'answer': None}",
        json.dumps('{"question": "{}"}'),
        "```json\n" + json.dumps('{"question": "{}"}') + "\n```",
        '[TOOL_CALLS][{"name": "ask", "arguments": {"question": "{}"}}]',
        '<tool_call>\n{"name": "ask", "arguments": "{\\"question\\": \\"{}\\"}"}\n</tool_call>',
        "Q: {} A: Press F8.",
        "**Question:** {} **Answer:** Press F8.",
        "Style: how_to\nQuestion: {}\nAnswer: Press F8.",
        "Passage: The counter is reset with F8.\nQuestion: {}",
        "Let me think of what people would ask.\n\nFinal question: {}",
        "Question (how_to): {}",
        "**Question #1:** {}",
        "Q1. {}",
        "Pregunta: {}",
        "はい、質問は次のとおりです：\n質問：{}",
        'A technician might ask: "{}"',
        "One possible question is: {}",
        "A suitable search query would be: {}",
        "Ein Nutzer könnte fragen: {}",
        "**1.** {}",
        "<p>{}</p>",
        "Assistant: {}",
        '{"question": "{}"} I hope it helps!',
        '"{}" - This asks for the procedure.',
        "{} (how_to)",
        "<questions>\n<question style='how_to'>{}</question>\n</questions>",
        "{}<｜end▁of▁sentence｜>",
        "<|start_of_role|>assistant<|end_of_role|>{}<|end_of_text|>",
        "| # | Question |\n|---|---|\n| 1 | {} |\n| 2 | Why E7? |",
        "###\n{}\n###",
        'Output: {"question": "{}"}',
        "Question 1 of 1: {}",
        "1. [how_to] {}",
        "{} [Source: passage 1]",
        "{}【1】",
    ],
)
def test_the_question_is_taken_out_of_json_records_and_remarks(text):
    assert read_question(text.replace("{}", ASKED)) == ASKED


@pytest.mark.parametrize(
    "query",
    [
        "__init__ vs __new__",
        "'trunk' vs 'access'",
        "OK-Button reagiert nicht",
        "Great-circle distance formula",
        "This is shown at 10:30 every day",
        "[E4012] pump runs dry",
        '["a", "b"] in config fails',
        'Why is {"query": "x"} rejected by the API?',
        "A query fails with error: timeout",
        "What is the answer: yes or no?",
        "How do I sort a list? (Python)",
        "The database query: timeout after 30 s",
        "What does the <think> tag do in a template?",
        "What do <think> and </think> stand for?",
        "The <s> tag does not work in Markdown",
        "What is the token <|endoftext|> for, and when is <eos> written?",
    ],
)
def test_a_query_with_marks_of_its_own_stays_as_it_is(query):
    assert read_question(query) == query


def test_marks_are_read_as_judges_write_them():
    text = '{"Relevance": 8.5, "accuracy": "9/10", "context support": {"score": 7, "reason": "It is there."}, "clarity": "10"}'
    assert dict(read_json(f'{{"verdict": {text}}}', Judgement)) == {
        "relevance": 8.5,
        "accuracy": 9,
        "context_support": 7,
        "clarity": 10,
    }
    assert read_json(text.replace("9/10", "9 out of 10."), Judgement).accuracy == 9
    for other in ("4/5", "4 / 5", "4 out of 5", "9/100", "1" * 40_000 + "/"):
        assert read_json(text.replace("9/10", other), Judgement) is None
    # What is asked for is part of the key of each verdict that was given.
    assert Judgement.model_json_schema()["properties"]["clarity"] == {
        "maximum": 10,
        "minimum": 1,
        "title": "Clarity",
        "type": "integer",
    }


@pytest.mark.parametrize("part", ["?", "**", 'x" ', '{"a": "', "Answer: ", "1. a\n", "{'a': 'b', ", '\\"{', "here is "])
def test_a_long_answer_is_read_in_time(part):
    started = time.process_time()
    for read in (read_question, read_list, questions_of):
        read(part * 10_000)
    assert time.process_time() - started < 10


@pytest.mark.parametrize("text", [f"Question{' ' * 40_000}x?", f"a{'1' * 40_000}?", "{\n" * 5_000, "[\n" * 5_000 + "]"])
def test_a_model_that_cannot_stop_is_read_in_time(text):
    started = time.process_time()
    for read in (read_question, read_list, questions_of):
        read(text)
    assert time.process_time() - started < 3


def test_json_that_asks_about_tags_of_reasoning_stays_whole():
    asked = ["What does <think> do in a template?", "When is </think> written?"]
    text = json.dumps({"questions": [{"query": query} for query in asked]}, indent=1)
    assert [it["query"] for it in questions_of(f"\n{text}\n")] == asked


def test_a_question_about_a_tag_may_have_a_remark_below():
    query = "What do `<think>` tags do in a template?"
    assert read_question(f"{query}\n\nIt asks about tags.") == query
    assert read_question(f"Sure. <think>\nHm.\n</think>\n{ASKED}") == ASKED
