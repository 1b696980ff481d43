"""Questions that people refused: out of training and test, and a change of what was built from them."""

import json
from pathlib import Path

import polars as pl
import pytest

from embed_assets.artifacts.inputs import Asked
from embed_assets.artifacts.workspace import CollectionError, Workspace
from embed_assets.evaluation.evaluation_set import LABEL_SCHEMA, QUERY_SCHEMA, without_refused
from embed_assets.queries.filters import drop_refused
from embed_assets.queries.reviews import REFUSED_QUESTIONS, REVIEWS, read_reviews, refused_questions, write_review
from embed_assets_tests.sample_documents import ask
from embed_assets_tests.small_collections import BAKERY, write_collection


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    write_collection(tmp_path / "data" / "collections" / "bakery", BAKERY)
    return Asked(Workspace(tmp_path / "data", tmp_path / "home"), "bakery", {})


def test_a_verdict_is_kept_changed_and_taken_back(asked: Asked):
    write_review(asked.folder, "How is rye baked?", "approved")
    write_review(asked.folder, "Is it?", "refused")
    write_review(asked.folder, "how is RYE baked", "refused")
    assert read_reviews(asked.folder) == {
        "is it": ("Is it?", "refused"),
        "how is rye baked": ("how is RYE baked", "refused"),
    }
    write_review(asked.folder, "is it", None)
    assert [json.loads(line) for line in (asked.folder / REVIEWS).read_text().splitlines()] == [
        {"query": "how is RYE baked", "verdict": "refused"}
    ]
    with pytest.raises(ValueError, match="approved or refused"):
        write_review(asked.folder, "is it", "perhaps")


def test_refusals_are_a_source_and_approvals_change_nothing(asked: Asked):
    assert refused_questions(asked) == {}
    write_review(asked.folder, "fine", "approved")
    assert refused_questions(asked) == {}
    write_review(asked.folder, "is it", "refused")
    first = refused_questions(asked)[REFUSED_QUESTIONS]
    assert first.value == {"is it"}
    write_review(asked.folder, "fine too", "approved")
    assert refused_questions(asked)[REFUSED_QUESTIONS].digest == first.digest
    write_review(asked.folder, "or what", "refused")
    assert refused_questions(asked)[REFUSED_QUESTIONS].digest != first.digest


@pytest.mark.parametrize(
    ("line", "words"),
    [("{", "not JSON"), ('{"query": " ", "verdict": "refused"}', "'query'"), ('{"query": "a", "verdict": "no"}', "'verdict'")],
)
def test_a_line_that_cannot_be_used_is_named(asked: Asked, line: str, words: str):
    (asked.folder / REVIEWS).write_text(f'{{"query": "a", "verdict": "refused"}}\n{line}\n')
    with pytest.raises(CollectionError, match=rf"{REVIEWS}:2: .*{words}"):
        write_review(asked.folder, "b", "refused")


def test_what_was_refused_is_dropped_with_its_reason(chunks: pl.DataFrame):
    pairs = pl.concat(
        [
            ask(chunks, ("How does it rise?", "bread.md"), ("Is it?", "comet.md", "chess.md")),
            ask(chunks, ("is it", "pump.md"), dropped="too short"),
        ]
    )
    assert drop_refused(pairs, {"is it"})["dropped"].to_list() == [
        None,
        "refused by a person",
        "refused by a person",
        "too short",
    ]
    assert drop_refused(pairs, ())["dropped"].to_list() == [None, None, None, "too short"]


def test_what_was_refused_is_no_yardstick_but_queries_of_people_stay():
    rows = [("a", "Is it?", "", "synthetic", "test"), ("b", "is it", "", "own", "test"), ("c", "how", "", "look-up", "dev")]
    queries = pl.DataFrame(rows, schema=QUERY_SCHEMA, orient="row")
    labels = pl.DataFrame([(name, "x.md", 0, 1, "x", 1) for name in "aabc"], schema=LABEL_SCHEMA, orient="row")
    left, answers = without_refused(queries, labels, {"is it"})
    assert left["query_id"].to_list() == ["b", "c"] == answers["query_id"].to_list()
