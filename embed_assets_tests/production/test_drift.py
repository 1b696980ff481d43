"""The look at production: what the model was not trained on, and what the index still finds."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from dagster import AssetCheckKey, AssetCheckSeverity, AssetKey, DagsterInstance, JobDefinition, build_schedule_context

from embed_assets.artifacts.workspace import Workspace
from embed_assets.cli.runs import materialize_collection, open_instance
from embed_assets.corpus.stages import CORPUS_CHUNKS
from embed_assets.definitions import defs
from embed_assets.defs.production.production_drift import look_at_production
from embed_assets.defs.resources import WorkspaceResource
from embed_assets.evaluation.metrics import HEADLINE, score_first_ten
from embed_assets.lineage import open_published, resolve
from embed_assets.production import drift
from embed_assets.production.drift import Coverage, LiveScore
from embed_assets.production.published_index import PublishingError
from embed_assets.production.settings import DriftSettings
from embed_assets_tests.production_tables import production_database, rows_of, write_production_table, write_table_collection
from embed_assets_tests.small_collections import BAKERY, QUERIES, ROUTERS, SETTINGS, override, write_collection, write_labels

DRIFT = AssetKey("production_drift")
ROWS = rows_of(ROUTERS)


class Production:
    """``support``, which comes from a table, and ``bakery``, which comes from files, both with an index in production."""

    def __init__(self, folder: Path, instance: DagsterInstance):
        self.instance = instance
        self.workspace = Workspace(folder / "data", folder / "home")

    def build(self) -> None:
        config = {"ops": {"published_index": {"config": {"publish_anyway": True}}}}
        job = defs.resolve_implicit_global_asset_job_def()
        for collection in ("support", "bakery"):
            assert materialize_collection(self.instance, collection, "beir_scores")
            selection = [AssetKey("published_index")]
            assert job.execute_in_process(config, self.instance, collection, asset_selection=selection).success

    def day(self, number: int) -> list[str]:
        """Executes the runs that the schedule asks for; returns their collections."""
        when = datetime(2026, 3, number, 5)
        resources = {"workspace": WorkspaceResource()}
        repository = defs.get_repository_def()
        requests = look_at_production(build_schedule_context(self.instance, when, resources, repository))
        for request in requests:
            look = self.job(request.asset_selection, request.asset_check_keys)
            assert look.execute_in_process(instance=self.instance, partition_key=request.partition_key, tags=request.tags).success
        return [request.partition_key for request in requests]

    def job(self, assets: Sequence[AssetKey], checks: Sequence[AssetCheckKey] | None = None) -> JobDefinition:
        """The job of the schedule, as far as a request asks for it."""
        whole = defs.resolve_job_def(look_at_production.job_name)
        return whole.get_subset(asset_selection=set(assets), asset_check_selection=set(checks) if checks else None)

    def check(self, name: str, collection: str, asset: AssetKey = DRIFT) -> tuple[bool, str, AssetCheckSeverity]:
        """The last outcome of a check."""
        history = self.instance.event_log_storage.get_asset_check_execution_history(AssetCheckKey(asset, name), limit=20)
        found = (record.event.dagster_event.asset_check_evaluation_data for record in history)
        last = next(item for item in found if item.partition == collection)
        return last.passed, last.description, last.severity


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    folder = tmp_path_factory.mktemp("drift")
    data = folder / "data"
    write_table_collection(data, "support", publishing={"uri": "published"})
    write_labels(data / "collections" / "support", QUERIES)
    write_collection(data / "collections" / "bakery", BAKERY)
    write_collection(data / "collections" / "private", BAKERY)
    override(data, "bakery", {"publishing": {"uri": "published"}})
    (data / "settings.yaml").write_text(json.dumps(SETTINGS))
    write_production_table(data, ROWS)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("EMBED_ASSETS_DATA", str(data))
        environment.setenv("EMBED_ASSETS_HOME", str(folder / "home"))
        with open_instance(folder / "home") as instance:
            built = Production(folder, instance)
            built.build()
            yield built


def coverage(workspace: Workspace, collection: str) -> Coverage:
    now = drift.texts_now(workspace, resolve(workspace, CORPUS_CHUNKS, collection))
    return drift.measure_coverage(open_published(workspace, collection), now)


def test_index_scores_on_its_first_day_what_was_noted(production: Production):
    (human, *others) = drift.measure_live_scores(open_published(production.workspace, "support"))
    assert (human.source, human.queries) == ("human", len(QUERIES))
    (synthetic,) = drift.measure_live_scores(open_published(production.workspace, "bakery"))
    assert synthetic.source == "look-up" and synthetic.queries > 1
    for score in (human, *others, synthetic):
        assert score.now == pytest.approx(score.noted, abs=1e-3) and score.now > 0.2


def test_chunks_of_the_training_are_known_and_those_without_a_query_are_counted(production: Production):
    store = production.workspace.store
    chunks = pl.read_parquet(store.current("corpus_chunks", "support").folder / "chunks.parquet")
    pairs = pl.read_parquet(store.current("qa_pairs", "support").folder / "pairs.parquet")
    without = chunks.join(pairs, on=["document_id", "start", "end"], how="anti")
    assert coverage(production.workspace, "support") == Coverage(len(ROWS), 0, len(without))


def test_schedule_looks_at_every_collection_that_publishes_each_day_anew(production: Production):
    write_collection(production.workspace.data / "collections" / "misspelt", BAKERY)
    override(production.workspace.data, "misspelt", {"publishing": {"url": "published"}})
    before = production.instance.fetch_materializations(DRIFT, limit=100).records
    assert production.day(1) == ["bakery", "support"]
    assert production.day(2) == ["bakery", "support"]
    events = production.instance.fetch_materializations(DRIFT, limit=100).records[: 4 + len(before)]
    assert len(events) == 4 + len(before)
    metadata = next(event for event in events if event.partition_key == "support").asset_materialization.metadata
    assert metadata["chunks"].value == len(ROWS) and 0 < metadata["human_ndcg_at_10"].value <= 1
    for collection in ("bakery", "support"):
        assert production.check("score_holds", collection)[0]
        assert "no endpoint is set" in production.check("endpoint_agrees", collection, AssetKey("published_index"))[1]
    assert not (production.workspace.store.root / "production_drift").exists()


def test_nothing_but_the_schedule_asks_for_it(production: Production):
    assert look_at_production.default_status.value == "STOPPED"
    assert defs.resolve_asset_graph().get(DRIFT).automation_condition is None
    before = len(production.instance.fetch_materializations(DRIFT, limit=100).records)
    assert materialize_collection(production.instance, "private", "corpus_chunks")
    assert len(production.instance.fetch_materializations(DRIFT, limit=100).records) == before


def test_collection_that_publishes_nothing_passes_and_says_so(production: Production):
    look = production.job([DRIFT])
    assert look.execute_in_process(instance=production.instance, partition_key="private").success
    assert production.check("score_holds", "private")[:2] == (True, "nothing is published: publishing.uri is empty")
    with pytest.raises(PublishingError, match=r"nothing is published: publishing.uri is empty"):
        coverage(production.workspace, "private")


def test_new_texts_are_not_covered_by_the_training(production: Production):
    data = production.workspace.data
    table = production_database(data).open_table("chunks")
    table.add([ROWS[0] | {"id": f"new-{number}", "text": f"Bug RTR-{number} is new."} for number in range(3)])
    table.add([ROWS[0] | {"id": "the same text under another id"}])
    (data / "collections" / "bakery" / "documents" / "bagel.md").write_text("# Bagels\n\nBoil bagels for a minute.\n")
    before = {name: coverage(production.workspace, name) for name in ("support", "bakery")}
    assert (before["support"].chunks, before["support"].new) == (len(ROWS) + 4, 3)
    assert (before["bakery"].chunks, before["bakery"].new) == (len(BAKERY) + 1, 1)
    production.day(3)
    passed, message, severity = production.check("chunks_covered", "support")
    assert (passed, severity) == (False, AssetCheckSeverity.WARN)
    assert "of 12 chunks are not covered by the training of the model in production: 3 are new" in message


def test_rows_that_are_lost_from_the_index_cost_score(production: Production):
    open_published(production.workspace, "support").index.open().delete("document_id IN ('reboot.md', 'led.md')")
    production.day(4)
    passed, message, severity = production.check("score_holds", "support")
    assert (passed, severity) == (False, AssetCheckSeverity.WARN)
    assert f"{HEADLINE} on {len(QUERIES)} human queries" in message
    assert production.check("score_holds", "bakery")[0]


def test_table_that_is_gone_is_told_of_and_hides_nothing_else(production: Production):
    production_database(production.workspace.data).drop_table("chunks")
    index = open_published(production.workspace, "bakery").index
    index.drop(index.pointer().current)
    assert production.day(5) == ["bakery", "support"]
    passed, message, severity = production.check("chunks_covered", "support")
    assert (passed, severity) == (False, AssetCheckSeverity.ERROR)
    assert "table 'chunks': cannot be opened" in message
    assert "when it was published" in production.check("score_holds", "support")[1]
    for name in ("chunks_covered", "score_holds"):
        passed, message, severity = production.check(name, "bakery")
        assert (passed, severity) == (False, AssetCheckSeverity.ERROR)
        assert "is gone: materialize published_index" in message


def test_model_that_is_not_in_the_store_is_named(production: Production, tmp_path: Path):
    elsewhere = Workspace(production.workspace.data, tmp_path)
    with pytest.raises(LookupError, match=r"the checkpoint in production, [0-9a-f]{32}, is not in .*publish_anyway"):
        drift.measure_live_scores(open_published(elsewhere, "support"))


@pytest.mark.parametrize(
    ("coverage", "covered"), [(Coverage(100, 20, 0), True), (Coverage(100, 11, 10), False), (Coverage(0, 0, 0), True)]
)
def test_new_chunks_and_chunks_without_a_query_count_together(coverage: Coverage, covered: bool):
    assert drift.judge_coverage(coverage, DriftSettings(max_uncovered=0.2)).passed == covered


def test_one_label_source_that_fell_is_enough():
    scores = [LiveScore("human", 10, 0.8, 0.85), LiveScore("synthetic", 10, 0.5, 0.4)]
    finding = drift.judge_live_scores(scores, DriftSettings(max_drop=0.05))
    assert not finding.passed
    assert "0.400 ndcg@10 on 10 synthetic queries, 0.500 when it was published" in finding.message
    assert drift.judge_live_scores(scores[:1], DriftSettings(max_drop=0.0)).passed
    assert drift.judge_live_scores([], DriftSettings()).message == "there is no test query"


def test_first_ten_are_scored_by_hand():
    relevant = {"first": {"a": 1}, "second": {"b": 1}, "unanswerable": {}, "nothing found": {"a": 1}}
    found = {"first": ["a", "b"], "second": ["a", "b"], "unanswerable": ["a"], "nothing found": []}
    # 1 at rank 1, 1 / log2(3) = 0.6309 at rank 2.
    assert score_first_ten(relevant, found) == pytest.approx([1, 0.6309, 0, 0], abs=1e-4)


def test_the_document_that_a_query_itself_is_does_not_count_unless_it_is_labelled(tmp_path: Path):
    import lancedb
    import numpy as np

    vectors = np.eye(24, dtype=np.float32) + 0.1 * np.arange(24, dtype=np.float32)[::-1, None]
    # Twelve chunks of the document a, which is the query itself, then one each of twelve others.
    documents = ["a"] * 12 + [f"d{number}" for number in range(12)]
    rows = [{"id": f"{i}", "document_id": name, "vector": vectors[i]} for i, name in enumerate(documents)]
    table = lancedb.connect(tmp_path).create_table("index", rows)
    asked = vectors[[0, 0, 0]]
    found = drift.first_tens(table, asked, {"a": {"d3": 1}, "q": {"d3": 1}, "d0": {"d0": 1}}, "document_id", 10)
    assert "a" not in found["a"] and len(found["a"]) == 10 == len(set(found["a"]))
    assert found["q"][0] == "a" and found["q"][1:] == found["a"][:9] and "d0" in found["d0"]
    assert drift.first_tens(table, asked[:1], {"0": {"3": 1}}, "id", 10)["0"][0] == "0"


def test_each_query_is_searched_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import lancedb
    import numpy as np

    vectors = np.eye(20, dtype=np.float32)
    rows = [{"id": f"{i}", "document_id": f"d{i}", "vector": vector} for i, vector in enumerate(vectors)]
    table = lancedb.connect(tmp_path).create_table("index", rows)
    searched, search = [], drift.search_vectors
    monkeypatch.setattr(drift, "search_vectors", lambda *asked: searched.append(int(asked[1].argmax())) or search(*asked))
    drift.first_tens(table, vectors[:5], {f"{i}": {f"d{i}": 1} for i in range(5)}, "document_id", 10)
    assert searched == [0, 1, 2, 3, 4]
