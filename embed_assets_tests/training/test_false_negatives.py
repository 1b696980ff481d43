import numpy as np
import polars as pl
import pytest

from embed_assets.training.false_negatives import AnswerRules, KnownAnswers

PASSAGES = [
    "Field notice FN-1234\nThe fan of the ZX-9000 fails after an upgrade to 9.3(10).",
    "See FN-1234 for the fan.",
    "Release 9.3(1) mends fn-1234, says the vendor.",
    "FN-12345 is about power supplies.",
    "The fan turns slowly. Reset the board.",
]


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("FN-1234", [0, 1, 2]),  # in capitals or not, in a title or not, but not as a part of another one
        ("FN-1234 zebra", [0, 1, 2]),  # the word beside it does not matter
        ("Is FN-1234 mended in 9.3(10)?", [0]),  # all identifiers
        ("9.3(1)", [2]),
        ("fan reset", [4]),  # every word
        ("the FAN", [0, 1, 4]),
        ("fan zebra", []),
        ("!", []),
    ],
)
def test_a_passage_answers_with_every_identifier_or_every_word(query, rows):
    assert AnswerRules(PASSAGES).answers(query).tolist() == rows


def test_patterns_of_ones_own_say_what_an_identifier_is():
    passages = ["ticket #12 is open", "ticket #123 is closed", "a dozen"]
    assert AnswerRules(passages, [r"#\d+"]).answers("who opened #12").tolist() == [0]
    assert AnswerRules(["...", "!"]).answers("word").tolist() == []


def examples(*rows: tuple) -> pl.DataFrame:
    """Examples from (anchor, positive chunk, negative chunk, answers); the first letter of a chunk is its document."""
    return pl.DataFrame(
        [
            {
                "anchor": anchor,
                "positive": f"text of {positive}",
                "negative_1": f"text of {negative}",
                "positive_chunk": positive,
                "negative_chunks": [negative],
                "positive_document": positive[0],
                "negative_documents": [negative[0]],
                "answers": list(answers),
            }
            for anchor, positive, negative, answers in rows
        ]
    )


def masked(table: pl.DataFrame, batch: list[int] | None = None) -> list[list[int]]:
    """Of each query, which passages do not count; the positives come first, then the negatives."""
    batch = list(range(len(table))) if batch is None else batch
    mask = KnownAnswers(table, 1).mask(np.array(batch), range(len(batch)))
    return [np.flatnonzero(row).tolist() for row in mask]


def test_other_chunks_of_the_document_do_not_count_wherever_they_stand():
    table = examples(("one", "a1", "b1", ()), ("two", "a2", "c1", ()), ("three", "d1", "a3", ()))
    # Passages: a1 a2 d1 | b1 c1 a3.
    assert masked(table) == [[1, 5], [0, 5], []]


def test_a_passage_that_answers_by_its_words_does_not_count():
    table = examples(("FN-1234", "a1", "b1", ("c1",)), ("two", "c1", "d1", ()))
    assert masked(table) == [[1], []]


def test_all_positives_of_a_repeated_query_are_answers_of_each_other():
    table = examples(("Reset it", "a1", "x1", ()), ("reset it!", "b1", "y1", ()), ("other", "c1", "z1", ()))
    assert masked(table)[:2] == [[1], [0]]
    # The other document of the query does not count either.
    table = examples(("reset it", "a1", "x1", ()), ("reset it", "b1", "y1", ()), ("other", "c1", "b2", ()))
    assert masked(table)[0] == [1, 5]


def test_a_passage_that_stands_twice_counts_once_and_ones_own_negative_always():
    table = examples(("one", "a1", "n1", ()), ("two", "b1", "n1", ()), ("three", "c1", "n1", ()))
    # Passages: a1 b1 c1 | n1 n1 n1. Each query has its own n1.
    assert masked(table) == [[4, 5], [3, 5], [3, 4]]
    table = examples(("one", "a1", "n1", ()), ("two", "b1", "m1", ()), ("three", "c1", "m1", ()))
    assert masked(table)[0] == [5]


def test_an_example_that_stands_in_a_batch_twice_is_no_negative_of_itself():
    table = examples(("one", "a1", "n1", ()), ("two", "b1", "m1", ()))
    # Passages: a1 b1 a1 | n1 m1 n1.
    assert masked(table, [0, 1, 0]) == [[2, 5], [2, 5], [0, 3]]


def test_without_ids_texts_are_told_apart():
    table = examples(("one", "a1", "n1", ()), ("two", "a1", "m1", ()), ("three", "c1", "n1", ()))
    assert masked(table.select("anchor", "positive", "negative_1")) == [[1, 5], [0, 5], [1, 3]]


def test_a_copy_of_the_positive_under_another_id_is_no_negative():
    table = examples(("one", "a1", "n1", ()), ("two", "b1", "m1", ())).with_columns(positive=pl.lit("the same text"))
    assert masked(table) == [[1], [0]]
