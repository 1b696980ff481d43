"""Answers of a language model in two workers on two nodes."""

import dataclasses
from pathlib import Path

import pytest

from embed_assets.cluster.ray_cluster import Cluster
from embed_assets.cluster.workers import BLOCKS_AT_ONCE
from embed_assets.models import language_models
from embed_assets.models.answers import Answer, Sampling
from embed_assets.models.cluster_engine import FEWEST_PROMPTS, cluster_of_engines
from embed_assets.models.hardware import Compute
from embed_assets.models.language_models import LanguageModel
from embed_assets.models.settings import LanguageModelSettings
from embed_assets_tests.cluster.conftest import TwoNodes, processes, wait_until

ON_TWO = Compute(device="cpu", cluster=Cluster(2, 0, 1))
SETTINGS = LanguageModelSettings(dtype="float32")
SAMPLING = Sampling(temperature=1.0, max_new_tokens=40, stop=(".", ",", "\n"))  # so that they do not all end at once
ENGINE, AT_WORK = "embed_assets.models.vllm_worker", "ray::Actor.answer"  # as Ray names a process


def prompts(what: str) -> list[str]:
    return [f"Passage: Pump {number} is made of brass. Greased is its {what} every" for number in range(140)]


def ask(model: LanguageModel, what: str, kill: str) -> list[Answer]:
    """Ask, and kill a process of a name as soon as the first answers are kept."""
    put, left = model._memo.put_many, [1]

    def put_and_kill(rows: list[tuple[str, bytes]]) -> None:
        put(rows)
        left[0] -= 1
        if left[0] == 0:
            processes(kill)[0].kill()

    model._memo.put_many = put_and_kill  # type: ignore[method-assign]
    try:
        return model.generate(prompts(what), range(140), SAMPLING)
    finally:
        model._memo.put_many = put  # type: ignore[method-assign]


@pytest.mark.slow
def test_answers_go_on_when_a_worker_or_its_engine_is_killed(
    nodes: TwoNodes, tmp_path: Path, asked: list[int], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(language_models, "ANSWERS_IN_A_BATCH", 4)
    with LanguageModel(SETTINGS, tmp_path, ON_TWO) as model:
        first = ask(model, "bearing", AT_WORK)
        print(f"a worker was killed: {sum(asked) - 140} of 140 prompts were asked of two")
        assert 0 < sum(asked) - 140 <= BLOCKS_AT_ONCE * FEWEST_PROMPTS
        assert caplog.text.count("a worker was lost, another one takes its place") == 1
        second = ask(model, "valve", ENGINE)
        assert caplog.text.count("a worker was lost, another one takes its place") == 2
    assert "takes its place: vLLM ended in a worker" in caplog.text
    assert len(first) == len(second) == 140 and model.usage.asked == 280 and model.usage.reused == 0
    assert all(answer.final and answer.prompt_tokens > 10 for answer in [*first, *second])
    wait_until(lambda: not processes("ray::Actor") and not processes(ENGINE))
    with LanguageModel(SETTINGS, tmp_path) as model:
        assert model.generate(prompts("valve"), range(140), SAMPLING) == second
        assert model.usage.reused == 140


def test_a_model_over_several_gpus_gets_them_in_one_worker():
    assert cluster_of_engines(Cluster(8, 1, 2), 4) == Cluster(2, 4, 2)
    assert cluster_of_engines(Cluster(2, 1, 2), 4) == Cluster(1, 4, 2)
    same = Cluster(8, 1, 2)
    assert cluster_of_engines(same, 1) is same
    assert cluster_of_engines(dataclasses.replace(same, worker_gpus=0), 4).worker_gpus == 0
