"""All collections side by side."""

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from embed_assets.artifacts.workspace import Workspace
from embed_assets.cli.main import main
from embed_assets.evaluation.scoring import write_summaries
from embed_assets.overview import contradictions, in_production, score_overview
from embed_assets_tests.small_collections import BAKERY, write_collection


def summary(labels: str, gain: float, p_value: float) -> dict:
    test = {
        "system": "tuned",
        "baseline": "base",
        "difference": gain,
        "low": gain - 0.02,
        "high": gain + 0.02,
        "p_value": p_value,
    }
    figures = {"base": 0.5, "tuned": 0.5 + gain, "bm25": 0.4, "hybrid": 0.6, "late": 0.7}
    systems = {name: {"ndcg@10": figure} for name, figure in figures.items()}
    return {"labels": labels, "queries": 40, "systems": systems, "tests": [test | {"baseline": "bm25"}, test]}


def write_scored_collection(place: Workspace, name: str, summaries: list[dict] | None) -> None:
    """A collection, and its scores if there are any."""
    write_collection(place.data / "collections" / name, BAKERY)
    if summaries is not None:
        ingredients = {"code_version": "1", "settings": {}, "inputs": {}, "sources": {}}
        place.store.build("beir_scores", name, ingredients, lambda folder, scratch: write_summaries(folder, summaries))


@pytest.fixture
def place(workspace_folder: Path) -> Workspace:
    place = Workspace(workspace_folder / "data", workspace_folder / "home")
    scores = {
        "contrary": [summary("human", -0.06, 1e-6), summary("synthetic", 0.15, 1e-9), summary("look-up", 0.2, 1e-9)],
        "good": [summary("human", 0.1, 0.001), summary("synthetic", 0.02, 0.4)],
        "new": None,
    }
    for name, summaries in scores.items():
        write_scored_collection(place, name, summaries)
    return place


def test_what_each_source_of_labels_says_stands_side_by_side(place: Workspace):
    scores = score_overview(place, place.collections())
    assert scores.select("collection", "labels", "tuned", "gain", "verdict").rows() == [
        ("contrary", "human", pytest.approx(0.44), -0.06, "loses"),
        ("contrary", "synthetic", pytest.approx(0.65), 0.15, "gains"),
        ("contrary", "look-up", pytest.approx(0.7), 0.2, "cannot tell"),
        ("good", "human", pytest.approx(0.6), 0.1, "gains"),
        ("good", "synthetic", pytest.approx(0.52), 0.02, "cannot tell"),
    ]
    assert scores.select("hybrid", "late", "hybrid_base").unique().rows() == [(0.6, 0.7, None)]
    assert contradictions(scores) == ["contrary"]
    assert contradictions(scores.filter(pl.col("labels") != "human")) == []


def test_the_command_prints_scores_and_what_is_in_production(place: Workspace):
    options = ["--data", str(place.data), "--home", str(place.home)]
    done = CliRunner().invoke(main, ["overview", *options])
    assert done.exit_code == 0, done.output
    assert "contrary: written questions say the opposite of people" in done.output
    assert "good: " not in done.output
    rows = [json.loads(line) for line in CliRunner().invoke(main, ["overview", *options, "--json"]).output.splitlines()]
    assert [row["labels"] for row in rows if "labels" in row] == ["human", "synthetic", "look-up", "human", "synthetic"]
    assert {row["collection"]: row["in_production_since"] for row in rows if "in_production_since" in row}.keys() == {
        *("contrary", "good", "new"),
    }


def test_without_scores_it_says_what_makes_them(workspace_folder: Path):
    write_collection(workspace_folder / "data" / "collections" / "new", BAKERY)
    done = CliRunner().invoke(
        main, ["overview", "--data", str(workspace_folder / "data"), "--home", str(workspace_folder / "home")]
    )
    assert "'embed-assets run' makes them" in done.output


def test_why_nothing_is_known_of_production_is_told_without_what_is_secret(place: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STORE_TOKEN", "s3cr3t-of-store")
    (place.data / "collections" / "new" / "settings.yaml").write_text("s3cr3t-of-store: {uri: x}")
    told = in_production(place, "new")["in_production_since"]
    assert "unknown key" in told and "s3cr3t" not in told
