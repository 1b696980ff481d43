"""What steps ask of the machine that they are placed on, and which executor places them."""

import json

import pytest

from embed_assets.definitions import defs
from embed_assets.defs.executor import execution, options_with_environment
from embed_assets.defs.placement import Needs, needs_of, op_tags
from embed_assets.graph import STAGES


def test_a_step_with_models_takes_a_gpu_unless_others_compute(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("EMBED_ASSETS_GPU", raising=False)
    assert needs_of("checkpoint", True, ()) == Needs(gpus=1, cpus=1, memory=8)
    assert needs_of("corpus_chunks", False, ()) == Needs(gpus=0, cpus=1, memory=4)
    for options in ("cluster=ray workers=8", "device=cpu"):
        monkeypatch.setenv("EMBED_ASSETS_GPU", options)
        assert needs_of("checkpoint", True, ()) == Needs(gpus=0, cpus=1, memory=8)


def test_needs_are_set_for_all_steps_with_models_and_for_single_ones(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("EMBED_ASSETS_GPU", raising=False)
    words = ["corpus_chunks.cpus=2", "checkpoint.gpus=2", "cpus=8", "memory=32"]
    assert needs_of("checkpoint", True, words) == Needs(gpus=2, cpus=8, memory=32)
    assert needs_of("triplets", True, words) == Needs(gpus=1, cpus=8, memory=32)
    assert needs_of("corpus_chunks", False, words) == Needs(gpus=0, cpus=2, memory=4)
    assert needs_of("evaluation_set", False, words) == Needs(gpus=0, cpus=1, memory=4)


def test_a_step_that_trains_in_several_processes_takes_a_gpu_for_each(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EMBED_ASSETS_GPU", "processes=4")
    gpus = {stage: needs_of(stage, True, ()).gpus for stage in ("checkpoint", "trial", "triplets", "beir_scores", "reranker")}
    assert gpus == {"checkpoint": 4, "trial": 4, "triplets": 4, "beir_scores": 1, "reranker": 1}
    assert needs_of("checkpoint", True, ["checkpoint.gpus=2"]).gpus == 2
    for elsewhere in ("processes=4 device=cpu", "processes=4 cluster=ray"):
        monkeypatch.setenv("EMBED_ASSETS_GPU", elsewhere)
        assert needs_of("checkpoint", True, ()).gpus == 0


def test_variables_that_a_run_names_for_its_steps_join_those_that_every_step_gets(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EMBED_ASSETS_HOME", "s3://house/home")
    monkeypatch.delenv("EMBED_ASSETS_DATA", raising=False)
    for more in ({}, {"env_vars": None}, {"env_vars": ["HF_TOKEN", "A=1"]}):
        names = options_with_environment(more)["env_vars"]
        assert "EMBED_ASSETS_HOME" in names and "EMBED_ASSETS_DATA" not in names
        assert names[-2:] == more["env_vars"] if more.get("env_vars") else "HF_TOKEN" not in names
    assert options_with_environment({"num_cpus": 2})["num_cpus"] == 2


@pytest.mark.parametrize("word", ["gpu=1", "check_point.gpus=1", "cpus=many", "cpus", "checkpoint.=2"])
def test_needs_that_are_none_are_named(word: str):
    with pytest.raises(ValueError, match=rf"^\$EMBED_ASSETS_STEPS: '{word}'"):
        needs_of("checkpoint", True, [word])


def test_both_executors_are_told_the_same(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("EMBED_ASSETS_GPU", raising=False)
    monkeypatch.setenv("EMBED_ASSETS_STEPS", "memory=16 cpus=2.5")
    tags = op_tags("checkpoint", True)
    assert tags["dagster-ray/config"] == {"num_gpus": 1, "num_cpus": 2.5, "memory": 16 * 2**30}
    resources = tags["dagster-k8s/config"]["container_config"]["resources"]
    assert resources == {"requests": {"cpu": "2.5", "memory": "16Gi"}, "limits": {"nvidia.com/gpu": "1"}}


def test_every_stage_has_the_tags():
    for name in STAGES:
        tags = defs.resolve_assets_def(name).op.tags
        assert json.loads(tags["dagster-ray/config"])["num_cpus"] == 1 and "dagster-k8s/config" in tags


def test_the_executor_is_chosen_by_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("EMBED_ASSETS_EXECUTOR", raising=False)
    assert execution() == {"multiprocess": {}}
    monkeypatch.setenv("EMBED_ASSETS_EXECUTOR", "ray")
    assert execution() == {"ray": {}}
    monkeypatch.setenv("EMBED_ASSETS_EXECUTOR", "celery")
    with pytest.raises(ValueError, match=r"EMBED_ASSETS_EXECUTOR is 'celery': it is one of local, ray"):
        execution()
