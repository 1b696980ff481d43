"""The weight of the dense model beside BM25 follows the collection, and never its look-ups."""

import polars as pl
import pytest

from embed_assets.evaluation.checks import check_evaluation_set
from embed_assets.evaluation.hybrid_weight import choose_weights, weight_for_search
from embed_assets.evaluation.labels import deciding_source
from embed_assets.evaluation.runs import Systems
from embed_assets_tests.evaluation.test_scoring import TableEncoder, human_labels, make_chunks, make_queries, ranking, span_labels

PASSAGES = [f"word{number}" for number in range(12)]
CHUNKS = make_chunks(*((passage, 0, 9, passage) for passage in PASSAGES))


def systems(dense_is_right: bool) -> Systems:
    """Query "wordN ?" has the word of passage N; the model prefers passage N, or the one after it by far."""
    similarities = {}
    for number in range(12):
        best = PASSAGES[number if dense_is_right else (number + 1) % 12]
        similarities[f"word{number} ?"] = ranking(best, *(passage for passage in PASSAGES if passage != best))
    return Systems(CHUNKS, {"base": TableEncoder(similarities)}, with_bm25=True)


def dev_queries(source: str, count: int, answer: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Queries with a word of passage N that passage N + answer is right for."""
    texts = {f"{source}{number}": f"word{number % 12} ?" for number in range(count)}
    names = {name: PASSAGES[(number + answer) % 12] for number, name in enumerate(texts)}
    human = source == "human"
    labels = [(name, unit, 1) if human else (name, unit, 0, 9) for name, unit in names.items()]
    return make_queries(source, texts, split="dev"), (human_labels if human else span_labels)(*labels)


def chosen(dense_is_right: bool, *dev: tuple[pl.DataFrame, pl.DataFrame], setting: float | str = "auto"):
    queries, labels = (pl.concat(part) for part in zip(*dev, strict=True))
    return choose_weights(systems(dense_is_right), {"hybrid": "base"}, queries, labels, setting)["hybrid"]


def test_the_model_gets_more_weight_where_words_mislead_and_no_less_than_a_half_by_luck():
    # The passage with the word is wrong, and the model knows the right one.
    assert chosen(False, dev_queries("human", 36, answer=1)).weight > 0.5
    # The word is right, and the model misled. Below one half all are found; at one half all but one document of twelve, which
    # is no more than a standard error.
    found = chosen(False, dev_queries("human", 36, answer=0))
    assert found.weight == 0.5 and found.why == "chosen on 36 human dev queries"


def test_written_questions_may_raise_the_weight_of_the_model_but_not_lower_it():
    # The word is right, and the model takes another passage for the only one: at one half both count the same, and the
    # other one comes first.
    similarities = {f"word{number} ?": {PASSAGES[number - 1]: 1.0} for number in range(12)}
    misled = Systems(CHUNKS, {"base": TableEncoder(similarities)}, with_bm25=True)
    for source, weight in (("human", 0.4), ("own", 0.4), ("synthetic", 0.5)):
        asked = dev_queries(source, 36, answer=0)
        assert choose_weights(misled, {"hybrid": "base"}, *asked, "auto")["hybrid"].weight == weight
    assert chosen(False, dev_queries("synthetic", 36, answer=1)).weight > 0.5


def test_where_all_weights_are_as_good_it_is_one_half():
    assert chosen(True, dev_queries("human", 36, answer=0)).weight == 0.5


def test_written_questions_choose_where_people_are_too_few_and_look_ups_never():
    few, written = dev_queries("human", 4, answer=0), dev_queries("synthetic", 36, answer=1)
    assert chosen(False, few, written).why == "chosen on 36 synthetic dev queries"
    found = chosen(False, few, dev_queries("look-up", 60, answer=0))
    assert (found.weight, found.why) == (0.5, "4 human dev queries are too few to choose by")
    found = chosen(False, dev_queries("look-up", 60, answer=0))
    assert (found.weight, found.why) == (0.5, "there is no dev query to choose by")


def test_a_weight_of_the_settings_is_taken():
    assert chosen(False, dev_queries("human", 36, answer=1), setting=0.2).weight == 0.2


def test_search_fuses_as_it_was_scored():
    summaries = [{"labels": "human"}, {"labels": "synthetic", "hybrid_weights": {"hybrid": {"weight": 0.7, "deviation": 0.1}}}]
    assert weight_for_search(summaries) == (0.7, 0.1) and weight_for_search([]) == (0.5, None)


@pytest.mark.parametrize(
    ("counts", "source"),
    [
        ({"human": 30, "synthetic": 300}, "human"),
        ({"human": 29, "synthetic": 300}, "synthetic"),
        ({"human": 4, "own": 12, "look-up": 300}, "own"),
        ({"look-up": 300}, "look-up"),
        ({}, None),
    ],
)
def test_the_most_trusted_source_with_enough_queries_decides(counts, source):
    assert deciding_source(counts) == source


def test_the_report_says_when_look_ups_alone_cannot_tell():
    lookups = make_queries("look-up", {f"q{number}": "a b c" for number in range(150)})
    enough, tells = check_evaluation_set(lookups)
    assert (enough.name, enough.passed, tells.name, tells.passed) == ("enough_queries", True, "can_tell", False)
    assert tells.message.startswith("cannot tell: the only test queries are look-ups")
    assert all(finding.passed for finding in check_evaluation_set(lookups.with_columns(source=pl.lit("synthetic"))))
