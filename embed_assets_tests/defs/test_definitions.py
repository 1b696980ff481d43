"""The code location: its graph, how fast and how lightly it loads, and that Dagster accepts it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dagster import validate_run_config
from ruamel.yaml import YAML

from embed_assets.definitions import defs
from embed_assets.defs.partitions import collections, collections_and_trials
from embed_assets.graph import ALL_STAGES, STAGES
from embed_assets.sweep.stages import LEADERBOARD, SATURATION_CURVE, TRIAL

ROOT = Path(__file__).parents[2]
# dg asks the Python of VIRTUAL_ENV, else one that it finds on the PATH.
DG = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "DAGSTER_DISABLE_TELEMETRY": "yes"}
DG.pop("VIRTUAL_ENV", None)
GRAPH = """
corpus_chunks <- production_table; corpus; polars, python; distinct_chunks, documents_read, language_supported
qa_pairs <- corpus_chunks; queries; polars, vllm; enough_pairs, identifiers_covered
evaluation_set <- corpus_chunks, qa_pairs; evaluation; polars; can_tell, enough_queries
triplets <- corpus_chunks, evaluation_set, qa_pairs; training; polars; hard_negatives_found, no_leaked_documents, no_leaked_test_queries, passages_fit
checkpoint <- triplets; training; huggingface, pytorch; loss_fell
beir_scores <- checkpoint, corpus_chunks, evaluation_set; evaluation; ranx; labels_hold, sources_agree, tuned_beats_base
onnx_model <- checkpoint, corpus_chunks, evaluation_set; training; onnx; agrees_with_torch, int8_holds
published_index <- beir_scores, checkpoint, corpus_chunks, evaluation_set; production; lancedb; endpoint_agrees, promoted
reranker <- triplets; training; huggingface, pytorch; loss_fell
reranker_scores <- checkpoint, corpus_chunks, evaluation_set, reranker; evaluation; ranx; reranking_does_no_harm
onnx_reranker <- reranker, triplets; training; onnx; agrees_with_torch
forgetting <- checkpoint; evaluation; ranx; nothing_forgotten
trial <- corpus_chunks, evaluation_set, triplets; sweep; pytorch; loss_fell
leaderboard <- trial; sweep; polars; settings_hold
saturation_curve <- trial; sweep; numpy; none
"""  # noqa: E501
HEAVY = ("torch", "transformers", "sentence_transformers", "vllm", "lancedb", "onnxruntime", "ranx", "matplotlib", "sklearn")


def test_graph_is_as_designed():
    graph = defs.resolve_asset_graph()
    lines = []
    for stage in (*ALL_STAGES, TRIAL, LEADERBOARD, SATURATION_CURVE):
        node = next(node for node in graph.asset_nodes if node.key.to_user_string() == stage.name)
        parents = sorted(key.to_user_string() for key in node.parent_keys)
        kinds = sorted(node.kinds)
        checks = sorted(key.name for key in node.check_keys) or ["none"]
        lines.append(f"{stage.name} <- {', '.join(parents)}; {node.group_name}; {', '.join(kinds)}; {', '.join(checks)}")
        assert node.partitions_def == (collections_and_trials if stage == TRIAL else collections)
        assert node.code_version == stage.code_version
        assert node.description
    assert "\n".join(lines) == GRAPH.strip("\n")


def test_heavy_assets_share_the_gpu_pool():
    pools = {assets.key.to_user_string(): assets.op.pool for assets in defs.assets}
    heavy = set(STAGES) - {"corpus_chunks", "evaluation_set"} | {"trial"}
    assert {name for name, pool in pools.items() if pool == "gpu"} == heavy


def test_the_run_configuration_of_the_docs_is_accepted():
    (text,) = re.findall(r"```yaml\n(resources:.*?)```", (ROOT / "docs" / "ui.md").read_text(), re.DOTALL)
    config = YAML(typ="safe").load(text)
    assert config["ops"]["published_index"]["config"] == {"publish_anyway": True}
    validate_run_config(defs.resolve_job_def("run_collection"), config)


def test_loading_the_code_location_imports_nothing_heavy():
    script = f"import sys, embed_assets.definitions; print([name for name in {HEAVY!r} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize("arguments", [[], ["-w", "workspace.yaml"]], ids=["pyproject", "workspace"])
def test_dagster_accepts_the_definitions(arguments: list[str]):
    command = [sys.executable, "-m", "dagster", "definitions", "validate", *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "code location embed_assets" in done.stdout + done.stderr


@pytest.mark.slow
def test_dg_finds_the_project():
    done = subprocess.run(["dg", "check", "defs"], cwd=ROOT, env=DG, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    listed = subprocess.run(["dg", "list", "defs", "--json"], cwd=ROOT, env=DG, capture_output=True, text=True, check=True)
    found = json.loads(listed.stdout[listed.stdout.index("{") :])
    assert {item["asset_key"] for item in found["assets"]} == {
        key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()
    }
    assert {item["name"] for item in found["jobs"]} >= {"run_collection", "roll_back", "promote_trial"}


def test_an_installed_package_loads_without_the_project_beside_it(tmp_path: Path):
    shutil.copytree(ROOT / "embed_assets", tmp_path / "site" / "embed_assets", ignore=shutil.ignore_patterns("__pycache__"))
    script = (
        "import embed_assets, embed_assets.definitions as it; "
        "print(embed_assets.__file__, len(it.defs.resolve_asset_graph().asset_nodes))"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    place, assets = done.stdout.split()
    assert Path(place).is_relative_to(tmp_path)
    assert int(assets) == len(defs.resolve_asset_graph().asset_nodes)
