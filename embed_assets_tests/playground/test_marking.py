"""Where a passage has the words and identifiers of a query."""

import pytest

from embed_assets.playground.marking import Segment, excerpt, mark


def marked(text: str, query: str, language: str = "en") -> list[tuple[str, str]]:
    segments = mark(text, query, language)
    assert "".join(segment.text for segment in segments) == text
    return [(segment.text, segment.kind) for segment in segments if segment.kind]


def test_words_match_as_bm25_takes_them():
    assert marked("Reloading the switches reloads all.", "reload a switch") == [
        ("Reloading", "word"),
        ("switches", "word"),
        ("reloads", "word"),
    ]
    assert marked("The switch is on.", "the of") == []


def test_identifiers_match_as_a_whole_and_words_of_others_as_words():
    assert marked("Bug NOX-482 is not NOX-4821.", "nox-482 or NOX-482") == [
        ("NOX-482", "identifier"),
        ("NOX", "word"),
    ]
    assert marked("It is version 3.9.2 or 3.9.20.", "3.9.2") == [("3.9.2", "identifier")]
    own = mark("Open gate alpha-red.", "alpha-red", "en", (r"\balpha-[a-z]+\b",))
    assert own == [Segment("Open gate ", ""), Segment("alpha-red", "identifier"), Segment(".", "")]


@pytest.mark.parametrize(
    ("text", "query", "language", "found"),
    [
        ("路由器重启后时钟会重置。", "重启", "zh", ["重启"]),
        ("サーバーを再起動します。", "サーバー", "ja", ["サーバー"]),
        ("Die Größe der Maße zählt.", "größe", "de", ["Größe"]),
        ("ﬁlter ﬁles", "filter", "en", ["ﬁlter"]),
        ("Straße", "STRASSE", "de", ["Straße"]),
    ],
)
def test_scripts_and_letters_that_change_their_length(text: str, query: str, language: str, found: list[str]):
    assert [part for part, _ in marked(text, query, language)] == found


def test_an_excerpt_begins_near_the_matches_and_cuts_no_word():
    text = "alpha " * 100 + "the pump leaks " + "omega " * 100
    segments = mark(text, "pump leaks", "en")
    short = excerpt(segments, 120)
    shown = "".join(segment.text for segment in short)
    assert "pump leaks" in shown and len(shown) <= 130
    assert shown.startswith("… ") and shown.endswith(" …")
    assert set(shown.split()) == {"…", "alpha", "the", "pump", "leaks", "omega"}


def test_a_short_text_is_its_own_excerpt_and_no_markup_is_made():
    segments = mark("<b>pump</b>", "pump", "en")
    assert excerpt(segments) is segments
    assert segments == [Segment("<b>", ""), Segment("pump", "word"), Segment("</b>", "")]
