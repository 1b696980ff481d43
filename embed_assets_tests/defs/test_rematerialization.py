"""A change computes exactly what lies downstream of it, for the collections that it touches."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import AssetCheckKey, AssetKey

import embed_assets.queries
from embed_assets.artifacts.workspace import Workspace
from embed_assets.cli.runs import materialize_collection, open_instance
from embed_assets.graph import DEFAULT_STAGES, STAGES
from embed_assets.plan import Outcome, plan
from embed_assets_tests.small_collections import SETTINGS, override, write_small_collections

pytestmark = pytest.mark.slow

COLLECTIONS = ("bakery", "routers")
BELOW_CHECKPOINT = {"beir_scores", "onnx_model", "published_index"}
BELOW_PAIRS = {"triplets", "checkpoint"} | BELOW_CHECKPOINT
BELOW_CHUNKS = {"qa_pairs"} | BELOW_PAIRS
OPTIONAL = STAGES.keys() - DEFAULT_STAGES.keys()


class Graph:
    """The real asset graph over two small collections."""

    def __init__(self, folder: Path):
        self.data = folder / "data"
        self.workspace = Workspace(self.data, folder / "home")
        self.instance = open_instance(folder / "home")
        write_small_collections(self.data)

    def materialize_everything(self, *until: str) -> set[tuple[str, str]]:
        """Materialize all, or all up to some assets; returns the (asset, collection) pairs that computed something.

        The plan said so before: what it calls computed is, what it calls reused is not, whatever came of what waited.
        """
        planned = [row for collection in COLLECTIONS for row in plan(self.workspace, collection, until)]
        before = self._artifacts()
        for collection in COLLECTIONS:
            assert materialize_collection(self.instance, collection, *until)
        computed = {(path.parts[-4], path.parts[-3]) for path in self._artifacts() - before if path.parts[-4] in STAGES}
        of = {outcome: {(row.stage, row.collection) for row in planned if row.outcome is outcome} for outcome in Outcome}
        assert of[Outcome.COMPUTED] <= computed <= of[Outcome.COMPUTED] | of[Outcome.WAITS]
        return computed

    def _artifacts(self) -> set[Path]:
        return set(self.workspace.store.root.glob("*/*/*/manifest.json"))


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Graph]:
    folder = tmp_path_factory.mktemp("rematerialization")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("EMBED_ASSETS_DATA", str(folder / "data"))
        environment.setenv("EMBED_ASSETS_HOME", str(folder / "home"))
        graph = Graph(folder)
        assert graph.materialize_everything() == {(asset, collection) for asset in DEFAULT_STAGES for collection in COLLECTIONS}
        asked_for = graph.materialize_everything(*OPTIONAL)
        assert asked_for == {(asset, collection) for asset in OPTIONAL for collection in COLLECTIONS}
        yield graph
        graph.instance.dispose()


@pytest.fixture(autouse=True)
def settings_as_before(graph: Graph) -> Iterator[None]:
    yield
    (graph.data / "collections" / "bakery" / "settings.yaml").unlink(missing_ok=True)
    (graph.data / "settings.yaml").write_text(json.dumps(SETTINGS))


def test_materializing_again_computes_nothing(graph: Graph):
    assert graph.materialize_everything() == set()


def test_check_results_are_kept_for_each_collection(graph: Graph):
    check = AssetCheckKey(AssetKey("qa_pairs"), "enough_pairs")
    results = graph.instance.event_log_storage.get_asset_check_partition_info([check])
    assert sorted(result.partition_key for result in results) == sorted(COLLECTIONS)


def test_changing_back_computes_nothing(graph: Graph):
    override(graph.data, "bakery", {"negatives": {"margin": 0.9}})
    assert ("triplets", "bakery") in graph.materialize_everything()
    (graph.data / "collections" / "bakery" / "settings.yaml").unlink()
    assert graph.materialize_everything() == set()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        # Another limit that lets the same documents pass: the wave stops at once.
        ({"documents": {"min_characters": 10}}, {"corpus_chunks"}),
        # Another number, but there are fewer look-ups anyway: the same pairs. Of the block, what comes after them reads only what
        # an identifier looks like.
        ({"questions": {"max_lookups": 3999}}, {"qa_pairs"}),
        ({"scoring": {"resamples": 101}}, BELOW_CHECKPOINT),
    ],
    ids=lambda value: ".".join([*value, *next(iter(value.values()))]) if isinstance(value, dict) else None,
)
def test_override_of_one_collection_computes_what_is_downstream_of_it(graph: Graph, change: dict, expected: set[str]):
    override(graph.data, "bakery", change)
    assert graph.materialize_everything() == {(asset, "bakery") for asset in expected}


def test_optional_assets_are_computed_again_if_they_are_asked_for(graph: Graph):
    override(graph.data, "bakery", {"reranking": {"top_k": 3}})
    assert not OPTIONAL & {asset for asset, _ in graph.materialize_everything()}
    assert graph.materialize_everything(*OPTIONAL) == {("reranker_scores", "bakery")}


@pytest.fixture
def newer_triplets() -> Iterator[None]:
    """The code of triplets has another version, wherever the stage is known."""
    stage, version = STAGES["triplets"], STAGES["triplets"].code_version
    object.__setattr__(stage, "code_version", "another")  # monkeypatch does not change what is frozen
    yield
    object.__setattr__(stage, "code_version", version)


def test_code_version_computes_the_stage_and_stops_where_the_result_is_the_same(graph: Graph, newer_triplets):
    assert graph.materialize_everything() == {("triplets", collection) for collection in COLLECTIONS}


def test_documents_are_added_edited_and_removed(graph: Graph):
    documents = graph.data / "collections" / "bakery" / "documents"
    rye = (documents / "rye.md").read_text()
    everything = {(asset, "bakery") for asset in {"corpus_chunks"} | BELOW_CHUNKS}

    (documents / "bagel.md").write_text("# Bagels\n\nBoil bagels for a minute on each side before they go into oven B-2.\n")
    assert graph.materialize_everything() == everything
    (documents / "bagel.md").unlink()
    assert graph.materialize_everything() == set()
    (documents / "rye.md").write_text(rye.replace("sixteen", "eighteen"))
    assert graph.materialize_everything() == everything
    (documents / "rye.md").unlink()
    assert graph.materialize_everything() == everything
    (documents / "rye.md").write_text(rye)


def test_cosmetic_prompt_edit_stops_at_qa_pairs(graph: Graph):
    override(graph.data, "bakery", {"questions": {"max_questions": 4, "styles": {"question": 1}}})
    assert ("qa_pairs", "bakery") in graph.materialize_everything()
    prompts = graph.data / "collections" / "bakery" / "prompts"
    prompts.mkdir()
    prompt = (Path(embed_assets.queries.__file__).parent / "prompts" / "question.jinja").read_text()
    (prompts / "question.jinja").write_text(f"{{#- version 2, with a comment -#}}\n{prompt}")
    assert graph.materialize_everything() == {("qa_pairs", "bakery")}
    (prompts / "question.jinja").unlink()
    prompts.rmdir()


def test_new_human_label_changes_the_evaluation_set_but_not_its_synthetic_queries(graph: Graph):
    folder = graph.data / "collections" / "routers"
    queries, qrels = (folder / "queries.jsonl").read_text(), (folder / "qrels" / "test.tsv").read_text()
    (folder / "queries.jsonl").write_text(queries + '{"_id": "new", "text": "how many trap receivers"}\n')
    (folder / "qrels" / "test.tsv").write_text(qrels + "new\tsnmp.md\t1\n")
    computed = {asset for asset, _ in graph.materialize_everything()}
    assert {"evaluation_set", "beir_scores"} <= computed
    assert not computed & {"corpus_chunks", "qa_pairs"}
    assert len(list((graph.workspace.store.root / "held_out_queries" / "routers").glob("*/manifest.json"))) == 1
    (folder / "queries.jsonl").write_text(queries)
    (folder / "qrels" / "test.tsv").write_text(qrels)
