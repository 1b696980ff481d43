import polars as pl
import pytest

from embed_assets.training.examples import draw_examples, mixed, without_common_identifiers
from embed_assets.training.settings import TrainingSettings

TRIPLETS = pl.DataFrame(
    {
        "number": range(15),
        "source": ["synthetic"] * 3 + ["look-up"] * 10 + ["own"] * 2,
        "style": ["question"] * 3 + ["keyword"] * 6 + ["title"] * 4 + ["search"] * 2,
    }
)


@pytest.mark.parametrize(
    ("mix", "at_least", "expected"),
    [
        ({}, 0, {"question": 3, "keyword": 6, "title": 4, "search": 2}),
        # As many look-ups as there are questions; own pairs are not named, and stay.
        ({"synthetic": 0.5, "look-up": 0.5}, 0, {"question": 3, "keyword": 3, "search": 2}),
        ({"synthetic": 1, "look-up": 2}, 0, {"question": 3, "keyword": 6, "search": 2}),
        # Three questions are too few for half of ten: look-ups fill up.
        ({"synthetic": 0.5, "look-up": 0.5}, 10, {"question": 3, "keyword": 6, "title": 1, "search": 2}),
        # A style counts before its source; a share of 0 takes none.
        ({"question": 0.5, "keyword": 0.5, "look-up": 0}, 0, {"question": 3, "keyword": 3, "search": 2}),
        # A source that is not there leaves its share to the others.
        ({"synthetic": 0.3, "own": 0.3, "human": 0.4}, 0, {"question": 2, "search": 2, "keyword": 6, "title": 4}),
        ({"synthetic": 0.5, "look-up": 0.5}, 1000, {"question": 3, "keyword": 6, "title": 4, "search": 2}),
    ],
)
def test_sources_and_styles_have_their_shares(mix, at_least, expected):
    assert dict(mixed(TRIPLETS, mix, at_least).group_by("style").len().iter_rows()) == expected


def test_the_order_of_the_examples_stays():
    shuffled = TRIPLETS.sample(fraction=1, shuffle=True, seed=1)
    found = mixed(shuffled, {"synthetic": 1, "look-up": 1}, 0)["number"].to_list()
    assert found == [number for number in shuffled["number"] if number in found]


def test_a_mix_of_nothing_that_is_there_is_an_error():
    with pytest.raises(ValueError, match=r"training\.mix gives no share .*: name some of keyword, look-up, own, question"):
        mixed(TRIPLETS, {"written": 1}, 0)


NAMED = pl.DataFrame(
    {
        "anchor": ["NOX-1", "NOX-2", "NOX-3", "rare words", "what is NOX-2", "7.3"],
        "source": ["look-up", "look-up", "look-up", "look-up", "synthetic", "own"],
        "style": ["identifier", "identifier", "identifier", "keyword", "identifier_question", "identifier"],
        "answers": [["a"], ["a", "b", "c"], ["a", "b"], list("abcd"), list("abcd"), list("abcd")],
    }
)


def test_look_ups_by_identifiers_that_many_chunks_name_are_not_trained_on():
    assert without_common_identifiers(NAMED, 2)["anchor"].to_list() == ["NOX-1", "NOX-3", "rare words", "what is NOX-2", "7.3"]
    assert without_common_identifiers(NAMED, 1)["anchor"].to_list() == ["NOX-1", "rare words", "what is NOX-2", "7.3"]
    assert without_common_identifiers(NAMED, 3).equals(NAMED) and without_common_identifiers(NAMED, None).equals(NAMED)


def test_where_nothing_else_is_left_they_are():
    alone = NAMED.filter(pl.col("anchor") == "NOX-2")
    assert without_common_identifiers(alone, 2).equals(alone)
    assert without_common_identifiers(NAMED.select("anchor"), 1).height == NAMED.height


def test_the_dev_split_keeps_all_of_them():
    texts = NAMED.with_columns(positive=pl.lit("text"), negative_1=pl.lit("other"))
    both = pl.concat([texts.with_columns(split=pl.lit(split)) for split in ("train", "dev")])
    examples = draw_examples(both, TrainingSettings(hard_negatives=1, identifier_answers=2))
    assert sorted(examples.train["anchor"]) == sorted(set(NAMED["anchor"]) - {"NOX-2"})
    assert sorted(examples.dev["anchor"]) == sorted(NAMED["anchor"])
