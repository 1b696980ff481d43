"""What the stage of the QA pairs is made of."""

from pathlib import Path

import pytest

from embed_assets.artifacts.inputs import Asked
from embed_assets.artifacts.workspace import Workspace
from embed_assets.models import language_models as models
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


def test_with_vllm_the_setting_changes_nothing(tmp_path: Path):
    with_it, without_it = (writer_of(tmp_path, QuestionsSettings(if_no_writer=value)) for value in ("look_ups", "fail"))
    assert with_it == without_it != NOT_INSTALLED
