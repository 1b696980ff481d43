"""Charts that the Dagster UI shows without a click."""

import urllib.parse
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from embed_assets.artifacts.store import REPORT
from embed_assets.defs.stage_asset import small_pictures
from embed_assets.reports.small_charts import SHOWN_AT_ONCE, Bar, write_bars

SVG = "{http://www.w3.org/2000/svg}"
SYSTEMS = ("base", "tuned", "bm25", "hybrid_base", "hybrid", "late")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / REPORT).mkdir()
    return tmp_path


def drawn(folder: Path) -> ElementTree.Element:
    """The picture in the entry of the metadata, which is short enough and one word to Markdown."""
    (entry,) = small_pictures(folder / REPORT).values()
    assert len(entry.value) <= SHOWN_AT_ONCE
    address = entry.value.removeprefix("![scores](").removesuffix(")")
    assert not set(address) & set(' <>()"\n')
    return ElementTree.fromstring(urllib.parse.unquote(address.removeprefix("data:image/svg+xml,")))


def texts(svg: ElementTree.Element) -> list[str | None]:
    return [text.text for text in svg.iter(f"{SVG}text")]


def test_all_systems_of_a_usual_run_are_shown_at_once(folder: Path):
    write_bars(
        folder, "scores", [Bar(name, 0.5, (0.25, 1.0)) for name in SYSTEMS], "ndcg@10 of 1,737 synthetic queries, lines: 95%"
    )
    svg = drawn(folder)
    assert texts(svg) == [*(f"{name} .500" for name in SYSTEMS), "ndcg@10 of 1,737 synthetic queries, lines: 95%"]
    bars, intervals = (path.get("d", "") for path in svg.iter(f"{SVG}path"))
    assert bars.startswith("M150,3h155v12h-155z") and intervals.startswith("M228,9H460")
    assert bars.count("z") == intervals.count("H") == 6


def test_where_not_all_fit_the_picture_says_how_many_are_missing(folder: Path):
    write_bars(folder, "scores", [Bar(f"tuned_{number}", 0.5, (0.4, 0.6)) for number in range(30)], "of <many> & more")
    *shown, caption = texts(drawn(folder))
    assert 5 <= len(shown) < 12 and caption == f"of <many> & more, {30 - len(shown)} more not shown"


def test_nothing_is_drawn_of_nothing(folder: Path):
    write_bars(folder, "scores", [], "nothing")
    assert small_pictures(folder / REPORT) == {}


def test_a_bar_may_have_no_interval_and_a_long_name(folder: Path):
    write_bars(folder, "scores", [Bar("a-style-of-ones-own-with-a-name", 1.0)], "kept")
    svg = drawn(folder)
    assert texts(svg) == ["a-style-of-ones- 1.000", "kept"] and [path.get("d") for path in svg.iter(f"{SVG}path")][1] == ""
