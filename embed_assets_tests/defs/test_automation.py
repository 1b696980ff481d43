"""What the automation condition asks for: per collection, once for each change."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterInstance, Definitions, SensorResult, build_sensor_context, evaluate_automation_conditions

from embed_assets.cli.runs import materialize_collection, open_instance
from embed_assets.definitions import defs
from embed_assets.defs.collections_sensor import register_collections
from embed_assets.defs.corpus.corpus_chunks import corpus_chunks
from embed_assets.defs.partitions import collections
from embed_assets.defs.resources import WorkspaceResource
from embed_assets.graph import DEFAULT_STAGES, STAGES
from embed_assets_tests.small_collections import BAKERY, SETTINGS, override, write_collection, write_small_collections

# Without the round trip no model is loaded up to here.
BUILT = ("corpus_chunks", "qa_pairs", "evaluation_set")


class Automation:
    """Ticks of the automation sensor, with the cursor that Dagster keeps between them."""

    def __init__(self, instance: DagsterInstance):
        self.instance = instance
        self.cursor = None

    def tick(self) -> set[tuple[str, str]]:
        """The (asset, collection) pairs that are asked for."""
        result = evaluate_automation_conditions(defs, self.instance, cursor=self.cursor)
        self.cursor = result.cursor
        return {
            (asset, collection)
            for asset in STAGES
            for collection in result.get_requested_partitions(AssetKey(asset))
            if collection
        }


@pytest.fixture
def automation(workspace_folder: Path) -> Iterator[Automation]:
    """Two collections built as far as BUILT, and one tick that found nothing to do for them."""
    write_small_collections(workspace_folder / "data")
    settings = SETTINGS | {"questions": SETTINGS["questions"] | {"round_trip_top_k": 0}}
    (workspace_folder / "data" / "settings.yaml").write_text(json.dumps(settings))
    with open_instance(workspace_folder / "home") as instance:
        for collection in ("bakery", "routers"):
            assert materialize_collection(instance, collection, "evaluation_set")
        automation = Automation(instance)
        assert not {(asset, collection) for asset, collection in automation.tick() if asset in BUILT}
        automation.tick()
        yield automation


def test_nothing_changes_and_nothing_is_asked_for(automation: Automation):
    assert automation.tick() == set()


def test_settings_edit_asks_for_what_was_built_downstream_of_it_once(automation: Automation, workspace_folder: Path):
    override(workspace_folder / "data", "bakery", {"questions": {"seed": 99}})
    assert automation.tick() == {("qa_pairs", "bakery"), ("evaluation_set", "bakery")}
    assert materialize_collection(automation.instance, "bakery", "evaluation_set")
    assert automation.tick() == set()


def test_new_document_is_noticed(automation: Automation, workspace_folder: Path):
    documents = workspace_folder / "data" / "collections" / "routers" / "documents"
    (documents / "cable.md").write_text("# Cables\n\nUse the twinaxial cable CAB-7 for distances below three metres.\n")
    assert automation.tick() == {(asset, "routers") for asset in BUILT}


@pytest.mark.long
def test_failing_run_is_not_asked_for_again_without_another_edit(automation: Automation, workspace_folder: Path):
    override(workspace_folder / "data", "bakery", {"questions": {"max_questions": 4, "styles": {"missing": 1}}})
    assert ("qa_pairs", "bakery") not in automation.tick()
    prompts = workspace_folder / "data" / "prompts"
    prompts.mkdir()
    (prompts / "missing.jinja").write_text("About {{ passage }}")
    assert ("qa_pairs", "bakery") in automation.tick()
    # Nothing was materialized, as after a run that failed: the request stands, it is not repeated as a new one.
    override(workspace_folder / "data", "bakery", {})
    automation.tick()
    override(workspace_folder / "data", "bakery", {"questions": {"seed": 5}})
    assert ("qa_pairs", "bakery") in automation.tick()


def test_unreadable_settings_of_one_collection_do_not_stop_the_other(automation: Automation, workspace_folder: Path):
    override(workspace_folder / "data", "routers", {"questions": {"no_such_setting": 1}})
    override(workspace_folder / "data", "bakery", {"questions": {"seed": 99}})
    assert ("qa_pairs", "bakery") in automation.tick()


def test_new_collection_is_registered_and_built_whole(automation: Automation, workspace_folder: Path):
    write_collection(workspace_folder / "data" / "collections" / "second-bakery", BAKERY)
    result = register_collections(build_sensor_context(automation.instance, resources={"workspace": WorkspaceResource()}))
    assert isinstance(result, SensorResult)
    request, _ = result.dynamic_partitions_requests  # the other one asks for the planned trials
    assert (request.partitions_def_name, list(request.partition_keys)) == (collections.name, ["second-bakery"])
    automation.instance.add_dynamic_partitions(collections.name, request.partition_keys)
    assert automation.tick() == {(name, "second-bakery") for name in DEFAULT_STAGES}


def test_folder_with_an_unusable_name_is_not_registered(workspace_folder: Path, caplog):
    write_collection(workspace_folder / "data" / "collections" / "bad name", BAKERY)
    write_collection(workspace_folder / "data" / "collections" / "good", BAKERY)
    assert list(WorkspaceResource().open().collections()) == ["good"]
    assert "bad name is left out" in caplog.text


def test_a_folder_that_cannot_be_read_does_not_stop_the_others(workspace_folder: Path, caplog):
    folder = workspace_folder / "data" / "collections"
    write_collection(folder / "good", BAKERY)
    for name in ("away", "lost+found"):
        (folder / name).symlink_to("x" * 300)  # an error of the file system that meets every user, root too
    assert list(WorkspaceResource().open().collections()) == ["good"]
    assert "away is left out: it cannot be read" in caplog.text
    assert "lost+found" not in caplog.text


def test_changes_are_looked_for_in_the_folders_that_the_definitions_name(workspace_folder: Path, monkeypatch):
    data, home = workspace_folder / "data", workspace_folder / "home"
    write_collection(data / "collections" / "bakery", BAKERY)
    with open_instance(home) as instance:
        assert materialize_collection(instance, "bakery", "corpus_chunks")
        for name in ("EMBED_ASSETS_DATA", "EMBED_ASSETS_HOME", "DAGSTER_HOME"):
            monkeypatch.setenv(name, str(workspace_folder / "nowhere"))
        elsewhere = Definitions(
            assets=[corpus_chunks], resources={"workspace": WorkspaceResource(data=str(data), home=str(home))}
        )
        first = evaluate_automation_conditions(elsewhere, instance)
        second = evaluate_automation_conditions(elsewhere, instance, cursor=first.cursor)
        assert second.total_requested == 0
        override(data, "bakery", {"chunking": {"max_tokens": 64}})
        third = evaluate_automation_conditions(elsewhere, instance, cursor=second.cursor)
    assert third.get_requested_partitions(AssetKey("corpus_chunks")) == {"bakery"}
