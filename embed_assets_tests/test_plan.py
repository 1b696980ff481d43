"""What a run would compute, and why, is told without computing."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from embed_assets.artifacts.workspace import Workspace, open_workspace
from embed_assets.cli.main import main
from embed_assets.graph import DEFAULT_STAGES, STAGES
from embed_assets.plan import Kind, Outcome, Planned, Reason, plan
from embed_assets.queries.price import ASKED_FOR, tokens_of
from embed_assets_tests.plans import build, build_everything
from embed_assets_tests.small_collections import override, write_small_collections

COLLECTIONS = ("bakery", "routers")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    write_small_collections(tmp_path / "data")
    workspace = Workspace(tmp_path / "data", tmp_path / "home")
    build_everything(workspace, *COLLECTIONS)
    return workspace


def of(workspace: Workspace, stage: str, collection: str = "bakery") -> Planned:
    return {row.stage: row for row in plan(workspace, collection, STAGES)}[stage]


def outcomes(workspace: Workspace) -> dict[Outcome, set[str]]:
    """The default stages of bakery by what a run would do with them."""
    planned = plan(workspace, "bakery")
    return {outcome: {row.stage for row in planned if row.outcome is outcome} for outcome in Outcome}


def files_of(home: Path) -> dict[str, float]:
    return {str(path): path.stat().st_mtime_ns for path in home.rglob("*")}


def test_nothing_is_computed_where_all_is_there(workspace):
    for collection in COLLECTIONS:
        assert {row.outcome for row in plan(workspace, collection, STAGES)} == {Outcome.REUSED}


def test_a_setting_is_named_with_both_values_and_what_lies_below_waits(workspace):
    override(workspace.data, "bakery", {"negatives": {"margin": 0.9, "draft": {"epochs": 2.0}}})
    row = of(workspace, "triplets")
    assert row.outcome is Outcome.COMPUTED
    assert row.reasons == (
        Reason(Kind.SETTING, "negatives.draft.epochs", 1.0, 2.0),
        Reason(Kind.SETTING, "negatives.margin", 0.95, 0.9),
    )
    assert str(row.reasons[1]) == "setting negatives.margin: 0.95 → 0.9"
    assert of(workspace, "checkpoint").waits_for == ("triplets",)
    assert outcomes(workspace)[Outcome.REUSED] == {"corpus_chunks", "qa_pairs", "evaluation_set"}
    assert {row.outcome for row in plan(workspace, "routers")} == {Outcome.REUSED}


def test_documents_are_named(workspace):
    documents = workspace.collection_folder("bakery") / "documents"
    (documents / "bagel.md").write_text("# Bagels\n\nBoil bagels for a minute.\n")
    (documents / "rye.md").write_text("# Rye bread\n\nIt rests for eighteen hours.\n")
    (documents / "mixer.md").unlink()
    named = [(reason.kind, reason.name) for reason in of(workspace, "corpus_chunks").reasons]
    assert named == [
        (Kind.ADDED, "documents/bagel.md"),
        (Kind.REMOVED, "documents/mixer.md"),
        (Kind.CHANGED, "documents/rye.md"),
    ]
    # The evaluation set was drawn once; a run leaves it as it is.
    assert of(workspace, "evaluation_set").outcome is Outcome.REUSED


def test_a_damaged_result_on_an_object_store_is_told_of_its_stage_alone(tmp_path, remote_address, monkeypatch):
    write_small_collections(tmp_path / "data")
    monkeypatch.setenv("EMBED_ASSETS_CACHE", str(tmp_path / "one"))
    workspace = open_workspace(str(tmp_path / "data"), remote_address)
    for collection in COLLECTIONS:
        build(workspace, STAGES["corpus_chunks"], collection)
    remote = workspace.store.remote
    (name,) = (it.name for it in remote.objects("corpus_chunks/bakery") if "/report/" in it.name)
    stored = remote.read(name)
    remote.write(name, stored.content[::-1], stored)
    monkeypatch.setenv("EMBED_ASSETS_CACHE", str(tmp_path / "two"))
    other = open_workspace(str(tmp_path / "data"), remote_address)
    damaged, whole = (plan(other, collection, ["corpus_chunks"])[0] for collection in COLLECTIONS)
    assert damaged.outcome is Outcome.FAILS and "has not the bytes" in damaged.error and whole.outcome is Outcome.REUSED
    assert of(other, "corpus_chunks").outcome is Outcome.COMPUTED


def test_a_prompt_is_named(workspace):
    override(workspace.data, "bakery", {"questions": {"max_questions": 4, "styles": {"question": 1}}})
    build(workspace, STAGES["qa_pairs"], "bakery")
    (workspace.data / "prompts").mkdir()
    (workspace.data / "prompts" / "question.jinja").write_text("{{ passage }} Question:")
    row = of(workspace, "qa_pairs")
    assert [(reason.kind, reason.name) for reason in row.reasons] == [(Kind.SOURCE, "prompt question")]
    assert (str(row.reasons[0]), row.price) == (
        "prompt question: changed",
        {"prompts": 2, "prompt_tokens": 55, "answer_tokens": 80, f"{ASKED_FOR}question": 2},
    )


def test_a_source_that_cannot_be_told_yet_is_no_reason(workspace):
    """What is in production is compared with a checkpoint, which is computed first."""
    override(workspace.data, "bakery", {"publishing": {"uri": "published"}})
    build(workspace, STAGES["published_index"], "bakery")
    override(workspace.data, "bakery", {"publishing": {"uri": "published"}, "training": {"epochs": 2.0}})
    row = of(workspace, "published_index")
    assert (row.waits_for, row.reasons) == (("checkpoint", "beir_scores"), ())


def test_a_code_version_is_named(workspace, monkeypatch):
    version = STAGES["onnx_model"].code_version
    monkeypatch.setitem(STAGES, "onnx_model", replace(STAGES["onnx_model"], code_version="99"))
    row = {row.stage: row for row in plan(workspace, "bakery")}["onnx_model"]
    assert row.reasons == (Reason(Kind.CODE, "", version, "99"),)
    assert outcomes(workspace)[Outcome.COMPUTED] == {"onnx_model"}


def test_another_result_above_is_named(workspace):
    override(workspace.data, "bakery", {"training": {"epochs": 2.0}})
    build(workspace, STAGES["checkpoint"], "bakery", "better")
    assert of(workspace, "beir_scores").reasons[0].kind is Kind.INPUT
    assert str(of(workspace, "beir_scores").reasons[0]) == "another result of checkpoint"


def test_what_was_computed_before_is_found_again_and_so_is_what_lies_below(workspace):
    override(workspace.data, "bakery", {"training": {"epochs": 2.0}})
    build(workspace, STAGES["checkpoint"], "bakery", "better")
    override(workspace.data, "bakery", {})
    assert outcomes(workspace)[Outcome.REUSED] == set(DEFAULT_STAGES)


def test_never_built_and_damaged_are_told_apart(workspace):
    (workspace.store.current("onnx_model", "bakery").folder / "content.txt").unlink()
    (workspace.store.root / "beir_scores" / "bakery" / "current").unlink()
    workspace.store.current("published_index", "bakery").folder.joinpath("manifest.json").write_text("null")
    override(workspace.data, "bakery", {"scoring": {"seed": 14}})
    assert of(workspace, "onnx_model").reasons == (Reason(Kind.DAMAGED),)
    assert of(workspace, "beir_scores").reasons == (Reason(Kind.NEVER_BUILT),)
    assert of(workspace, "published_index").reasons == (Reason(Kind.DAMAGED),)


def test_an_error_is_told_and_what_lies_below_waits(workspace):
    override(workspace.data, "bakery", {"base_model": {"name": "/no/such/model"}})
    row = of(workspace, "corpus_chunks")
    assert row.outcome is Outcome.FAILS and "/no/such/model" in row.error
    assert of(workspace, "qa_pairs").waits_for == ("corpus_chunks",)
    override(workspace.data, "bakery", {"chunking": {"max_token": 64}})
    assert {(row.outcome, "max_token" in row.error) for row in plan(workspace, "bakery")} == {(Outcome.FAILS, True)}


def test_a_result_that_a_blocking_check_refused_fails(workspace):
    findings = workspace.store.current("triplets", "bakery").report / "findings.json"
    findings.write_text(json.dumps([{"name": "no_leaked_documents", "passed": False, "message": "2 leaked"}]))
    assert of(workspace, "triplets").error == "no_leaked_documents: 2 leaked"
    assert of(workspace, "checkpoint").waits_for == ("triplets",)


def test_the_price_is_told_where_it_can_be(workspace):
    override(workspace.data, "bakery", {"questions": {"max_questions": 4, "styles": {"question": 1}}})
    assert of(workspace, "qa_pairs").price["prompts"] == 2
    override(workspace.data, "bakery", {"questions": {"max_questions": 0, "max_lookups": 100}})
    assert of(workspace, "qa_pairs").price == {"prompts": 0}
    override(workspace.data, "bakery", {"negatives": {"margin": 0.9}})
    assert of(workspace, "triplets").price == {"texts": 4}  # two queries and two passages
    override(workspace.data, "bakery", {"training": {"batch_size": 4, "epochs": 2.0}})
    assert of(workspace, "checkpoint").price == {"triplets": 2}


def priced(data: Path, **questions) -> Workspace:
    """A collection with a writer that has a price, of which nothing was built."""
    write_small_collections(data)
    writer = {"engine": "endpoint", "url": "http://localhost:1/v1", "name": "big", "input_cost": 2.0, "output_cost": 8.0}
    override(data, "bakery", {"questions": {"writer": writer, **questions}})
    (data / "settings.yaml").write_text("allowed: {hosts: [localhost]}")
    return Workspace(data, data / "home")


def test_tokens_and_cost_are_told_before_anything_ran(tmp_path):
    workspace = priced(tmp_path, max_questions=1000)
    row = of(workspace, "qa_pairs")
    assert row.outcome is Outcome.WAITS and row.price["prompts"] == 1000
    assert 1000 * 300 < row.price["prompt_tokens"] < 1000 * 700  # four examples and a passage of 160 tokens
    assert row.price["answer_tokens"] == 1000 * 40
    assert row.price["cost"] == pytest.approx(row.price["prompt_tokens"] * 2e-6 + 40_000 * 8e-6, abs=0.01)
    output = cli(workspace, "bakery")
    assert f"takes 1,000 prompts, about {row.price['prompt_tokens']:,} prompt tokens, at most 40,000 answer tokens, " in output
    assert f"{row.price['cost']:.2f} at most for both" in output
    assert "- asks for 500 question, 300 how_to, 200 identifier_question\n" in output


def test_the_plan_tells_the_shares_of_styles_and_hops(tmp_path):
    shares = {"styles": {"question": 3, "multi_hop": 2}, "hops": {1: 1, 3: 3}}
    workspace = priced(tmp_path, max_questions=100, **shares)
    asked = {what: count for what, count in of(workspace, "qa_pairs").price.items() if what.startswith(ASKED_FOR)}
    expected = {"question": 60, "multi_hop with 1 hop": 10, "multi_hop with 3 hops": 30}
    assert asked == {f"{ASKED_FOR}{style}": count for style, count in expected.items()}


def test_extractor_and_judge_are_in_the_price_and_what_is_shown_around_a_chunk(tmp_path):
    batch = {"mode": "batch", "questions_per_chunk": 5, "max_questions": 1000, "styles": {"question": 1}}
    price = of(priced(tmp_path / "a", **batch), "qa_pairs").price
    judged = of(priced(tmp_path / "b", **batch, min_judge_score=7.0), "qa_pairs").price
    seen = of(priced(tmp_path / "c", **batch, context="section"), "qa_pairs").price
    listed = of(priced(tmp_path / "d", **batch, extract_artifacts=True), "qa_pairs").price
    assert price["prompts"] == judged["prompts"] == seen["prompts"] == listed["prompts"] == 200
    assert judged["answer_tokens"] == price["answer_tokens"] + 1000 * 200
    assert judged["prompt_tokens"] - price["prompt_tokens"] > 1000 * 160
    assert 200 * 160 < seen["prompt_tokens"] - price["prompt_tokens"] < 200 * 640
    assert listed["answer_tokens"] > price["answer_tokens"] + 200 * 300 - 1


def test_with_chunks_there_are_no_more_calls_than_they_allow(workspace):
    override(workspace.data, "bakery", {"questions": {"max_questions": 400, "styles": {"multi_hop": 1}}})
    price = of(workspace, "qa_pairs").price
    assert price["prompts"] == 2 and 2 * 300 < price["prompt_tokens"] < 2 * 700 and "cost" not in price


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("word " * 100, 125), ("ポンプ" * 100, 200), ("Größe", 3)])
def test_tokens_are_estimated_from_letters(text, tokens):
    assert tokens_of(text) == tokens


def test_it_writes_nothing(workspace):
    override(workspace.data, "bakery", {"questions": {"max_questions": 4, "styles": {"question": 1}}})
    before = files_of(workspace.home)
    plan(workspace, "bakery", STAGES)
    assert files_of(workspace.home) == before


def cli(workspace: Workspace, *arguments: str) -> str:
    result = CliRunner().invoke(main, ["plan", *arguments, "--data", str(workspace.data), "--home", str(workspace.home)])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_command_says_how_many_collections_need_what(workspace):
    override(workspace.data, "bakery", {"export": {"opset": 21}})
    output = cli(workspace)
    assert "routers: all is there" in output
    assert "setting export.opset: 20 → 21" in output
    assert "2 collections, 1 with all results in place" in output
    assert output.splitlines()[-1].split() == ["onnx_model", "reused", "in", "1,", "computed", "in", "1"]


def test_the_command_prints_json(workspace):
    override(workspace.data, "bakery", {"export": {"opset": 21}})
    rows = [json.loads(line) for line in cli(workspace, "bakery", "--json", "--until", "onnx_model").splitlines()]
    assert [row["stage"] for row in rows][:2] == ["corpus_chunks", "qa_pairs"]
    assert rows[-1]["outcome"] == "computed"
    assert rows[-1]["reasons"] == [{"kind": "setting", "name": "export.opset", "before": 20, "after": 21}]
