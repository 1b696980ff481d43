"""What the stage of the QA pairs is made of."""

from pathlib import Path

import pytest

from embed_assets.artifacts.inputs import Asked
from embed_assets.artifacts.workspace import Workspace
from embed_assets.models import language_models as models
from embed_assets.models.answers import Sampling
from embed_assets.models.settings import LanguageModelSettings
from embed_assets.queries.settings import QuestionsSettings
from embed_assets.queries.stages import NOT_INSTALLED, language_models


def writer_of(tmp_path: Path, settings: QuestionsSettings) -> str:
    asked = Asked(Workspace(tmp_path, tmp_path), "routers", {"questions": settings})
    return language_models(asked)["writer"].digest


def test_without_vllm_look_ups_are_taken_alone_if_the_settings_allow_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(models.importlib.util, "find_spec", lambda name: None if name == "vllm" else pytest.fail(name))
    endpoint = LanguageModelSettings(engine="endpoint", url="http://localhost:1/v1", name="ours")
    assert writer_of(tmp_path, QuestionsSettings(if_no_writer="look_ups")) == NOT_INSTALLED
    assert writer_of(tmp_path, QuestionsSettings(if_no_writer="look_ups", writer=endpoint)) == "endpoint:ours"


def test_the_build_for_cpus_needs_a_library_of_the_system_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(models, "NUMA", "libnot-there.so.1")
    assert writer_of(tmp_path, QuestionsSettings(if_no_writer="look_ups")) == NOT_INSTALLED
    with (
        pytest.raises(models.GenerationError, match=r"cannot be asked: vLLM needs .*libnot-there.so.1: install it .*apt install"),
        models.LanguageModel(LanguageModelSettings(), tmp_path) as writer,
    ):
        writer.generate(["hello"], [1], Sampling(0.0, 1.0, 5))


def test_with_vllm_the_setting_changes_nothing(tmp_path: Path):
    with_it, without_it = (writer_of(tmp_path, QuestionsSettings(if_no_writer=value)) for value in ("look_ups", "fail"))
    assert with_it == without_it != NOT_INSTALLED
