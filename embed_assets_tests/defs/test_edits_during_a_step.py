"""Edits and other runs in the middle of a step: what is stored is made of what its fingerprint names, or not stored.

No model is loaded: texts become vectors by their letters, and where a model would be trained, the edit happens.
"""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from dagster import AssetKey, DagsterInstance, MultiPartitionKey

from embed_assets.artifacts.store import FINDINGS, REPORT, Artifact, MissingArtifactError
from embed_assets.artifacts.workspace import Workspace
from embed_assets.cli.runs import materialize_collection, open_instance
from embed_assets.definitions import defs
from embed_assets.defs.corpus import corpus_chunks
from embed_assets.defs.partitions import collections, trials
from embed_assets.evaluation.scoring import LabelledCollection
from embed_assets.graph import STAGES
from embed_assets.lineage import finished_trials, open_published, resolve
from embed_assets.models.answers import Answer, Sampling
from embed_assets.models.hardware import Compute
from embed_assets.models.language_models import LanguageModel
from embed_assets.production.gate import Verdict
from embed_assets.production.published import Model, Published
from embed_assets.production.publishing import Judged
from embed_assets.sweep.stages import TRIAL
from embed_assets_tests.small_collections import QUERIES, ROUTERS, override, write_collection

pytestmark = pytest.mark.slow

SETTINGS = {
    "questions": {"max_questions": 0, "round_trip_top_k": 0, "max_similarity": 1.0},
    "scoring": {"resamples": 100},
    "publishing": {"uri": "published"},
}
NAME = "routers"
ONE_TRIAL = "epochs=2"


class Letters:
    """Texts as counts of letters: a stand-in for a model, good enough to find something."""

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        counts = np.array([[text.lower().count(chr(97 + letter)) + 0.01 for letter in range(26)] for text in texts], np.float32)
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)

    encode_queries = encode_passages
    saved_work = 0


@pytest.fixture
def place(workspace_folder: Path) -> Workspace:
    write_collection(workspace_folder / "data" / "collections" / NAME, ROUTERS, QUERIES)
    (workspace_folder / "data" / "settings.yaml").write_text(json.dumps(SETTINGS))
    return Workspace(workspace_folder / "data", workspace_folder / "home")


@pytest.fixture
def instance(place: Workspace) -> Iterator[DagsterInstance]:
    with open_instance(place.home) as instance:
        instance.add_dynamic_partitions(collections.name, [NAME])
        yield instance


def documents(place: Workspace) -> Path:
    return place.data / "collections" / NAME / "documents"


def materialize(instance: DagsterInstance, asset: str, partition: str = NAME) -> bool:
    job = defs.resolve_implicit_global_asset_job_def()
    selection = [AssetKey(asset)]
    return job.execute_in_process(None, instance, partition, False, asset_selection=selection).success


def during(monkeypatch: pytest.MonkeyPatch, module: object, name: str, act: Callable[[], None], times: int = 1) -> None:
    """Let a plain function do its work, and then something happen before it returns."""
    real, left = getattr(module, name), [act] * times

    def wrapped(*arguments, **options):
        result = real(*arguments, **options)
        if left:
            left.pop()()
        return result

    monkeypatch.setattr(module, name, wrapped)


def edit(place: Workspace, text: str) -> None:
    (documents(place) / "reboot.md").write_text(f"# Reboot loop\n\n{text}\n")


def rebuilt(place: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch, asset: str) -> Artifact:
    """The asset as it comes out in a fresh home."""
    other = Workspace(place.data, folder)
    monkeypatch.setenv("EMBED_ASSETS_HOME", str(folder))
    with open_instance(folder) as instance:
        assert materialize_collection(instance, NAME, asset)
    monkeypatch.setenv("EMBED_ASSETS_HOME", str(place.home))
    return other.store.current(asset, NAME)


@pytest.mark.parametrize("what", ["text", "settings", "new file", "removed file"])
def test_documents_that_change_while_they_are_read_are_not_kept_under_the_old_fingerprint(
    place: Workspace, instance: DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
):
    edits = {
        "text": lambda: edit(place, "Another text."),
        "settings": lambda: override(place.data, NAME, {"chunking": {"max_tokens": 32}}),
        "new file": lambda: (documents(place) / "new.md").write_text("# New\n\nThe new part NP-1 is here.\n"),
        "removed file": (documents(place) / "fan.md").unlink,
    }
    wanted = resolve(place, STAGES["corpus_chunks"], NAME).fingerprint
    during(monkeypatch, corpus_chunks, "write_source", edits[what])
    monkeypatch.setattr("dagster._core.definitions.policy.RetryPolicy.calculate_delay", lambda policy, attempt: 0.0)
    assert materialize(instance, "corpus_chunks")
    stored = place.store.find("corpus_chunks", NAME, wanted)
    if what == "settings":  # they were read before; those of the fingerprint are the old ones
        assert stored.manifest["settings"]["chunking"]["max_tokens"] == 128
        assert materialize(instance, "corpus_chunks")
    else:  # the second try found the files at rest
        assert stored is None
    now = place.store.current("corpus_chunks", NAME)
    assert now.fingerprint != wanted
    assert now.digest == rebuilt(place, tmp_path / "fresh", monkeypatch, "corpus_chunks").digest


def test_a_text_that_changes_back_is_the_text_that_is_stored(
    place: Workspace, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    before = (documents(place) / "reboot.md").read_text()
    edit(place, "A branch that is looked at for a moment.")
    during(monkeypatch, corpus_chunks, "write_source", lambda: (documents(place) / "reboot.md").write_text(before))
    monkeypatch.setattr("dagster._core.definitions.policy.RetryPolicy.calculate_delay", lambda policy, attempt: 0.0)
    assert materialize(instance, "corpus_chunks")  # at the second try
    texts = pl.read_parquet(place.store.current("corpus_chunks", NAME).folder / "chunks.parquet")["text"]
    assert any("RTR-1042" in text for text in texts) and not any("for a moment" in text for text in texts)


def test_queries_are_made_of_the_chunks_and_settings_that_they_name(
    place: Workspace, instance: DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import embed_assets.defs.queries.qa_pairs as module

    assert materialize_collection(instance, NAME, "corpus_chunks")
    old = place.store.current("corpus_chunks", NAME)
    expected = rebuilt(place, tmp_path / "fresh", monkeypatch, "qa_pairs")

    def edit_all() -> None:
        edit(place, "Another text about error XX-9999.")
        override(place.data, NAME, {"questions": {"seed": 99}})
        assert materialize(instance, "corpus_chunks")

    during(monkeypatch, module, "make_qa_pairs", edit_all)
    assert materialize(instance, "qa_pairs")
    made = place.store.current("qa_pairs", NAME)
    assert place.store.current("corpus_chunks", NAME).digest != old.digest
    assert (made.manifest["inputs"]["corpus_chunks"], made.manifest["settings"]["questions"]["seed"]) == (old.digest, 13)
    assert (made.fingerprint, made.digest) == (expected.fingerprint, expected.digest)


@pytest.mark.parametrize(("asset", "function"), [("evaluation_set", "read_human_labels"), ("triplets", "mine_triplets")])
def test_what_comes_after_queries_is_made_of_what_it_names(
    place: Workspace, instance: DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asset: str, function: str
):
    group = STAGES[asset].group
    module = importlib.import_module(f"embed_assets.defs.{group}.{asset}")
    assert materialize_collection(instance, NAME, "evaluation_set" if asset == "triplets" else "qa_pairs")
    expected = rebuilt(place, tmp_path / "fresh", monkeypatch, asset)

    def edit_all() -> None:
        edit(place, "Another text about error XX-9999.")
        override(place.data, NAME, {"questions": {"seed": 99}, "negatives": {"per_query": 1}})
        assert materialize(instance, "corpus_chunks")  # what needs the GPU would wait for this step

    during(monkeypatch, module, function, edit_all)
    assert materialize(instance, asset)
    made = place.store.find(asset, NAME, expected.fingerprint)
    assert made is not None and made.digest == expected.digest


class Writer:
    """Answers every prompt with a question of its passage, and edits the prompt file when it is first asked."""

    def __init__(self, edit: Callable[[], object]):
        self.edit = edit
        self.asked: list[str] = []

    def answer(self, prompts: Sequence[str], seeds: Sequence[int], sampling: Sampling) -> Iterator[tuple[int, Answer]]:
        self.edit()
        for number, prompt in enumerate(prompts):
            self.asked.append(prompt)
            yield number, Answer(f"What is meant by {' '.join(prompt.split()[-6:])}?")

    def close(self) -> None:
        pass


def test_questions_are_written_with_the_prompt_that_they_name(
    place: Workspace, instance: DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import embed_assets.defs.queries.qa_pairs as module

    questions = SETTINGS["questions"] | {
        "max_questions": 4,
        "styles": {"question": 0, "how_to": 0, "identifier_question": 0, "mine": 1},
    }
    override(place.data, NAME, {"questions": questions})
    prompt = place.data / "collections" / NAME / "prompts" / "mine.jinja"
    prompt.parent.mkdir()
    prompt.write_text("FIRST: {{ passage }}")
    writer = Writer(lambda: prompt.write_text("SECOND: {{ passage }}"))
    monkeypatch.setattr(module, "LanguageModel", partial(LanguageModel, engine=writer))
    assert materialize(instance, "corpus_chunks")
    before = resolve(place, STAGES["qa_pairs"], NAME)
    assert materialize(instance, "qa_pairs")
    made = place.store.current("qa_pairs", NAME)
    assert writer.asked and all(text.startswith("FIRST: ") for text in writer.asked)
    assert (made.fingerprint, resolve(place, STAGES["qa_pairs"], NAME).fingerprint == made.fingerprint) == (
        before.fingerprint,
        False,
    )
    prompt.write_text("FIRST: {{ passage }}")
    assert made.digest == rebuilt(place, tmp_path / "fresh", monkeypatch, "qa_pairs").digest
    prompt.write_text("SECOND: {{ passage }}")
    writer.asked.clear()
    assert materialize(instance, "qa_pairs")
    assert writer.asked and all(text.startswith("SECOND: ") for text in writer.asked)


def stub(place: Workspace, asset: str, **tables: pl.DataFrame | str) -> Artifact:
    """An artifact of a stage that would need a model, made of what there is now."""
    inputs = resolve(place, STAGES[asset], NAME)

    def write(folder: Path, scratch: Path) -> None:
        for name, content in tables.items():
            if isinstance(content, str):
                (folder / f"{name}.json").write_text(content)
            else:
                content.write_parquet(folder / f"{name}.parquet")

    return place.store.build(asset, inputs.place, inputs.ingredients, write)


TRIPLETS = pl.DataFrame({"anchor": ["a", "b", "c"], "positive": ["d", "e", "f"], "split": ["train", "train", "dev"]})


def test_a_trial_is_scored_on_the_chunks_that_it_names(
    place: Workspace, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    import embed_assets.defs.sweep.trial as module

    assert materialize_collection(instance, NAME, "evaluation_set")
    stub(place, "triplets", triplets=TRIPLETS)
    kept = {path.name: path.read_text() for path in documents(place).iterdir()}
    scored_on = []

    def train(folder: Path, scratch: Path, *others: object) -> None:
        """While it trains, all documents but one are deleted, and another run takes it over."""
        for name in list(kept)[1:]:
            (documents(place) / name).unlink()
        assert materialize(instance, "corpus_chunks")
        (folder / "model").mkdir()
        (folder / "model" / "weights").write_text("trained")
        (folder / REPORT / "loss.png").write_bytes(b"")
        findings = [{"name": name, "passed": True, "message": ""} for name in TRIAL.checks]
        (folder / REPORT / FINDINGS).write_text(json.dumps(findings))

    def score(collection: LabelledCollection, *others, **options):
        scored_on.append(len(collection.chunks))
        return real(collection, *others, **options)

    real = module.score_systems
    monkeypatch.setattr(module, "write_checkpoint", train)
    monkeypatch.setattr(module, "score_systems", score)
    monkeypatch.setattr(module, "base_and_tuned", lambda *arguments: {"base": Letters(), "tuned": Letters()})
    instance.add_dynamic_partitions(trials.name, [ONE_TRIAL])
    assert materialize(instance, "trial", MultiPartitionKey({"collection": NAME, "trial": ONE_TRIAL}))
    corpus = place.store.current("corpus_chunks", NAME)
    (trial,) = place.store.artifacts("trial", f"{NAME}/{ONE_TRIAL}")
    named = place.store.find_content("corpus_chunks", NAME, trial.manifest["inputs"]["corpus_chunks"])
    rows = pl.read_parquet(named.folder / "chunks.parquet").height
    assert (pl.read_parquet(corpus.folder / "chunks.parquet").height, rows, set(scored_on)) == (1, 8, {8})
    assert finished_trials(place, NAME) == {}  # there is another corpus now
    for name, text in kept.items():
        (documents(place) / name).write_text(text)
    assert materialize(instance, "corpus_chunks")
    assert list(finished_trials(place, NAME)) == [ONE_TRIAL]


def test_the_model_that_was_judged_is_the_one_that_goes_into_production(
    place: Workspace, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    import embed_assets.defs.production.published_index as module

    assert materialize_collection(instance, NAME, "evaluation_set")
    stub(place, "triplets", triplets=TRIPLETS)
    judged = stub(place, "checkpoint", weights="1")
    stub(place, "beir_scores", scores="[]")
    encoded_with = []

    def judge(published, inputs, compared_with, compute, folder) -> Judged:
        """While it is judged, another run makes another checkpoint the current one."""
        override(place.data, NAME, {"training": {"seed": 99}})
        stub(place, "checkpoint", weights="2")
        return Judged(Verdict(True, f"{inputs.artifacts['checkpoint'].fingerprint} is better"), ())

    def encoder(published: Published, model: Model, compute: Compute) -> Letters:
        encoded_with.append(model.checkpoint)
        return Letters()

    monkeypatch.setattr(module, "judge_candidate", judge)
    monkeypatch.setattr(Published, "encoder", encoder)
    assert materialize(instance, "published_index")
    assert place.store.current("checkpoint", NAME).fingerprint != judged.fingerprint
    index = open_published(place, NAME).index
    pointer = index.pointer()
    assert index.metadata(pointer.current)["checkpoint"] == judged.fingerprint
    assert (encoded_with, pointer.reason) == ([judged.fingerprint], f"{judged.fingerprint} is better")


def test_two_runs_of_one_partition_at_once_make_one_artifact(place: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    command = [sys.executable, "-m", "embed_assets.cli", "run", NAME, "--until", "qa_pairs"]
    runs = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    messages = [run.communicate()[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], messages
    for asset in ("corpus_chunks", "qa_pairs"):
        (artifact,) = place.store.artifacts(asset, NAME)
        assert artifact.digest == rebuilt(place, tmp_path / f"fresh-{asset}", monkeypatch, asset).digest
        assert not list(artifact.folder.parent.glob("*.building"))


def test_nothing_is_stored_where_the_files_never_rest(place: Workspace, instance: DagsterInstance, monkeypatch, caplog):
    left = iter(range(100))
    during(monkeypatch, corpus_chunks, "write_source", lambda: edit(place, f"Edition {next(left)}."), times=100)
    monkeypatch.setattr("dagster._core.definitions.policy.RetryPolicy.calculate_delay", lambda policy, attempt: 0.0)
    assert not materialize_collection(instance, NAME, "corpus_chunks")
    assert "documents changed while it was read: materialize corpus_chunks again" in caplog.text
    with pytest.raises(MissingArtifactError):
        place.store.current("corpus_chunks", NAME)
    assert list(place.store.artifacts("corpus_chunks", NAME)) == [] and next(left) == 3
