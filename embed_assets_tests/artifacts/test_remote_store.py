"""One store for several machines, each with a folder of its own."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial, partialmethod
from pathlib import Path

import pytest

from embed_assets.artifacts import local_copies, remote_keeping, remote_store
from embed_assets.artifacts.local_copies import CACHE_SIZE
from embed_assets.artifacts.prune import artifacts_to_keep, shelves
from embed_assets.artifacts.remote_folder import RemoteFolder, Stored, shared_at
from embed_assets.artifacts.remote_keeping import remove_remote, sweepable_remote, verify_remote
from embed_assets.artifacts.remote_store import DamagedArtifactError, RemoteStore, read_manifest
from embed_assets.artifacts.store import Artifact, ArtifactStore, MissingArtifactError

TEXT = "The ferry leaves pier 4 at 06:15.\n"
SEED = {"settings": {"seed": 1}}


def write(folder: Path, scratch: Path) -> None:
    (folder / "model").mkdir()
    (folder / "model" / "weights").write_text(TEXT)
    (folder / "report" / "summary.json").write_text('{"ferries": 1}')


def never(folder: Path, scratch: Path) -> None:
    raise AssertionError("it is there, and was computed again")


@pytest.fixture
def machines(remote_address: str, tmp_path: Path) -> tuple[RemoteStore, RemoteStore]:
    remote = RemoteFolder(remote_address)
    return RemoteStore(tmp_path / "one", remote), RemoteStore(tmp_path / "two", remote)


def objects(store: RemoteStore, ending: str) -> list[str]:
    return [it.name for it in store.remote.objects() if it.name.endswith(ending)]


def change_bytes(store: RemoteStore, ending: str) -> None:
    """Other bytes, of the same size."""
    (name,) = objects(store, ending)
    stored = store.remote.read(name)
    assert stored is not None
    assert store.remote.write(name, stored.content[::-1], stored)


def nobody_reads_them() -> None:
    """As if all processes that read artifacts had ended."""
    while local_copies._in_use:
        local_copies._in_use.popitem()[1].close()


def test_what_one_machine_built_the_other_one_finds(machines, tmp_path):
    one, two = machines
    built = one.build("checkpoint", "ferry", SEED, write)
    found = two.build("checkpoint", "ferry", SEED, never)
    assert (built.reused, found.reused) == (False, True)
    assert found.digest == built.digest == ArtifactStore(tmp_path / "local").build("checkpoint", "ferry", SEED, write).digest
    assert two.current("checkpoint", "ferry").fingerprint == built.fingerprint
    assert (found.folder / "model" / "weights").read_text() == TEXT
    assert one.folders() == ["checkpoint"] and one.folders("checkpoint") == ["ferry"]
    assert [it.fingerprint for it in two.artifacts("checkpoint", "ferry")] == [built.fingerprint]
    assert two.find_content("checkpoint", "ferry", built.digest).fingerprint == built.fingerprint


def test_only_what_is_asked_for_is_fetched(machines):
    one, two = machines
    one.build("checkpoint", "ferry", SEED, write)
    found = two.build("checkpoint", "ferry", SEED, never)
    assert not found.path.exists()
    assert found.summary == {"ferries": 1}
    assert not (found.path / "model").exists()
    assert ArtifactStore(two.root).find("checkpoint", "ferry", found.fingerprint) is None
    assert (found.folder / "model" / "weights").is_file()


def test_the_files_lie_at_the_address(machines, tmp_path):
    artifact = machines[0].build("checkpoint", "ferry", SEED, write)
    RemoteFolder(artifact.address).download("model/weights", tmp_path / "weights", len(TEXT))
    assert (tmp_path / "weights").read_text() == TEXT


def test_scratch_is_shared_until_the_result_is_stored(machines):
    """What a killed training has kept is nobody's result, and goes with prune or with the result."""
    one, two = machines

    def killed(folder: Path, scratch: Path) -> None:
        RemoteFolder(shared_at(scratch)).write("trainer/state", b"step 7", None)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        one.build("checkpoint", "ferry", SEED, killed)
    assert list(two.artifacts("checkpoint", "ferry")) == []

    def resume(folder: Path, scratch: Path) -> None:
        (folder / "weights").write_bytes(RemoteFolder(shared_at(scratch)).read("trainer/state").content)

    assert (two.build("checkpoint", "ferry", SEED, resume).folder / "weights").read_text() == "step 7"
    assert objects(one, "state") == []


def test_artifacts_of_trials_are_none_of_the_collection(machines):
    one, two = machines
    trial = one.build("trial", "ferry/seed=1", SEED, write)
    assert list(two.artifacts("trial", "ferry")) == []
    assert two.folders("trial", "ferry") == ["seed=1"]
    assert two.current("trial", "ferry/seed=1").fingerprint == trial.fingerprint


def test_two_that_build_the_same_at_once_have_one_result(machines):
    together = threading.Barrier(2)

    def build(store: RemoteStore, text: str) -> Artifact:
        def write_text(folder: Path, scratch: Path) -> None:
            together.wait()
            (folder / "weights").write_text(text)
            (folder / "report" / "seconds").write_text(text)

        return store.build("checkpoint", "ferry", SEED, write_text)

    with ThreadPoolExecutor() as pool:
        results = list(pool.map(build, machines, ("rounded up", "rounded down")))
    texts = {(artifact.folder / name).read_text() for artifact in results for name in ("weights", "report/seconds")}
    assert len(texts) == 1 and len({artifact.digest for artifact in results}) == 1
    assert [problem for _, problem in verify_remote(machines[0], "ferry")] == [None]


def test_each_writer_of_current_takes_the_place_of_the_one_before(machines):
    built = [
        [store.build("checkpoint", "ferry", {"seed": seed, "by": by}, write, lambda it: False) for seed in range(4)]
        for by, store in enumerate(machines)
    ]
    assert machines[1].pointer("checkpoint", "ferry") is None
    together = threading.Barrier(2)

    def point(store: RemoteStore, mine: list[Artifact]) -> list[str | None]:
        together.wait()
        return [store._point(artifact) for artifact in mine]

    with ThreadPoolExecutor() as pool:
        replaced = [it for them in pool.map(point, machines, built) for it in them]
    # A chain: all but the last were replaced once each, by somebody who had seen them.
    last = machines[0].pointer("checkpoint", "ferry")
    assert last in {them[-1].fingerprint for them in built}
    assert sorted(filter(None, replaced)) == sorted(it.fingerprint for them in built for it in them if it.fingerprint != last)


KILLED = """
import sys
from pathlib import Path
from embed_assets.artifacts.remote_folder import RemoteFolder, Stored
from embed_assets.artifacts.remote_store import RemoteStore

def write(folder, scratch):
    Path(sys.argv[3]).open("a").write("computed\\n")
    for number in range(int(sys.argv[4])):
        (folder / f"part-{number:03}").write_text(str(number))

store = RemoteStore(Path(sys.argv[1]), RemoteFolder(sys.argv[2]))
print(store.build("checkpoint", "ferry", {"seed": 1}, write).reused, flush=True)
"""


def test_an_upload_that_is_killed_is_not_seen_and_the_next_run_ends_it(machines, tmp_path):
    one, two = machines
    arguments = [sys.executable, "-c", KILLED, str(one.root), one.remote.url, str(tmp_path / "log"), "100"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        while len(list(one.remote.objects())) < 5:
            assert process.poll() is None, "it was not killed half-way"
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert 5 <= len(list(one.remote.objects())) < 100 and not objects(one, "manifest.json")
    assert list(two.artifacts("checkpoint", "ferry")) == []
    with pytest.raises(MissingArtifactError, match=one.remote.url):
        two.current("checkpoint", "ferry")
    # The machine that built it goes on with what it has.
    assert subprocess.run(arguments, capture_output=True, text=True, check=True).stdout == "False\n"
    assert (tmp_path / "log").read_text() == "computed\n"
    assert len(list(two.current("checkpoint", "ferry").folder.glob("part-*"))) == 100


def test_other_bytes_are_refused_and_the_machine_that_has_them_heals_it(machines):
    one, two = machines
    one.build("checkpoint", "ferry", SEED, write)
    change_bytes(one, "weights")
    with pytest.raises(DamagedArtifactError, match="weights has not the bytes that were written"):
        _ = two.current("checkpoint", "ferry").folder
    assert two.find("checkpoint", "ferry", one.pointer("checkpoint", "ferry")) is None
    assert not (two.root / "checkpoint" / "ferry" / one.pointer("checkpoint", "ferry") / "model" / "weights").exists()
    one.build("checkpoint", "ferry", SEED, never)
    assert (two.current("checkpoint", "ferry").folder / "model" / "weights").read_text() == TEXT


def test_what_took_the_place_of_a_damaged_artifact_is_not_set_aside(machines, tmp_path):
    one, two = machines
    one.build("checkpoint", "ferry", SEED, write)
    seen = two.current("checkpoint", "ferry")
    change_bytes(one, "weights")
    assert [problem for _, problem in verify_remote(one, "ferry")] == ["model/weights: its bytes are not those that were written"]

    def write_other(folder: Path, scratch: Path) -> None:
        (folder / "weights").write_text("rounded otherwise")

    healed = RemoteStore(tmp_path / "three", one.remote).build("checkpoint", "ferry", SEED, write_other)
    with pytest.raises(DamagedArtifactError, match=r"weights has not the bytes .* run this again"):
        _ = seen.folder
    assert (two.current("checkpoint", "ferry").folder / "weights").read_text() == "rounded otherwise"
    assert not two.set_aside(f"checkpoint/ferry/{healed.fingerprint}", None, "it was not to be read")


def test_bytes_that_are_stored_again_meanwhile_are_taken(machines, monkeypatch):
    one, two = machines
    built = one.build("checkpoint", "ferry", SEED, write)
    seen = two.current("checkpoint", "ferry")
    change_bytes(one, "weights")
    fetch_file = RemoteStore._fetch_file

    def healed_behind(store: RemoteStore, artifact: Artifact, name: str) -> str | None:
        problem = fetch_file(store, artifact, name)
        one.remote.upload(f"{one.files_of(built)}/model/weights", built.path / "model" / "weights")
        return problem

    monkeypatch.setattr(RemoteStore, "_fetch_file", healed_behind)
    assert (seen.folder / "model" / "weights").read_text() == TEXT
    assert two.find("checkpoint", "ferry", built.fingerprint) is not None


def test_a_lost_object_counts_as_a_missing_artifact(machines):
    one, two = machines
    built = one.build("checkpoint", "ferry", SEED, write)
    one.remote.delete(objects(one, "weights"))
    assert two.find("checkpoint", "ferry", built.fingerprint) is None
    assert list(two.artifacts("checkpoint", "ferry")) == []
    again = two.build("checkpoint", "ferry", SEED, write)
    assert not again.reused and two.find("checkpoint", "ferry", built.fingerprint) is not None


@pytest.mark.parametrize("text", ["null", "{}", "\x00"])
def test_a_manifest_that_cannot_be_read_counts_as_none_and_is_replaced(machines, text):
    one, two = machines
    fingerprint = one.build("checkpoint", "ferry", SEED, write).fingerprint
    (name,) = objects(one, "manifest.json")
    one.remote.write(name, text.encode(), one.remote.read(name))
    assert two.find("checkpoint", "ferry", fingerprint) is None
    two.build("checkpoint", "ferry", SEED, write)
    assert two.find("checkpoint", "ferry", fingerprint) is not None


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "model/../../outside"])
def test_a_manifest_that_names_other_places_is_none(name):
    def manifest(file: str) -> Stored:
        made = {"fingerprint": "f" * 32, "digest": "d", "files": {file: 3}, "hashes": {file: "0" * 64}}
        return Stored(json.dumps(made).encode(), {})

    assert read_manifest(manifest("model/weights"), "f" * 32) is not None
    assert read_manifest(manifest(name), "f" * 32) is None


def test_what_was_not_used_for_longest_leaves_the_machine(machines, monkeypatch):
    one, two = machines
    first, second = (one.build("checkpoint", "ferry", {"seed": seed}, write) for seed in (1, 2))
    here = [it.folder for it in (two.find("checkpoint", "ferry", it.fingerprint) for it in (first, second))]
    size = sum(path.stat().st_size for path in here[1].rglob("*") if path.is_file())
    monkeypatch.setenv(CACHE_SIZE, str(size / 1e9))
    monkeypatch.setattr(local_copies, "LOOKED_EVERY", 0.0)
    two._make_room()
    assert all(folder.is_dir() for folder in here), "somebody reads them"
    nobody_reads_them()
    two._make_room()
    assert not here[0].exists() and here[1].is_dir()
    assert (two.find("checkpoint", "ferry", first.fingerprint).folder / "model" / "weights").read_text() == TEXT


def test_what_is_not_stored_yet_never_leaves_the_machine(machines, monkeypatch):
    one, _ = machines
    built = one.build("checkpoint", "ferry", SEED, write)
    one.remote.delete(objects(one, "manifest.json"))
    monkeypatch.setenv(CACHE_SIZE, "0")
    monkeypatch.setattr(local_copies, "LOOKED_EVERY", 0.0)
    nobody_reads_them()
    one._make_room()
    assert (built.path / "model" / "weights").is_file()


def test_files_that_others_take_away_meanwhile_do_not_matter(machines, monkeypatch):
    one, _ = machines
    built = one.build("checkpoint", "ferry", SEED, write)
    trial = one.build("trial", "ferry/seed=1", SEED, write)
    # As a file that a listing names, and that is gone when it is looked at.
    gone = [built.path.with_suffix(".building") / "manifest.json", built.path.with_name("e" * 32) / "manifest.json"]
    for path in (*gone, built.path / "model" / "weights.part"):
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(built.path / "nowhere")
    monkeypatch.setenv(CACHE_SIZE, "0")
    monkeypatch.setattr(local_copies, "LOOKED_EVERY", 0.0)
    nobody_reads_them()
    one._make_room()
    assert not built.path.exists() and not trial.path.exists()


def test_room_is_made_every_few_minutes(machines, monkeypatch):
    one, _ = machines
    monkeypatch.setenv(CACHE_SIZE, "0")
    built = one.build("checkpoint", "ferry", SEED, write)
    nobody_reads_them()
    one._make_room()
    assert built.path.is_dir(), "all files were looked at again at once"
    os.utime(one.root / "locks" / "cache.room", (0, 0))
    one._make_room()
    assert not built.path.exists()


def test_a_process_has_few_locks_and_what_it_read_long_ago_may_leave(tmp_path, monkeypatch):
    monkeypatch.setattr(local_copies, "MOST_IN_USE", 3)
    nobody_reads_them()
    paths = [tmp_path / "checkpoint" / "ferry" / f"{number:032}" for number in range(5)]
    for path in (*paths[:3], paths[0], *paths[3:]):
        local_copies.use(path)
    assert list(local_copies._in_use) == [paths[0], *paths[3:]]
    dropped = []
    for path in paths:
        path.mkdir()
        local_copies._drop(path, lambda path: dropped.append(path) is None)
    assert dropped == paths[1:3] and not paths[1].exists() and paths[0].is_dir()


def test_verify_reads_every_byte(machines):
    one, two = machines
    one.build("checkpoint", "ferry", SEED, write)
    one.build("corpus_chunks", "ferry", SEED, write)
    assert [problem for _, problem in verify_remote(two, "ferry")] == [None, None]
    name = next(name for name in objects(one, "summary.json") if name.startswith("corpus_chunks"))
    one.remote.write(name, b'{"ferries": 2}', one.remote.read(name))
    problems = {path.split("/")[-3]: problem for path, problem in verify_remote(two, "ferry")}
    assert problems["checkpoint"] is None and "summary.json: its bytes are not those" in problems["corpus_chunks"]
    assert list(two.artifacts("corpus_chunks", "ferry")) == []
    assert not list(two.root.rglob("weights")), "nothing is kept on the machine for it"


def test_an_edited_manifest_is_found(machines):
    one, two = machines
    one.build("checkpoint", "ferry", SEED, write)
    (name,) = objects(one, "manifest.json")
    stored = one.remote.read(name)
    one.remote.write(name, stored.content.replace(b'"seed": 1', b'"seed": 2'), stored)
    assert "does not fit the fingerprint" in next(verify_remote(two, "ferry"))[1]


def test_shelves_of_a_collection_are_found_without_listing_the_others(machines, tmp_path, monkeypatch):
    one, two = machines
    local = ArtifactStore(tmp_path / "local")
    for store in (one, local):
        for asset, place in (("checkpoint", "ferry"), ("trial", "ferry/seed=1"), ("trial", "ferry-2"), ("checkpoint", "pier")):
            store.build(asset, place, SEED, write)
    folders = ArtifactStore.folders, RemoteStore.folders

    def not_of_an_asset(of: Callable[..., list[str]], store: ArtifactStore, *below: str) -> list[str]:
        assert len(below) != 1, f"all collections of {below[0]} are listed for one"
        return of(store, *below)

    monkeypatch.setattr(ArtifactStore, "folders", partialmethod(partial(not_of_an_asset, folders[0])))
    monkeypatch.setattr(RemoteStore, "folders", partialmethod(partial(not_of_an_asset, folders[1])))
    for store in (two, local):
        found = {
            collection: [(it.asset, it.place) for it in shelves(store, collection)] for collection in ("ferry", "pier", "fer")
        }
        assert found["ferry"] == [("checkpoint", "ferry"), ("trial", "ferry"), ("trial", "ferry/seed=1")]
        assert found["pier"] == [("checkpoint", "pier")] and found["fer"] == []


def test_what_another_machine_needs_by_now_is_not_removed(machines, monkeypatch):
    one, two = machines
    built = [one.build("checkpoint", "ferry", {"seed": seed}, write) for seed in (1, 2, 3, 4)]
    one.remote.write(f"checkpoint/ferry/{'e' * 32}/scratch/state-1", b"of a training that was killed", None)
    monkeypatch.setattr(remote_keeping, "UNSEEN_FOR", timedelta(seconds=-5))
    removals = list(sweepable_remote(two, "ferry", {built[3].path}, never=[]))
    assert len(removals) == 4
    # Meanwhile one of them becomes current, one is taken as it is, and the training goes on.
    one._point(built[0])
    monkeypatch.setattr(remote_store, "MARKED_AFTER", timedelta(0))
    time.sleep(1)  # the clock of S3 counts seconds
    one.build("checkpoint", "ferry", {"seed": 2}, never, lambda artifact: False)
    one.remote.write(f"checkpoint/ferry/{'e' * 32}/scratch/state-2", b"", None)
    gone = [it.path.name for it in removals if remove_remote(two.remote, it)]
    assert gone == [built[2].fingerprint]
    assert {it.fingerprint for it in two.artifacts("checkpoint", "ferry")} == {built[it].fingerprint for it in (0, 1, 3)}
    assert len(objects(one, "reused")) == 1 and len(objects(one, "state-1")) == 1
    # Marks go with what they mark.
    for it in sweepable_remote(two, "ferry", {built[3].path, built[0].path}, never=[]):
        assert remove_remote(two.remote, it)
    assert objects(one, "reused") == []


def test_what_is_young_is_not_marked(machines):
    one, two = machines
    one.build("checkpoint", "ferry", SEED, write)
    two.build("checkpoint", "ferry", SEED, never)
    assert objects(one, "reused") == []


def test_prune_keeps_what_is_current_and_what_is_young(machines, monkeypatch):
    one, two = machines
    built = [one.build("checkpoint", "ferry", {"seed": seed}, write) for seed in (1, 2, 3)]
    one.remote.write(f"checkpoint/ferry/{'e' * 32}/{'f' * 32}/part", b"of an upload that nobody ended", None)
    kept = artifacts_to_keep(two, "ferry", 1, [], [])
    assert built[2].path.name in {path.name for path in kept}
    assert list(sweepable_remote(two, "ferry", kept, never=[])) == []
    monkeypatch.setattr(remote_keeping, "UNSEEN_FOR", timedelta(seconds=-5))
    assert list(sweepable_remote(two, "ferry", kept, never=["checkpoint"])) == []
    removals = list(sweepable_remote(two, "ferry", kept, never=[]))
    assert [it.kind for it in removals].count("unfinished") == 1
    for it in removals:
        remove_remote(two.remote, it)
    assert {it.fingerprint for it in one.artifacts("checkpoint", "ferry")} == {path.name for path in kept}
    assert not objects(one, "part") and len(objects(one, "weights")) == len(kept)
    assert one.current("checkpoint", "ferry").fingerprint == built[2].fingerprint
