"""What models of a dozen families put around their answers, over HTTP and as text."""

import json

import polars as pl
import pytest

from embed_assets.models.language_models import LanguageModel
from embed_assets.models.settings import LanguageModelSettings
from embed_assets.queries.answers import read_question, without_reasoning
from embed_assets.queries.artifacts import extract_artifacts
from embed_assets.queries.jobs import plan_jobs
from embed_assets.queries.judges import drop_badly_judged
from embed_assets.queries.prompts import load_prompt, load_question_prompts
from embed_assets.queries.questions import write_questions
from embed_assets.queries.settings import QuestionsSettings
from embed_assets_tests.sample_documents import ask
from embed_assets_tests.scripted_endpoints import ScriptedEndpoint, said

# The message of a chat that each family sends; {} is the answer itself.
FAMILIES: dict[str, dict] = {
    "Qwen3": {"content": "<think>\nThe passage is about [1] {things}. What would people ask?\n</think>\n\n{}"},
    "Qwen3 behind a reasoning parser": {"content": "\n\n{}", "reasoning_content": "What would people ask?"},
    "DeepSeek-R1": {"content": "Okay, so I need a question. Maybe: What is this?\n</think>\n\n{}"},
    "gpt-oss": {
        "content": '<|channel|>analysis<|message|>We need JSON? {"a": 1}<|end|>'
        "<|start|>assistant<|channel|>final<|message|>{}<|return|>"
    },
    "gpt-oss without special tokens": {"content": "analysisWe need one. Which?assistantfinal{}"},
    "Llama 3": {"content": "Here's what you asked for:\n\n{}\n\nLet me know if you'd like me to write more!"},
    "Mistral": {"content": " {}"},
    "Magistral": {
        "content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "{}"}]
    },
    "Gemma 3": {"content": "Okay, here's what I came up with:\n\n```json\n{}\n```\n"},
    "Gemma 4": {"content": "<|channel>thought\nWhat would people ask?<channel|>{}<turn|>"},
    "Phi-4-reasoning": {"content": "<think>User asks for one. Let me think?</think>{}<|im_end|>"},
    "Granite": {"content": "Here is my thought process:\n\nIt speaks of one thing. Which?\n\nHere is my response:\n\n{}"},
    "Command A": {"content": "<|START_THINKING|>Hm.<|END_THINKING|><|START_RESPONSE|>{}<|END_RESPONSE|>"},
    "GLM-4.5": {"content": "\n<think>Which one?</think>\n<|begin_of_box|>{}<|end_of_box|>"},
    "Nemotron": {"content": "<think>\n\n</think>\n\n{}"},
    "Hunyuan": {"content": "<think>\nHm.\n</think>\n<answer>\n{}\n</answer>"},
    "SmolLM2": {"content": "{}<|im_end|>"},
}
QUERIES = [
    "Why does E4012 show up?",
    "E4012 pump runs dry",
    "Warum läuft die Pumpe trocken?",
    "ポンプが空運転するのはなぜですか?",
]


def message_of(family: str, answer: str) -> dict:
    return json.loads(json.dumps(FAMILIES[family]).replace("{}", json.dumps(answer)[1:-1]))


def text_of(family: str, answer: str) -> str:
    content = message_of(family, answer)["content"]
    return content if isinstance(content, str) else content[-1]["text"]


@pytest.mark.parametrize("family", FAMILIES)
def test_writer_extractor_and_judge_understand_each_family_over_http(family, chunks, encoder, tmp_path):
    pump = chunks.filter(pl.col("document_id") == "pump.md")
    styles = {"question": 1, "how_to": 1}
    labels = {"reasoning_type": "causal", "complexity": "2", "passages": "1"}
    why = {"query": "Why does my pump run dry?", "style": "question"} | labels
    how = {"query": "How can I get rid of E4012?", "style": "How-to"} | labels
    questions = [why, how]

    def answer(prompt: str) -> str:
        if "You judge" in prompt:
            return '{"relevance": 9, "accuracy": 9, "context_support": 8, "clarity": 10}'
        if "List what" in prompt:
            return '{"entities": ["pump"], "terms": [{"text": "float switch"}], "identifiers": ["E4012"]}'
        return json.dumps({"questions": questions}, indent=1) if "Answer with JSON" in prompt else questions[0]["query"]

    endpoint = ScriptedEndpoint(lambda prompt, before: said(message_of(family, answer(prompt))))
    model = LanguageModelSettings(engine="endpoint", url=endpoint.url, name=family, chat=True, thinks=True, max_new_tokens=900)
    try:
        with LanguageModel(model, tmp_path) as asked:
            for mode, queries in (("single", [questions[0]["query"]] * 2), ("batch", [it["query"] for it in questions])):
                settings = QuestionsSettings(
                    mode=mode, styles=styles, questions_per_chunk=2 if mode == "batch" else 1, max_questions=2, writer=model
                )
                prompts = load_question_prompts(settings, [])
                jobs = plan_jobs(pump, list(prompts.values()), encoder, settings)
                written = write_questions(pump, jobs, asked, settings)
                assert written["query"].to_list() == queries and written["style"].to_list() == ["question", "how_to"]
                assert written["dropped"].null_count() == 2
            found = extract_artifacts(pump, jobs, load_prompt("artifacts.jinja", []), asked, model)
            pairs, prompt = ask(pump, (why["query"], "pump.md")), load_prompt("judge.jinja", [])
            judged = drop_badly_judged(pairs, pump, prompt, asked, model, 7)
    finally:
        endpoint.stop()
    assert found == {0: "entities: pump\nterms: float switch\nidentifiers: E4012"}
    assert judged["judge_score"].to_list() == [9.0] and not any("response_format" in body for body in endpoint.bodies)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("query", QUERIES)
def test_the_text_of_each_family_is_read_as_one_question(family, query):
    assert read_question(text_of(family, query)) == query


@pytest.mark.parametrize(
    "family", ["Qwen3", "gpt-oss", "gpt-oss without special tokens", "Gemma 4", "Phi-4-reasoning", "Granite"]
)
def test_reasoning_that_does_not_end_is_no_answer(family):
    unfinished, mark, _ = text_of(family, "").partition("?")
    assert mark and without_reasoning(unfinished) == read_question(unfinished) == ""
