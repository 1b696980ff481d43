"""From a table of production to a better index and back, with real models, a real LanceDB and a real Dagster instance."""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from dagster import AssetCheckKey, AssetKey, DagsterInstance, SensorResult, build_sensor_context, execute_job
from dagster._core.definitions.reconstruct import ReconstructableRepository

from embed_assets.artifacts.workspace import Workspace
from embed_assets.cli.main import main
from embed_assets.cli.runs import materialize_collection, open_instance
from embed_assets.definitions import defs
from embed_assets.defs.executor import IN_PROCESS
from embed_assets.defs.partitions import collections
from embed_assets.defs.production.production_sensor import REASON_TAG, retrain_on_production_change
from embed_assets.defs.resources import WorkspaceResource
from embed_assets.evaluation.scoring import read_summaries
from embed_assets.evaluation.settings import LateInteractionSettings
from embed_assets.lineage import open_published, resolve
from embed_assets.models.hardware import Compute
from embed_assets.models.rerankers import Reranker
from embed_assets.models.token_encoder import TokenEncoder
from embed_assets.production.gate import Verdict
from embed_assets.production.published import model_of_table
from embed_assets.production.published_index import PublishingError, metadata_of
from embed_assets.production.publishing import Judged, publish
from embed_assets.production.search import search_index
from embed_assets.production.stages import IN_PRODUCTION, PUBLISHED_INDEX
from embed_assets.retrieval.fusion import convex_fusion, fuse_hits
from embed_assets.retrieval.late_interaction import maxsim
from embed_assets.settings import read_settings
from embed_assets.settings_files import read_yaml
from embed_assets_tests.production_tables import (
    IndexReader,
    production_database,
    rows_of,
    write_production_table,
    write_table_collection,
)
from embed_assets_tests.small_collections import QUERIES, ROUTERS, SETTINGS, write_labels
from embed_assets_tests.vllm_servers import VllmServer

pytestmark = pytest.mark.slow

COLLECTION = "support"


def rows_with_metadata(documents: dict[str, str]) -> list[dict]:
    return [row | {"release": len(row["text"])} for row in rows_of(documents)]


NEW_ROWS = rows_with_metadata(
    {
        "cable.md": "# Cables\n\nUse the twinaxial cable CAB-7 for distances below three metres.\n\nCAB-9 is for longer ones.",
        "clock.md": "# Clock\n\nThe clock of the router drifts by two seconds a day without the NTP client.",
    }
)


ROWS = rows_with_metadata(ROUTERS)


class Loop:
    """The sensor with its cursor, and runs of the graph."""

    def __init__(self, folder: Path, instance: DagsterInstance):
        self.instance = instance
        self.workspace = Workspace(folder / "data", folder / "home")
        self.cursor = None

    def tick(self) -> SensorResult:
        context = build_sensor_context(self.instance, self.cursor, resources={"workspace": WorkspaceResource()}, definitions=defs)
        result = retrain_on_production_change(context)
        self.cursor = result.cursor
        return result

    def publish(self, anyway: bool) -> bool:
        config = {"ops": {"published_index": {"config": {"publish_anyway": anyway}}}}
        job = defs.resolve_implicit_global_asset_job_def()
        selection = [AssetKey("published_index")]
        return job.execute_in_process(config, self.instance, COLLECTION, asset_selection=selection).success

    def decision(self) -> tuple[bool, str]:
        """What the gate said last."""
        return self.check(AssetCheckKey(AssetKey("published_index"), "promoted"))

    def check(self, key: AssetCheckKey) -> tuple[bool, str]:
        """The last outcome of a check."""
        event = self.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)[0].event
        evaluation = event.dagster_event.asset_check_evaluation_data
        return evaluation.passed, evaluation.description


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    """A collection that is built from a table of routers' paragraphs, and one whose table is missing."""
    folder = tmp_path_factory.mktemp("loop")
    data = folder / "data"
    write_table_collection(
        data,
        COLLECTION,
        retraining={"changed_rows": 2, "quiet_minutes": 0.0},
        production={"metadata_columns": ["title", "release"]},
        # No model is better than the one in production by so much: only an operator replaces it.
        publishing={"uri": "published", "significance": 1e-9},
    )
    write_table_collection(data, "broken", production={"table": "no_such_table"})
    write_labels(data / "collections" / COLLECTION, QUERIES)
    (data / "settings.yaml").write_text(json.dumps(SETTINGS))
    write_production_table(data, ROWS)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("EMBED_ASSETS_DATA", str(data))
        environment.setenv("EMBED_ASSETS_HOME", str(folder / "home"))
        with open_instance(folder / "home") as instance:
            assert materialize_collection(instance, COLLECTION)
            instance.add_dynamic_partitions(collections.name, ["broken"])
            yield Loop(folder, instance)


def test_new_rows_come_into_production_by_one_run_although_the_new_model_does_not(loop: Loop):
    built = loop.workspace.store.current("corpus_chunks", COLLECTION)
    assert built.summary["chunks"] == len(ROWS)
    assert "than the base model in hybrid retrieval: " in loop.decision()[1]
    # What is not better is not published, but people can search.
    assert loop.decision()[1].startswith("in production: base model: ")
    assert open_published(loop.workspace, COLLECTION).describe()["model_in_production"].startswith("base model package:")

    # Nothing happened to the table: nothing is asked for, and the broken table is told of.
    first = loop.tick()
    assert not first.run_requests
    assert f"{COLLECTION}: nothing changed" in first.skip_reason.skip_message
    assert "broken: " in first.skip_reason.skip_message and "no_such_table" in first.skip_reason.skip_message
    (observation,) = first.asset_events
    assert (observation.partition, observation.asset_key) == (COLLECTION, AssetKey("production_table"))

    # An operator publishes the first one, whatever the gate says.
    assert loop.publish(anyway=True)
    assert loop.decision()[0]
    before = open_published(loop.workspace, COLLECTION).index.pointer()

    production_database(loop.workspace.data).open_table("chunks").add(NEW_ROWS)
    (request,) = loop.tick().run_requests
    assert request.tags[REASON_TAG] == f"production table: {len(NEW_ROWS)} added, 0 changed, 0 removed of 11 rows"
    assert request.partition_key == COLLECTION
    assert not loop.tick().run_requests

    reader = IndexReader(loop.workspace, COLLECTION)
    reader.start()
    try:
        assert materialize_collection(loop.instance, COLLECTION)
        assert loop.workspace.store.current("corpus_chunks", COLLECTION).summary["chunks"] == 11
        passed, reason = loop.decision()
        assert not passed
        assert reason.startswith("the new model is not in production: not significantly better than the model in production")
        assert reason.endswith("; the newer chunks are, with the model that was there")
    finally:
        reader.stopped.set()
        reader.join()
    assert reader.faults == []
    assert len(set(reader.answers)) == 2
    index = open_published(loop.workspace, COLLECTION).index
    after = index.pointer()
    assert (after.previous, after.generation) == (before.current, before.generation + 1)
    assert after.reason == "the model in production, for newer chunks or other columns"
    live, old = index.metadata(after.current), index.metadata(before.current)
    assert live["checkpoint"] == old["checkpoint"] != loop.workspace.store.current("checkpoint", COLLECTION).fingerprint
    assert (live["rows"], old["rows"]) == (11, 8)
    assert "nothing changed" in loop.tick().skip_reason.skip_message


def cli(loop: Loop, *arguments: str) -> str:
    folders = ["--data", str(loop.workspace.data), "--home", str(loop.workspace.home)]
    done = CliRunner().invoke(main, [*arguments, *folders])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("mode", ["dense", "full-text", "hybrid", "late"])
def test_search_finds_the_new_row(loop: Loop, mode: str):
    hits = [json.loads(line) for line in cli(loop, "search", COLLECTION, "CAB-7 cable", "--mode", mode, "--json").splitlines()]
    assert hits[0]["document_id"] == "cable.md"
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)


def test_search_re_ranks_what_hybrid_search_found(loop: Loop):
    arguments = ["search", COLLECTION, "CAB-7 cable", "--json", "--mode"]
    with pytest.raises(AssertionError, match="no re-ranker was trained: embed-assets run support --until onnx_reranker"):
        cli(loop, *arguments, "reranked")
    settings = loop.workspace.data / "collections" / COLLECTION / "settings.yaml"
    text = settings.read_text()
    settings.write_text(json.dumps(read_yaml(settings) | {"reranking": {"weight": None}}))
    found = {}
    for asset in ("reranker", "onnx_reranker"):
        assert materialize_collection(loop.instance, COLLECTION, asset)
        found[asset] = [json.loads(line) for line in cli(loop, *arguments, "reranked", "--limit", "30").splitlines()]
    settings.write_text(text)
    hybrid = [json.loads(line) for line in cli(loop, *arguments, "hybrid", "--limit", "30").splitlines()]
    trained = loop.workspace.store.current("reranker", COLLECTION).folder / "model"
    chunks = pl.read_parquet(loop.workspace.store.current("corpus_chunks", COLLECTION).folder / "chunks.parquet")
    passages = dict(chunks.select("chunk_id", "passage").iter_rows())
    scores = Reranker(str(trained), loop.workspace.memos).score(
        [("CAB-7 cable", passages[hit["chunk_id"]]) for hit in found["reranker"]]
    )
    top_k = SETTINGS["reranking"]["top_k"]
    ids = [hit["chunk_id"] for hit in hybrid]
    assert len(ids) > top_k
    for hits in found.values():
        assert {hit["chunk_id"] for hit in hits[:top_k]} == set(ids[:top_k])
        assert [hit["chunk_id"] for hit in hits[top_k:]] == ids[top_k:]
        assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)
    assert [hit["score"] for hit in found["reranker"][:top_k]] == pytest.approx(scores[:top_k].tolist())
    exact = {hit["chunk_id"]: hit["score"] for hit in found["onnx_reranker"]}
    assert [exact[hit["chunk_id"]] for hit in found["reranker"][:top_k]] == pytest.approx(scores[:top_k].tolist(), abs=0.05)


def test_late_interaction_re_orders_what_hybrid_search_found(loop: Loop):
    published, query = open_published(loop.workspace, COLLECTION), "CAB-7 cable"
    settings = read_settings(loop.workspace, COLLECTION)
    first = LateInteractionSettings(top_k=4, weight=0.3)
    hybrid, late = (search_index(published, query, first, settings.reranking, mode, limit=30) for mode in ("hybrid", "late"))
    assert len(hybrid) == len(late) == 11
    checkpoint = published.checkpoint(metadata_of(published.index.open()))
    tokens = TokenEncoder(settings.base_model, str(checkpoint.folder / "model"))
    chunks = pl.read_parquet(loop.workspace.store.current("corpus_chunks", COLLECTION).folder / "chunks.parquet")
    passages = dict(chunks.select("chunk_id", "passage").iter_rows())
    own = maxsim(tokens.encode_queries([query]), tokens.encode_passages([passages[hit.chunk_id] for hit in hybrid[:4]]))
    fused = convex_fusion(own.numpy(), np.array([[hit.score for hit in hybrid[:4]]], dtype=np.float32), 0.3, 4)[0]
    best = sorted(zip(fused.tolist(), [hit.chunk_id for hit in hybrid[:4]], strict=True), key=lambda hit: -hit[0])
    assert [hit.chunk_id for hit in late] == [*(name for _, name in best), *(hit.chunk_id for hit in hybrid[4:])]
    assert [hit.score for hit in late[:4]] == pytest.approx([score for score, _ in best], abs=0.02)


def test_tokens_that_are_published_give_what_computed_ones_do(loop: Loop):
    published, query = open_published(loop.workspace, COLLECTION), "CAB-7 cable"
    settings = read_settings(loop.workspace, COLLECTION)
    blocks = (settings.late_interaction, settings.reranking)
    with pytest.raises(PublishingError, match="the index has no tokens: set publishing"):
        search_index(published, query, *blocks, "tokens")
    tokens = published.settings.model_copy(update={"table": "with_tokens", "tokens": True, "token_pooling": 1.0})
    other, metadata = replace(published, settings=tokens), metadata_of(published.index.open())
    model, name = model_of_table(metadata), other.index.table_name(metadata["fingerprint"])
    chunks = loop.workspace.store.current("corpus_chunks", COLLECTION).folder / "chunks.parquet"
    other.index.write(name, chunks, other.encoder(model), metadata, tokens=other.tokens(model))
    other.index.swap(other.index.pointer(), name, "a test")
    computed, stored = (search_index(index, query, *blocks, "late", limit=30) for index in (published, other))
    assert [hit.chunk_id for hit in stored] == [hit.chunk_id for hit in computed]
    assert [hit.score for hit in stored] == pytest.approx([hit.score for hit in computed], abs=0.03)
    alone = search_index(other, query, settings.late_interaction.model_copy(update={"weight": None}), blocks[1], "late", limit=3)
    found = search_index(other, query, *blocks, "tokens", limit=3)
    assert [hit.chunk_id for hit in found] == [hit.chunk_id for hit in alone]
    assert [hit.score for hit in found] == pytest.approx([hit.score for hit in alone], abs=0.01)


def test_hybrid_search_fuses_with_the_weight_that_was_scored(loop: Loop):
    published = open_published(loop.workspace, COLLECTION)
    metadata = metadata_of(published.index.open())
    settings = read_settings(loop.workspace, COLLECTION)
    blocks = (settings.late_interaction, settings.reranking)
    dense, words, hybrid = (
        {hit.chunk_id: hit.score for hit in search_index(published, "CAB-7 cable", *blocks, mode, limit=100)}
        for mode in ("dense", "full-text", "hybrid")
    )
    assert 0 <= metadata["hybrid_weight"] <= 1
    assert hybrid == pytest.approx(fuse_hits(dense, words, metadata["hybrid_weight"], deviation=metadata["cosine_deviation"]))


def test_readers_filter_on_metadata_columns(loop: Loop):
    table = open_published(loop.workspace, COLLECTION).index.open()
    hits = table.search("cable", query_type="fts").where("title = 'Cables'").limit(10).to_list()
    assert {hit["id"]: hit["release"] for hit in hits} == {row["id"]: len(row["text"]) for row in NEW_ROWS[:2]}


def test_rolled_back_index_stays_rolled_back_until_an_operator_says_otherwise(loop: Loop):
    index = open_published(loop.workspace, COLLECTION).index
    before = index.pointer()
    cli(loop, "rollback", COLLECTION)
    assert index.pointer().current == before.previous
    assert "cable.md" not in cli(loop, "search", COLLECTION, "CAB-7 cable", "--json")

    assert loop.publish(anyway=False)
    assert index.pointer().current == before.previous
    passed, reason = loop.decision()
    assert not passed and reason.startswith("what is in production stays: not significantly better")
    assert loop.publish(anyway=True)
    after = index.pointer()
    assert (after.previous, after.generation) == (before.previous, before.generation + 2)
    assert index.metadata(after.current)["checkpoint"] == loop.workspace.store.current("checkpoint", COLLECTION).fingerprint


def test_model_that_was_rolled_back_stays_so_although_the_gate_likes_it(loop: Loop):
    index = open_published(loop.workspace, COLLECTION).index
    before = index.rollback()
    published, inputs = open_published(loop.workspace, COLLECTION), resolve(loop.workspace, PUBLISHED_INDEX, COLLECTION)
    compared_with = inputs.sources[IN_PRODUCTION].digest
    assert publish(published, inputs, Judged(Verdict(True, "better"), ()), compared_with, Compute()) == (
        False,
        "what is in production stays: this one was rolled back; 'publish_anyway' brings it back",
    )
    assert index.pointer() == before
    index.rollback()


def test_of_two_publishers_at_once_one_does_the_work(loop: Loop):
    index = open_published(loop.workspace, COLLECTION).index
    before = index.rollback()
    published, inputs = open_published(loop.workspace, COLLECTION), resolve(loop.workspace, PUBLISHED_INDEX, COLLECTION)
    judged = Judged(Verdict(True, "better"), read_summaries(inputs.folder("beir_scores")))
    arguments = (published, inputs, judged, inputs.sources[IN_PRODUCTION].digest, Compute(), True)
    with ThreadPoolExecutor(2) as pool:
        results = [done.result() for done in [pool.submit(publish, *arguments) for _ in range(2)]]
    assert results == [(True, "in production: better")] * 2
    assert index.pointer().generation == before.generation + 1


def test_embedding_function_runs_without_torch(loop: Loop, tmp_path: Path):
    script = """
import sys, lancedb
from lancedb.embeddings import get_registry
from lancedb.pydantic import LanceModel, Vector
import embed_assets.production.lancedb_embedding
function = get_registry().get("embed-assets").create(folder=sys.argv[1])
class Note(LanceModel):
    text: str = function.SourceField()
    vector: Vector(function.ndims()) = function.VectorField()
database = lancedb.connect(sys.argv[2])
database.create_table("notes", schema=Note)
# The function is read back from the table.
table = database.open_table("notes")
table.add([{"text": text} for text in ("The fan is broken.", "The van brings the bread.", "The clock drifts.")])
print(table.search("wrong time of day").limit(1).to_list()[0]["text"], "torch" in sys.modules)
"""
    published = open_published(loop.workspace, COLLECTION)
    made_of = metadata_of(published.index.open())
    exported = published.exported_model(made_of)
    assert exported.manifest["inputs"]["checkpoint"] == made_of["model"]
    folder = exported.folder
    assert published.describe()["onnx_model"] == str(folder)
    done = subprocess.run([sys.executable, "-c", script, folder, tmp_path], capture_output=True, text=True)
    assert done.stdout.strip() == "The clock drifts. False", done.stderr


def test_rollback_job_of_the_ui(loop: Loop):
    index = open_published(loop.workspace, COLLECTION).index
    before = index.pointer()
    job = ReconstructableRepository.for_module("embed_assets.definitions", "defs").get_reconstructable_job("roll_back")
    assert execute_job(job, loop.instance, IN_PROCESS, {"dagster/partition": COLLECTION}).success
    (observed,) = loop.instance.fetch_observations(AssetKey("published_index"), limit=1).records
    assert observed.asset_observation.metadata["decision"].value == index.pointer().reason
    assert (index.pointer().current, index.pointer().previous) == (before.previous, before.current)


def test_materializing_everything_again_computes_and_publishes_nothing(loop: Loop):
    index = open_published(loop.workspace, COLLECTION).index
    before, manifests = index.pointer(), set(loop.workspace.store.root.glob("*/*/*/manifest.json"))
    assert materialize_collection(loop.instance, COLLECTION)
    assert set(loop.workspace.store.root.glob("*/*/*/manifest.json")) == manifests
    assert index.pointer() == before


def test_endpoint_is_compared_with_the_model_in_production(loop: Loop, tmp_path: Path):
    index = open_published(loop.workspace, COLLECTION).index
    key = AssetCheckKey(AssetKey("published_index"), "endpoint_agrees")
    assert loop.check(key) == (True, "no endpoint is set: publishing.endpoint_url is empty")
    # What the one in production is, the server gets, and what is not, the index then goes back to.
    in_use = index.metadata(index.pointer().current)["checkpoint"]
    model = loop.workspace.store.find("checkpoint", COLLECTION, in_use).folder / "model"
    server = VllmServer(str(model), tmp_path, "--runner pooling --served-model-name tuned")
    try:
        settings = loop.workspace.data / "collections" / COLLECTION / "settings.yaml"
        changed = read_yaml(settings)
        operators = loop.workspace.data / "settings.yaml"
        operators.write_text(json.dumps(read_yaml(operators) | {"allowed": {"hosts": [urlsplit(server.url()).netloc]}}))
        changed["publishing"] |= {"endpoint_url": server.url(), "endpoint_model": "tuned"}
        settings.write_text(json.dumps(changed))
        assert loop.publish(anyway=False)
        passed, words = loop.check(key)
        assert passed and words.startswith(("least cosine 0.999", "least cosine 1.000"))
        index.rollback()
        assert loop.publish(anyway=False)
        passed, words = loop.check(key)
        assert not passed and words.endswith("the endpoint serves another model: start it anew with the one in production")
    finally:
        server.stop()
    assert loop.publish(anyway=False)
    passed, words = loop.check(key)
    assert not passed and "no connection" in words
