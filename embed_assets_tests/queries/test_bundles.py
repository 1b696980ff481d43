"""Which chunks are shown together."""

import polars as pl
import pytest

from embed_assets.corpus.documents import Document
from embed_assets.queries.bundles import Bundles, _turned
from embed_assets.queries.settings import QuestionsSettings

ROOT = (
    Document(
        "guide/start.md", "Start", "# Start\n\nBegin with [the oven](oven.md#heat) and see error PRT-7719 before anything else."
    ),
    Document("guide/oven.md", "Oven", "# Oven\n\nHeat the deck for forty minutes until the stone is hot all through."),
    Document("notes.md", "Notes", "# Notes\n\nRelease 3.8.1 repairs PRT-7719, which stopped the printer at midnight."),
    Document("birds.md", "Birds", "# Birds\n\nHerons stand in the shallow water and wait for fish all the morning."),
    Document("begin.md", "Begin", "# Begin\n\nWhat to begin with, and which error is seen before anything else is done."),
)


@pytest.fixture
def chunks(cut) -> pl.DataFrame:
    return cut(ROOT, max_tokens=64)


def beside_start(chunks, encoder, *ways: str, bundle: int = 2) -> list[str]:
    settings = QuestionsSettings(bundle_by=ways, hops={bundle: 1})
    row = chunks["document_id"].to_list().index("guide/start.md")
    found = Bundles(chunks, [True] * len(chunks), encoder, settings).around(row)
    return chunks["document_id"].gather(found).to_list()


def test_chunks_belong_together_by_identifiers_links_or_meaning(chunks, encoder):
    assert beside_start(chunks, encoder, "identifier") == ["notes.md"]
    assert beside_start(chunks, encoder, "link") == ["guide/oven.md"]
    assert beside_start(chunks, encoder, "similar") == ["begin.md"]
    assert beside_start(chunks, encoder, "document") == []


def test_ways_take_turns_and_one_that_finds_nothing_is_passed_over(chunks, encoder):
    found = beside_start(chunks, encoder, "identifier", "link", "document", "similar", bundle=4)
    assert sorted(found) == ["begin.md", "guide/oven.md", "notes.md"]
    assert len(beside_start(chunks, encoder, "identifier", "link", bundle=5)) == 2


def test_each_way_is_first_for_about_as_many_passages():
    first = [_turned(("identifier", "link", "similar"), f"Passage {number}")[0] for number in range(600)]
    assert all(150 < first.count(way) < 250 for way in ("identifier", "link", "similar"))
    assert _turned(("a", "b"), "x") in (["a", "b"], ["b", "a"])


def test_what_says_nothing_is_not_shown(chunks, encoder):
    row = chunks["document_id"].to_list().index("guide/start.md")
    settings = QuestionsSettings(bundle_by=("identifier",))
    assert Bundles(chunks, [False] * len(chunks), encoder, settings).around(row) == ()
