"""What is tried again, and who hears of failures."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterEventType, DagsterInstance, build_run_status_sensor_context

from embed_assets.artifacts.errors import UserError
from embed_assets.artifacts.workspace import CollectionError
from embed_assets.cli.runs import materialize_collection, open_instance
from embed_assets.corpus import source
from embed_assets.definitions import defs
from embed_assets.defs import failures
from embed_assets.defs.failures import tell_of_failures
from embed_assets.graph import STAGES
from embed_assets_tests.production.test_notices import Webhook
from embed_assets_tests.small_collections import BAKERY, write_collection


@pytest.fixture
def instance(workspace_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DagsterInstance]:
    """An instance for a collection ``bakery``; tries follow each other at once."""
    monkeypatch.setattr("dagster._core.definitions.policy.RetryPolicy.calculate_delay", lambda policy, attempt: 0.0)
    write_collection(workspace_folder / "data" / "collections" / "bakery", BAKERY)
    with open_instance(workspace_folder / "home") as instance:
        yield instance


def tries_of(instance: DagsterInstance) -> int:
    """How often corpus_chunks was begun in the last run."""
    (run,) = instance.get_runs(limit=1)
    events = instance.all_logs(run.run_id, of_type={DagsterEventType.STEP_START, DagsterEventType.STEP_RESTARTED})
    return len(events)


def fail_first(monkeypatch: pytest.MonkeyPatch, times: int, error: Exception) -> None:
    """Let the reader of documents fail so many times."""
    left, read = [error] * times, source.read_documents

    def read_documents(*arguments):
        if left:
            raise left.pop()
        return read(*arguments)

    monkeypatch.setattr(source, "read_documents", read_documents)


def test_what_fails_in_passing_is_tried_again(instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch):
    fail_first(monkeypatch, 2, ConnectionError("503"))
    assert materialize_collection(instance, "bakery", "corpus_chunks")
    assert tries_of(instance) == 3


def test_what_fails_again_and_again_ends(instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch, caplog):
    fail_first(monkeypatch, 99, MemoryError("the GPU is full"))
    assert not materialize_collection(instance, "bakery", "corpus_chunks")
    assert tries_of(instance) == 3
    assert "bakery: corpus_chunks failed: MemoryError: the GPU is full" in caplog.text


@pytest.mark.parametrize("kind", [ValueError, CollectionError], ids=lambda kind: kind.__name__)
def test_nothing_secret_of_an_error_or_its_cause_is_kept_or_told(
    instance: DagsterInstance, workspace_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog, kind: type[Exception]
):
    """S3 repeats the token of a session where its signature does not match."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "s3cr3t-of-session")
    error = kind("S3 answers: x-amz-security-token:s3cr3t-of-session")
    error.__cause__ = OSError("s3cr3t-of-session")
    fail_first(monkeypatch, 99, error)
    assert not materialize_collection(instance, "bakery", "corpus_chunks")
    assert "S3 answers: x-amz-security-token:…" in caplog.text and "s3cr3t" not in caplog.text
    files = [path for path in (workspace_folder / "home").rglob("*") if path.is_file()]
    assert files and not [path for path in files if b"s3cr3t" in path.read_bytes()]


def test_a_plan_and_the_log_of_its_run_hide_what_is_secret(
    instance: DagsterInstance, workspace_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "s3cr3t-of-session")
    settings = workspace_folder / "data" / "collections" / "bakery" / "settings.yaml"
    settings.write_text("production: {uri: s3cr3t-of-session}")
    assert not materialize_collection(instance, "bakery", "corpus_chunks")
    (run,) = instance.get_runs(limit=1)
    log = [entry.user_message for entry in instance.all_logs(run.run_id)]
    assert any("corpus_chunks    fails" in words and "there is no such folder" in words for words in log)
    assert not [words for words in log if "s3cr3t" in words]


@pytest.mark.long
def test_what_a_check_refused_is_told_again_by_each_run(instance: DagsterInstance, workspace_folder: Path, caplog):
    (workspace_folder / "data" / "settings.yaml").write_text("questions: {max_questions: 0, max_lookups: 2}")
    for _ in ("computed", "reused"):
        caplog.clear()
        assert not materialize_collection(instance, "bakery", "qa_pairs")
        assert "qa_pairs of bakery: check enough_pairs: " in caplog.text


@pytest.mark.parametrize("error", UserError.__subclasses__(), ids=lambda error: error.__name__)
def test_every_error_that_needs_a_person_ends_at_once_in_its_own_words(error: type[Exception]):
    @failures.lasting_errors_end_at_once
    def body(context):
        raise error("settings.yaml: say what to do")

    with pytest.raises(failures.Failure) as ended:
        body(None)
    assert (ended.value.allow_retries, ended.value.description) == (False, "settings.yaml: say what to do")


@pytest.mark.parametrize("error", failures.PASSING, ids=lambda error: error.__name__)
def test_being_overtaken_is_tried_again(error: type[Exception]):
    @failures.lasting_errors_end_at_once
    def body(context):
        raise error("materialize again")

    with pytest.raises(error):
        body(None)


def test_every_stage_has_the_policy():
    graph = defs.resolve_asset_graph()
    for name in [*STAGES, "trial", "leaderboard", "saturation_curve", "production_drift"]:
        assert graph.get(AssetKey(name)).assets_def.op.retry_policy == failures.RETRIES, name


def test_what_production_needs_has_a_freshness_policy():
    graph = defs.resolve_asset_graph()
    fresh = {key.to_user_string() for key in graph.materializable_asset_keys if graph.get(key).freshness_policy}
    assert fresh == {"published_index", "production_drift"}


def test_a_failed_run_is_told_once_with_its_reason(
    instance: DagsterInstance, workspace_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog
):
    webhook = Webhook(200)
    (workspace_folder / "data" / "settings.yaml").write_text("chunking: {max_tokens: many}")
    assert not materialize_collection(instance, "bakery", "corpus_chunks")
    assert tries_of(instance) == 1 and not webhook.got
    (run,) = instance.get_runs()
    (event,) = instance.all_logs(run.run_id, of_type=DagsterEventType.RUN_FAILURE)
    context = build_run_status_sensor_context("tell_of_failures", event.dagster_event, instance, run, repository_def=None)
    assert "EMBED_ASSETS_WEBHOOK" in tell_of_failures(context.for_run_failure()).skip_message
    monkeypatch.setenv("EMBED_ASSETS_WEBHOOK", webhook.url)
    assert tell_of_failures(context.for_run_failure()) is None
    (told,) = webhook.got
    assert told["text"].startswith("embed_assets: corpus_chunks of bakery failed\ncorpus_chunks: ")
    assert "settings.yaml: chunking.max_tokens: 'many' is not allowed" in told["text"] and run.run_id in told["text"]
    assert "T0PSECRET" not in caplog.text


def test_the_command_line_tells_of_failures_too(
    instance: DagsterInstance, workspace_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    webhook = Webhook(200)
    monkeypatch.setenv("EMBED_ASSETS_WEBHOOK", webhook.url)
    assert materialize_collection(instance, "bakery", "corpus_chunks") and not webhook.got
    fail_first(monkeypatch, 1, CollectionError("guide.pdf is damaged"))
    (workspace_folder / "data" / "collections" / "bakery" / "documents" / "rye.md").write_text("# Rye\n\nAnother text.\n")
    assert not materialize_collection(instance, "bakery", "corpus_chunks")
    assert [told["text"].split("\n")[1] for told in webhook.got] == ["corpus_chunks: guide.pdf is damaged"]
