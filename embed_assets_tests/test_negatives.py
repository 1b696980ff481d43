import numpy as np
import polars as pl
import pytest

from embed_assets.chunking import CHUNK_SCHEMA
from embed_assets.evaluation_set import QUERY_SCHEMA, split_of
from embed_assets.models.encoders import Encoder
from embed_assets.models.hardware import Compute
from embed_assets.negatives import mine_hard_negatives, training_pairs
from embed_assets.settings import BaseModelSettings, EvaluationSetSettings, NegativesSettings

TEXTS = {
    "pump.md": ["The pump runs dry when the float switch sticks.", "The pump needs new oil after a thousand hours."],
    "motor.md": ["The motor of the pump hums when a phase is missing."],
    "filter.md": ["Rinse the filter of the pump with warm water every month."],
    "valve.md": ["Close the valve before you open the housing of the pump."],
    "printer.md": ["Bug PRT-7719 stops large print jobs after the clock change."],
    "scanner.md": ["Bug SCN-2041 turns every second page of a scan upside down."],
    "bread.md": ["Bread dough rises faster in a warm kitchen.", "Bake the loaf until the crust is brown."],
    "coffee.md": ["Water that is too hot makes the coffee taste bitter."],
    "orchestra.md": ["The orchestra tunes to the oboe before each concert."],
    "comet.md": ["The comet passes the sun once in seventy-six years."],
    "chess.md": ["A pawn that reaches the last rank is promoted to a queen."],
    "garden.md": ["Plant the tulip bulbs in autumn before the first frost."],
}
QUESTIONS = [
    ("why does the pump run dry", "pump.md", 0),
    ("how often does the pump need oil", "pump.md", 1),
    ("humming pump motor", "motor.md", 0),
    ("PRT-7719", "printer.md", 0),
    ("dough does not rise", "bread.md", 0),
    ("coffee tastes bitter", "coffee.md", 0),
    ("when is the comet back", "comet.md", 0),
]


def make_chunks(texts: dict[str, list[str]]) -> pl.DataFrame:
    """One chunk for each sentence; its span starts at 100 times its number."""
    rows = [
        (f"{name}::{i}", name, 100 * i, 100 * i + len(text), text, text, 1)
        for name, parts in texts.items()
        for i, text in enumerate(parts)
    ]
    return pl.DataFrame(rows, schema=CHUNK_SCHEMA, orient="row")


def make_pairs(questions: list[tuple[str, str, int]], split: str = "train") -> pl.DataFrame:
    rows = [(f"q{n}", query, "question", name, 100 * i, 100 * i + 40, split) for n, (query, name, i) in enumerate(questions)]
    return pl.DataFrame(rows, schema=["query_id", "query", "style", "document_id", "start", "end", "split"], orient="row")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Encoder:
    return Encoder(BaseModelSettings(max_tokens=32), tmp_path_factory.mktemp("memos"), compute=Compute(device="cpu"))


def documents_of(chunk_ids) -> set[str]:
    return {chunk_id.partition("::")[0] for chunk_id in chunk_ids}


def negatives_of(triplets: pl.DataFrame) -> list[list[str]]:
    return triplets.select(pl.col("^negative_\\d+$")).rows()


@pytest.mark.parametrize("per_query", [1, 3, 8])
def test_negatives_come_from_other_documents_as_many_as_asked_for(encoder, per_query):
    chunks = make_chunks(TEXTS)
    triplets, counts = mine_hard_negatives(make_pairs(QUESTIONS), chunks, encoder, NegativesSettings(per_query=per_query))
    assert counts["span in no chunk"] == 0
    assert triplets["anchor"].to_list() == [query for query, _, _ in QUESTIONS]
    assert triplets["positive"].to_list() == [TEXTS[name][i] for _, name, i in QUESTIONS]
    assert triplets["positive_chunk"].to_list() == [f"{name}::{i}" for _, name, i in QUESTIONS]
    assert triplets["negative_chunks"].list.len().to_list() == [per_query] * len(QUESTIONS)
    passages = dict(chunks.select("chunk_id", "passage").iter_rows())
    for (_, document, _), names, texts in zip(QUESTIONS, triplets["negative_chunks"], negatives_of(triplets), strict=True):
        assert document not in documents_of(names)
        assert list(texts) == [passages[name] for name in names]


def test_negatives_are_hard(encoder):
    triplets, counts = mine_hard_negatives(make_pairs(QUESTIONS[:1]), make_chunks(TEXTS), encoder, NegativesSettings(per_query=3))
    assert counts["drawn at random"] == 0
    assert documents_of(triplets["negative_chunks"][0]) == {"motor.md", "filter.md", "valve.md"}


@pytest.mark.parametrize("margin", [0.95, 0.6, 0.3])
def test_mined_negatives_respect_the_margin(encoder, margin):
    chunks, settings = make_chunks(TEXTS), NegativesSettings(margin=margin)
    triplets, counts = mine_hard_negatives(make_pairs(QUESTIONS), chunks, encoder, settings)
    queries, positives, negatives = (
        vectors(triplets[column].to_list())
        for vectors, column in (
            (encoder.encode_queries, "anchor"),
            (encoder.encode_passages, "positive"),
            (encoder.encode_passages, "negative_1"),
        )
    )
    of_positive, of_negative = (queries * positives).sum(axis=1), (queries * negatives).sum(axis=1)
    assert counts["drawn at random"] == 0
    assert (of_negative <= margin * of_positive + 1e-6).all()
    # The hardest that the margin allows are not far below it: a smaller margin gives easier negatives.
    easier, _ = mine_hard_negatives(make_pairs(QUESTIONS), chunks, encoder, NegativesSettings(margin=0.1))
    assert of_negative.mean() > (queries * encoder.encode_passages(easier["negative_1"].to_list())).sum(axis=1).mean()


def test_a_query_with_two_answers_has_neither_as_a_negative(encoder):
    pairs = make_pairs([("why does the pump run dry", "pump.md", 0), ("Why does the PUMP run dry?", "motor.md", 0)])
    triplets, _ = mine_hard_negatives(pairs, make_chunks(TEXTS), encoder, NegativesSettings(per_query=5))
    assert len(triplets) == 2
    for names in triplets["negative_chunks"]:
        assert not documents_of(names) & {"pump.md", "motor.md"}


def test_a_copy_of_the_positive_is_no_negative(encoder):
    chunks = make_chunks({**TEXTS, "copy.md": TEXTS["pump.md"]})
    triplets, _ = mine_hard_negatives(make_pairs(QUESTIONS[:1]), chunks, encoder, NegativesSettings(per_query=5, margin=1.0))
    assert triplets["positive"][0] not in negatives_of(triplets)[0]


def test_a_copy_of_the_positive_is_no_random_negative_either(encoder):
    chunks = make_chunks({"pump.md": TEXTS["pump.md"][:1], "copy.md": TEXTS["pump.md"][:1]})
    with pytest.raises(ValueError, match="0 chunks that can be negatives"):
        mine_hard_negatives(make_pairs(QUESTIONS[:1]), chunks, encoder, NegativesSettings())


def test_too_few_hard_negatives_are_filled_up_with_easy_ones(encoder):
    chunks = make_chunks(TEXTS)
    settings = NegativesSettings(per_query=4, top_k=2)
    triplets, counts = mine_hard_negatives(make_pairs(QUESTIONS), chunks, encoder, settings)
    assert counts["drawn at random"] >= 2 * len(QUESTIONS)
    for (_, document, _), names in zip(QUESTIONS, triplets["negative_chunks"], strict=True):
        assert len(names) == 4 and document not in documents_of(names)
    again, _ = mine_hard_negatives(make_pairs(QUESTIONS), chunks, encoder, settings)
    assert again.equals(triplets)


def test_the_negatives_of_a_query_differ_from_each_other(encoder):
    settings = NegativesSettings(per_query=4, top_k=2)
    triplets, _ = mine_hard_negatives(make_pairs(QUESTIONS), make_chunks(TEXTS), encoder, settings)
    assert triplets["negative_chunks"].list.n_unique().to_list() == [4] * len(QUESTIONS)


def test_pairs_whose_span_is_in_no_chunk_are_counted_and_left_out(encoder):
    pairs = make_pairs([QUESTIONS[0], ("lost", "pump.md", 7), ("gone", "gone.md", 0)])
    triplets, counts = mine_hard_negatives(pairs, make_chunks(TEXTS), encoder, NegativesSettings())
    assert triplets["query_id"].to_list() == ["q0"]
    assert counts["span in no chunk"] == 2


def test_the_positive_is_the_chunk_that_covers_most_of_the_span(encoder):
    pairs = pl.DataFrame(
        {
            "query_id": ["q"],
            "query": ["oil"],
            "style": ["question"],
            "document_id": ["pump.md"],
            "start": [40],
            "end": [140],
            "split": ["dev"],
        }
    )
    triplets, _ = mine_hard_negatives(pairs, make_chunks(TEXTS), encoder, NegativesSettings())
    assert triplets.select("positive_chunk", "split", "style").rows() == [("pump.md::1", "dev", "question")]


def test_a_single_document_has_no_negatives(encoder):
    with pytest.raises(ValueError, match="at least two"):
        mine_hard_negatives(make_pairs(QUESTIONS[:2]), make_chunks({"pump.md": TEXTS["pump.md"]}), encoder, NegativesSettings())


def test_a_query_that_is_labelled_with_every_document_has_no_negatives(encoder):
    pairs = make_pairs([("pump", "pump.md", 0), ("Pump", "motor.md", 0)])
    with pytest.raises(ValueError, match="0 chunks that can be negatives"):
        mine_hard_negatives(
            pairs, make_chunks({name: TEXTS[name] for name in ("pump.md", "motor.md")}), encoder, NegativesSettings()
        )


SETTINGS = EvaluationSetSettings(test_share=0.3, dev_share=0.2)


@pytest.fixture
def document_of() -> dict[str, str]:
    """A document of each split."""
    return {split_of(name, SETTINGS): name for name in (f"page-{number}.md" for number in range(50))}


def test_pairs_of_test_documents_are_left_out(document_of):
    pairs = make_pairs([(f"question about {split}", name, 0) for split, name in document_of.items()]).drop("split")
    kept, left_out = training_pairs(pairs, pl.DataFrame(schema=QUERY_SCHEMA), SETTINGS)
    assert sorted(kept.select("query", "document_id", "split").rows()) == [
        ("question about dev", document_of["dev"], "dev"),
        ("question about train", document_of["train"], "train"),
    ]
    assert left_out == {"of test documents": 1, "equal to a test query": 0}


def test_a_query_that_a_test_document_helps_to_answer_is_left_out_with_all_its_rows(document_of):
    splits = [("train", "train"), ("train", "test"), ("dev", "test"), ("train", "dev"), ("test", "test")]
    pairs = make_pairs([(f"query {n}", document_of[split], n) for n, both in enumerate(splits) for split in both]).drop("split")
    pairs = pairs.with_columns(query_id=pl.col("query"))
    kept, left_out = training_pairs(pairs, pl.DataFrame(schema=QUERY_SCHEMA), SETTINGS)
    assert kept.select("query", "split").rows() == [
        ("query 0", "train"), ("query 0", "train"), ("query 3", "train"), ("query 3", "dev")
    ]  # fmt: skip
    assert left_out == {"of test documents": 6, "equal to a test query": 0}


def test_the_user_s_own_test_queries_are_not_trained_on_in_any_other_form(document_of):
    """The same query may be written about another document, or stand there as a look-up."""
    pairs = make_pairs([("PRT-7719", document_of["train"], 0), ("PRT-7720", document_of["train"], 0)]).drop("split")
    tested = pl.DataFrame([("t1", "prt 7719", "own", "own", "test")], schema=QUERY_SCHEMA, orient="row")
    kept, left_out = training_pairs(pairs, tested, SETTINGS)
    assert kept["query"].to_list() == ["PRT-7720"] and left_out == {"of test documents": 0, "equal to a test query": 1}


def test_a_query_of_several_chunks_has_a_triplet_for_each_and_negatives_of_neither(encoder):
    pairs = make_pairs([("why is the pump loud and dry", "pump.md", 0), ("why is the pump loud and dry", "motor.md", 0)])
    pairs = pairs.with_columns(query_id=pl.lit("q"))
    triplets, counts = mine_hard_negatives(pairs, make_chunks(TEXTS), encoder, NegativesSettings(per_query=5))
    assert triplets.select("query_id", "positive_chunk").rows() == [("q", "pump.md::0"), ("q", "motor.md::0")]
    assert not {"pump.md", "motor.md"} & documents_of(name for names in triplets["negative_chunks"] for name in names)
    assert counts["span in no chunk"] == 0


def test_pairs_whose_query_is_a_test_query_are_left_out(document_of):
    queries = ["How do I reset PRT-7719?", "how do i reset PRT 7719", "how do I reset PRT-7720?", "only tuned on"]
    pairs = make_pairs([(query, document_of["train"], 0) for query in queries]).drop("split")
    tested = pl.DataFrame(
        [("t1", "HOW do I reset: PRT-7719", "", "human", "test"), ("d1", "only tuned on", "", "synthetic", "dev")],
        schema=QUERY_SCHEMA,
        orient="row",
    )
    kept, left_out = training_pairs(pairs, tested, SETTINGS)
    assert kept["query"].to_list() == queries[2:]
    assert left_out == {"of test documents": 0, "equal to a test query": 2}


def test_every_pair_is_either_kept_or_counted(document_of):
    names = [f"page-{number}.md" for number in range(200)]
    pairs = make_pairs([(f"question {number}", name, 0) for number, name in enumerate(names)]).drop("split")
    tested = pl.DataFrame(
        [(f"t{n}", f"Question {n}!", "", "human", "test") for n in range(20)], schema=QUERY_SCHEMA, orient="row"
    )
    kept, left_out = training_pairs(pairs, tested, SETTINGS)
    assert len(kept) + sum(left_out.values()) == 200
    assert set(kept["split"]) == {"train", "dev"}
    assert kept["split"].to_list() == [split_of(name, SETTINGS) for name in kept["document_id"]]
    assert np.isclose(left_out["of test documents"], 60, atol=20)
