import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from embed_assets.artifacts.checks import Finding
from embed_assets.artifacts.files import fingerprint_of, write_atomically
from embed_assets.artifacts.memo import Memo, key_of
from embed_assets.artifacts.store import ArtifactStore, MissingArtifactError
from embed_assets.reports.writing import write_findings

SEA = "The tide gauge at the harbour wall reads 3.20 m.\n"


class Writer:
    """Writes files and counts how often it was asked to."""

    def __init__(self, **files: str):
        self.files = {name.replace("__", "/") + ".txt": text for name, text in files.items()}
        self.calls = 0

    def __call__(self, folder: Path, scratch: Path) -> None:
        self.calls += 1
        for name, text in self.files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)


@pytest.fixture
def store(tmp_path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_same_ingredients_are_built_once(store):
    write = Writer(text=SEA)
    first = store.build("corpus_chunks", "sea", {"code_version": "1", "settings": {"max_tokens": 64, "seed": 3}}, write)
    again = store.build("corpus_chunks", "sea", {"settings": {"seed": 3, "max_tokens": 64}, "code_version": "1"}, write)
    assert write.calls == 1
    assert (first.reused, again.reused) == (False, True)
    assert again.folder == first.folder and again.digest == first.digest
    assert (again.folder / "text.txt").read_text() == SEA


@pytest.mark.parametrize(
    ("asset", "collection", "ingredients"),
    [
        ("corpus_chunks", "sea", {"code_version": "2"}),
        ("corpus_chunks", "sea", {"code_version": "1", "inputs": {"documents": "ab12"}}),
        ("corpus_chunks", "lake", {"code_version": "1"}),
        ("qa_pairs", "sea", {"code_version": "1"}),
    ],
    ids=["code version", "input", "collection", "asset"],
)
def test_anything_else_is_built_anew(store, asset, collection, ingredients):
    write = Writer(text=SEA)
    store.build("corpus_chunks", "sea", {"code_version": "1"}, write)
    assert not store.build(asset, collection, ingredients, write).reused
    assert write.calls == 2


def test_going_back_to_earlier_ingredients_computes_nothing(store):
    write = Writer(text=SEA)
    store.build("corpus_chunks", "sea", {"max_tokens": 64}, write)
    larger = store.build("corpus_chunks", "sea", {"max_tokens": 128}, write)
    assert store.current("corpus_chunks", "sea").fingerprint == larger.fingerprint
    back = store.build("corpus_chunks", "sea", {"max_tokens": 64}, write)
    assert write.calls == 2
    assert store.current("corpus_chunks", "sea").fingerprint == back.fingerprint != larger.fingerprint


def test_the_digest_ignores_the_report(store):
    one = store.build("corpus_chunks", "sea", {"seed": 1}, Writer(text=SEA, report__preview="drawn on Monday"))
    two = store.build("corpus_chunks", "sea", {"seed": 2}, Writer(text=SEA, report__preview="drawn on Tuesday", report__more="!"))
    assert one.digest == two.digest
    assert (two.report / "preview.txt").read_text() == "drawn on Tuesday"


@pytest.mark.parametrize(
    "files",
    [{"text": SEA.upper()}, {"words": SEA}, {"sub__text": SEA}, {"text": SEA, "more": ""}, {"sub__report": "", "text": SEA}],
    ids=["content", "name", "folder", "additional file", "report in another place"],
)
def test_the_digest_covers_everything_but_the_report(store, files):
    plain = store.build("corpus_chunks", "sea", {"seed": 1}, Writer(text=SEA))
    other = store.build("corpus_chunks", "sea", {"seed": 2}, Writer(**files))
    assert plain.digest != other.digest


def test_the_same_content_from_different_ingredients_stops_the_wave(store):
    one = store.build("qa_pairs", "sea", {"prompt": "Ask:"}, Writer(pairs="how high is the tide"))
    two = store.build("qa_pairs", "sea", {"prompt": "Ask: "}, Writer(pairs="how high is the tide"))
    assert one.fingerprint != two.fingerprint and one.digest == two.digest
    downstream = Writer(triplets="tide")
    for upstream in (one, two):
        store.build("triplets", "sea", {"inputs": {"qa_pairs": upstream.digest}}, downstream)
    assert downstream.calls == 1


def test_the_manifest_tells_what_went_in_and_came_out(store):
    artifact = store.build(
        "corpus_chunks", "sea", {"code_version": "1", "settings": {"seed": 3}}, Writer(text=SEA, report__n="1")
    )
    manifest = json.loads((artifact.folder / "manifest.json").read_text())
    assert manifest == artifact.manifest
    assert manifest["code_version"] == "1" and manifest["settings"] == {"seed": 3}
    assert manifest["asset"] == "corpus_chunks" and manifest["collection"] == "sea"
    assert manifest["files"] == {"report/n.txt": 1, "text.txt": len(SEA)}


def test_a_failed_write_leaves_nothing_and_the_next_starts_empty_with_its_scratch(store):
    ingredients = {"seed": 1}

    def fail(folder: Path, scratch: Path) -> None:
        (folder / "half.txt").write_text("half of it")
        (scratch / "step-10").write_text("state after ten steps")
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        store.build("checkpoint", "sea", ingredients, fail)
    assert store.find("checkpoint", "sea", fingerprint_of({"asset": "checkpoint", **ingredients})) is None
    with pytest.raises(MissingArtifactError):
        store.current("checkpoint", "sea")

    found = {}

    def resume(folder: Path, scratch: Path) -> None:
        found["result"] = sorted(path.name for path in folder.rglob("*") if path.is_file())
        found["scratch"] = (scratch / "step-10").read_text()
        (folder / "model.txt").write_text("weights")

    artifact = store.build("checkpoint", "sea", ingredients, resume)
    assert found == {"result": [], "scratch": "state after ten steps"}
    assert names_in(artifact.folder) == {"manifest.json", "model.txt", "report"}
    assert names_in(artifact.folder.parent) == {artifact.fingerprint, "current", "locks"}


def test_a_failed_write_keeps_the_artifact_before_it_current(store):
    before = store.build("checkpoint", "sea", {"seed": 1}, Writer(model="weights"))

    def fail(folder: Path, scratch: Path) -> None:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError):
        store.build("checkpoint", "sea", {"seed": 2}, fail)
    assert store.current("checkpoint", "sea").fingerprint == before.fingerprint


KILLED_PROGRAM = """
import sys, time
from pathlib import Path
from embed_assets.artifacts.store import ArtifactStore

def write(folder, scratch):
    (folder / "half.txt").write_text("half of it")
    (scratch / "step-10").write_text("state after ten steps")
    print("writing", flush=True)
    time.sleep(60)

ArtifactStore(Path(sys.argv[1])).build("checkpoint", "sea", {"seed": 1}, write)
"""


def test_a_process_killed_in_the_middle_leaves_nothing_half_built(store):
    with subprocess.Popen([sys.executable, "-c", KILLED_PROGRAM, str(store.root)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "writing\n"
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=20) == -signal.SIGKILL
    fingerprint = fingerprint_of({"asset": "checkpoint", "seed": 1})
    assert store.find("checkpoint", "sea", fingerprint) is None
    with pytest.raises(MissingArtifactError):
        store.current("checkpoint", "sea")

    def resume(folder: Path, scratch: Path) -> None:
        assert names_in(folder) == {"report"}
        (folder / "model.txt").write_text((scratch / "step-10").read_text())

    artifact = store.build("checkpoint", "sea", {"seed": 1}, resume)
    assert (artifact.folder / "model.txt").read_text() == "state after ten steps"
    assert store.current("checkpoint", "sea").fingerprint == fingerprint
    assert names_in(artifact.folder.parent) == {fingerprint, "current", "locks"}


def remove_file(folder: Path) -> None:
    (folder / "text.txt").unlink()


def truncate_file(folder: Path) -> None:
    os.truncate(folder / "text.txt", 5)


def remove_report(folder: Path) -> None:
    (folder / "report" / "preview.txt").unlink()


def remove_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def truncate_manifest(folder: Path) -> None:
    os.truncate(folder / "manifest.json", 40)


def empty_manifest(folder: Path) -> None:
    os.truncate(folder / "manifest.json", 0)


@pytest.mark.parametrize(
    "damage",
    [remove_file, truncate_file, remove_report, remove_manifest, truncate_manifest, empty_manifest],
    ids=lambda f: f.__name__,
)
def test_a_damaged_artifact_is_built_again(store, damage):
    write = Writer(text=SEA, report__preview="a preview")
    artifact = store.build("corpus_chunks", "sea", {"seed": 1}, write)
    damage(artifact.folder)
    assert store.find("corpus_chunks", "sea", artifact.fingerprint) is None
    with pytest.raises(MissingArtifactError):
        store.current("corpus_chunks", "sea")
    again = store.build("corpus_chunks", "sea", {"seed": 1}, write)
    assert write.calls == 2
    assert (again.reused, again.digest) == (False, artifact.digest)
    assert (again.folder / "text.txt").read_text() == SEA


def test_what_was_never_built_is_missing_and_named(store):
    store.build("corpus_chunks", "sea", {}, Writer(text=SEA))
    with pytest.raises(MissingArtifactError, match=r"qa_pairs.*'sea'.*first: embed-assets run sea --until qa_pairs"):
        store.current("qa_pairs", "sea")
    with pytest.raises(MissingArtifactError, match=r"corpus_chunks.*'lake'"):
        store.current("corpus_chunks", "lake")


SLOW_PROGRAM = """
import sys, time
from pathlib import Path
from embed_assets.artifacts.store import ArtifactStore

root = Path(sys.argv[1])

def write(folder, scratch):
    with (root.parent / "calls").open("a") as calls:
        calls.write("called\\n")
    time.sleep(0.5)
    (folder / "text.txt").write_text("tide")

artifact = ArtifactStore(root).build("corpus_chunks", "sea", {"seed": 1}, write)
print(artifact.digest, artifact.reused)
"""


def run_together(program: str, arguments: list[list[str]]) -> list[str]:
    """Start one process for each list of arguments and return what each prints."""
    processes = [
        subprocess.Popen([sys.executable, "-c", program, *each], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for each in arguments
    ]
    results = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), [errors for _, errors in results]
    return [output for output, _ in results]


def test_two_processes_that_want_the_same_build_it_once(store):
    store.root.parent.mkdir(exist_ok=True)
    (one, one_reused), (two, two_reused) = (line.split() for line in run_together(SLOW_PROGRAM, [[str(store.root)]] * 2))
    assert (store.root.parent / "calls").read_text() == "called\n"
    assert one == two
    assert {one_reused, two_reused} == {"True", "False"}


def test_a_memo_returns_what_was_stored(tmp_path):
    memo = Memo(tmp_path / "memos" / "answers.sqlite")
    memo.put_many([("tide", b"3.20 m"), ("wind", b"\x00\xff"), ("empty", b"")])
    assert memo.get_many(["wind", "tide", "rain", "empty"]) == {"tide": b"3.20 m", "wind": b"\x00\xff", "empty": b""}
    assert memo.get_many([]) == {}


def test_parts_that_give_the_same_text_when_they_are_joined_have_keys_of_their_own():
    pairs = [("a", "b\0c"), ("a\0b", "c"), ("a", "b", "c"), ("ab", "c"), ("a", "bc"), ("1", "a"), (1, "a"), ('a", "b', "c")]
    assert len({key_of(*parts) for parts in pairs}) == len(pairs)
    assert key_of("\ud800") == key_of("\ud800") != key_of("?")


def test_a_memo_holds_the_last_value(tmp_path):
    memo = Memo(tmp_path / "answers.sqlite")
    memo.put_many([("tide", b"3.20 m")])
    memo.put_many([("tide", b"2.90 m")])
    assert memo.get_many(["tide"]) == {"tide": b"2.90 m"}


def test_a_memo_survives_being_reopened(tmp_path):
    Memo(tmp_path / "answers.sqlite").put_many([("tide", b"3.20 m")])
    assert Memo(tmp_path / "answers.sqlite").get_many(["tide"]) == {"tide": b"3.20 m"}


def test_a_memo_finds_more_keys_than_one_query_can_name(tmp_path):
    memo = Memo(tmp_path / "answers.sqlite")
    items = {f"key {i}": str(i * i).encode() for i in range(1234)}
    memo.put_many(items.items())
    assert memo.get_many([*items, "key 1234"]) == items


def test_a_memo_stores_all_items_of_a_call_or_none(tmp_path):
    memo = Memo(tmp_path / "answers.sqlite")

    def items():
        yield "tide", b"3.20 m"
        raise RuntimeError("the model stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        memo.put_many(items())
    assert memo.get_many(["tide"]) == {}


MEMO_PROGRAM = """
import sys
from pathlib import Path
from embed_assets.artifacts.memo import Memo

path, name = Path(sys.argv[1]), sys.argv[2]
memo = Memo(path)
for i in range(20):
    memo.put_many([(f"{name} {i}", f"{name} {i}".encode()), ("shared", name.encode())])
    assert memo.get_many([f"{name} {i}"])
"""


def test_several_processes_write_one_memo(tmp_path):
    path = tmp_path / "answers.sqlite"
    Memo(path)
    run_together(MEMO_PROGRAM, [[str(path), name] for name in "abcd"])
    keys = [f"{name} {i}" for name in "abcd" for i in range(20)]
    found = Memo(path).get_many([*keys, "shared"])
    assert found.pop("shared") in {b"a", b"b", b"c", b"d"}
    assert found == {key: key.encode() for key in keys}


NEW_MEMO_PROGRAM = """
import sys, time
from pathlib import Path
from embed_assets.artifacts.memo import Memo

folder, name, start = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
for i in range(30):
    time.sleep(max(0, start + 0.05 * i - time.time()))
    Memo(folder / f"{i}.sqlite").put_many([(name, b"was here")])
"""


def test_several_processes_create_a_memo_at_the_same_moment(tmp_path):
    """Thirty new memos, each opened by four processes in step: a race that is lost now and then shows."""
    start = str(time.time() + 1.5)
    run_together(NEW_MEMO_PROGRAM, [[str(tmp_path), name, start] for name in "abcd"])
    for i in range(30):
        assert Memo(tmp_path / f"{i}.sqlite").get_many(list("abcd")).keys() == set("abcd")


def test_a_file_that_is_replaced_keeps_its_rights_and_a_link_leads_to_it(tmp_path):
    shared = tmp_path / "shared.yaml"
    shared.write_text("old")
    shared.chmod(0o664)
    link = tmp_path / "settings.yaml"
    link.symlink_to("shared.yaml")
    write_atomically(link, "new")
    assert link.is_symlink() and shared.read_text() == "new" and shared.stat().st_mode & 0o777 == 0o664


def test_findings_are_read_as_they_were_written_whatever_the_locale(store):
    def write(folder: Path, scratch: Path) -> None:
        write_findings(folder, [Finding("found", True, "größer")])

    folder = store.build("corpus_chunks", "house", {}, write).folder
    script = (
        "import sys; from pathlib import Path; from embed_assets.artifacts.store import Artifact; "
        "print(ascii(Artifact(Path(sys.argv[1]), {'files': {}}).findings[0]['message']))"
    )
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", script, str(folder)], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == r"'gr\xf6\xdfer'", done.stderr
