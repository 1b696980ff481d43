"""A materialization that computed something says why; one that found its result there does not."""

from pathlib import Path

import pytest
from dagster import AssetCheckKey, AssetKey, DagsterInstance

from embed_assets.cli.runs import materialize_collection, open_instance
from embed_assets.corpus.checks import CORPUS_CHECKS
from embed_assets.reports import corpus as corpus_report
from embed_assets_tests.small_collections import BAKERY, override, write_collection


def reasons(instance: DagsterInstance) -> str | None:
    """Materialize corpus_chunks of bakery, and give what its metadata say."""
    assert materialize_collection(instance, "bakery", "corpus_chunks")
    event = instance.get_latest_materialization_event(AssetKey("corpus_chunks"))
    because = event.asset_materialization.metadata.get("computed_because")
    return because.value if because else None


def told(instance: DagsterInstance) -> list[str]:
    """What the last run said before its first step."""
    run = instance.get_run_records(limit=1)[0].dagster_run
    messages = [entry.user_message for entry in instance.all_logs(run.run_id)]
    return [message for message in messages if message.startswith("what this run does")]


def test_the_reasons_are_in_the_metadata(workspace_folder: Path):
    write_collection(workspace_folder / "data" / "collections" / "bakery", BAKERY)
    rye = workspace_folder / "data" / "collections" / "bakery" / "documents" / "rye.md"
    with open_instance(workspace_folder / "home") as instance:
        assert reasons(instance) == "- `never built`"
        begin = f"what this run does with bakery:\n  {'corpus_chunks':16} computed\n{'':19} - "
        assert told(instance) == [f"{begin}never built"]
        assert reasons(instance) is None
        assert told(instance) == ["what this run does with bakery: all is there"]
        rye.write_text(rye.read_text().replace("sixteen", "eighteen"))
        override(workspace_folder / "data", "bakery", {"documents": {"min_characters": 2}})
        assert reasons(instance) == "- `setting documents.min_characters: 1 → 2`\n- `changed documents/rye.md`"
        assert told(instance)[0].startswith(f"{begin}setting documents.min_characters: 1 → 2\n")


def test_a_check_that_has_nothing_to_look_at_passes(workspace_folder: Path, monkeypatch: pytest.MonkeyPatch):
    write_collection(workspace_folder / "data" / "collections" / "bakery", BAKERY)
    judged = corpus_report.check_corpus
    monkeypatch.setattr(corpus_report, "check_corpus", lambda *of: judged(*of)[:1])
    with open_instance(workspace_folder / "home") as instance:
        assert materialize_collection(instance, "bakery", "corpus_chunks")
        keys = [AssetCheckKey(AssetKey("corpus_chunks"), name) for name in CORPUS_CHECKS]
        found = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    evaluations = [found[key].event.asset_check_evaluation for key in keys]
    assert [it.passed for it in evaluations] == [True] * len(CORPUS_CHECKS)
    assert [it.description for it in evaluations[1:]] == ["there was nothing to look at"] * (len(CORPUS_CHECKS) - 1)
