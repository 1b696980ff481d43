import json

import pytest

from embed_assets.queries.answers import read_json, read_question
from embed_assets.queries.batch_answers import BatchAnswer
from embed_assets.queries.judges import Judgement

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


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
@pytest.mark.parametrize("form", ["{}", "1. {}", "Question: {}", "**Question:** {}", "**{}**", '"{}"', "- “{}”", "> {}"])
def test_the_question_is_taken_out_of_what_stands_around_it(around, form):
    assert read_question(around.replace("{}", form.replace("{}", ASKED))) == ASKED


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_json_is_taken_out_of_what_stands_around_it(around):
    assert read_json(around.replace("{}", BATCH), BatchAnswer).questions[0].query == ASKED
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


def test_a_list_stands_for_the_only_field_and_what_does_not_fit_is_passed_over():
    questions = json.loads(BATCH)["questions"]
    assert read_json(f"[1] see {{x}}: {json.dumps(questions)}", BatchAnswer).questions[0].passages == [1]
    assert read_json('{"relevance": 11}', Judgement) is None
    assert read_json("no JSON at all", BatchAnswer) is None
    assert read_json("[" * 100_000, BatchAnswer) is None


def test_a_number_of_thousands_of_digits_is_passed_over():
    assert read_json(f'{{"n": {"9" * 5000}}}\n{BATCH}', BatchAnswer).questions[0].query == ASKED


def test_half_of_a_surrogate_pair_is_left_out_and_a_whole_one_is_a_character():
    text = json.dumps(json.loads(BATCH)).replace(ASKED, "Why \\ud83d E7 \\ud83d\\ude00?")
    assert read_json(text, BatchAnswer).questions[0].query == "Why  E7 😀?"
    assert read_question("Why \ud83dE7?") == "Why E7?"
