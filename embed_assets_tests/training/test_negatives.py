import math
import shutil

import numpy as np
import polars as pl
import pytest

from embed_assets.corpus.spans import CHUNK_SCHEMA
from embed_assets.models.encoders import Encoder
from embed_assets.models.hardware import Compute
from embed_assets.models.rerankers import Reranker, load_cross_encoder
from embed_assets.models.settings import BaseModelSettings
from embed_assets.retrieval.bm25 import Bm25Index
from embed_assets.training import states
from embed_assets.training.negatives import mine_hard_negatives, mine_triplets
from embed_assets.training.settings import NegativesSettings, TrainingSettings

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


@pytest.mark.parametrize("drawn", [1, 4, 8])
def test_of_a_large_corpus_a_draw_is_looked_at_and_more_where_it_is_not_enough(encoder, drawn, monkeypatch):
    monkeypatch.setattr("embed_assets.training.miner.CHUNKS_OF_A_DRAW", drawn)
    chunks, settings = make_chunks(TEXTS), NegativesSettings(per_query=6, top_k=2)
    triplets, _ = mine_hard_negatives(make_pairs(QUESTIONS), chunks, encoder, settings)
    again, _ = mine_hard_negatives(make_pairs(QUESTIONS), chunks, encoder, settings)
    assert again.equals(triplets)
    for (_, document, _), names in zip(QUESTIONS, triplets["negative_chunks"], strict=True):
        assert len(set(names)) == 6 and document not in documents_of(names)
    monkeypatch.undo()
    assert not mine_hard_negatives(make_pairs(QUESTIONS), chunks, encoder, settings)[0].equals(triplets)


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
    with pytest.raises(ValueError, match=r"0 chunks that can be negatives .*: add documents"):
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


def test_hard_ones_count_where_there_are_too_few_negatives(encoder):
    chunks = make_chunks({name: TEXTS[name] for name in ("pump.md", "motor.md")})
    there = len(TEXTS["motor.md"])
    mine_hard_negatives(make_pairs(QUESTIONS[:1]), chunks, encoder, NegativesSettings(per_query=there, top_k=2))
    with pytest.raises(ValueError, match=rf"has {there} chunks .*: set negatives\.per_query to at most {there}$"):
        mine_hard_negatives(make_pairs(QUESTIONS[:1]), chunks, encoder, NegativesSettings(per_query=there + 1))


def test_the_negatives_of_a_query_differ_from_each_other(encoder):
    settings = NegativesSettings(per_query=4, top_k=2)
    triplets, _ = mine_hard_negatives(make_pairs(QUESTIONS), make_chunks(TEXTS), encoder, settings)
    assert triplets["negative_chunks"].list.n_unique().to_list() == [4] * len(QUESTIONS)
    copies = make_chunks({**TEXTS, "copy.md": TEXTS["valve.md"], "another.md": TEXTS["motor.md"]})
    triplets, _ = mine_hard_negatives(make_pairs(QUESTIONS), copies, encoder, NegativesSettings(per_query=4, margin=1.0))
    assert [len(set(texts)) for texts in negatives_of(triplets)] == [4] * len(QUESTIONS)


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


def test_a_query_that_is_labelled_with_every_document_costs_itself_alone(encoder):
    chunks = make_chunks({name: TEXTS[name] for name in ("pump.md", "motor.md")})
    pairs = make_pairs([("pump", "pump.md", 0), ("Pump", "motor.md", 0), QUESTIONS[0]])
    triplets, counts = mine_hard_negatives(pairs, chunks, encoder, NegativesSettings(per_query=1))
    assert triplets["anchor"].to_list() == [QUESTIONS[0][0]] and counts["answered by nearly every chunk"] == 2
    with pytest.raises(ValueError, match="nearly every chunk answers each of the 2 queries, by words or labels"):
        mine_hard_negatives(pairs[:2], chunks, encoder, NegativesSettings(per_query=1))


def test_a_copy_of_another_answer_of_the_query_is_no_negative(encoder):
    texts = {name: TEXTS[name][:1] for name in ("pump.md", "motor.md", "filter.md")}
    chunks = make_chunks({**texts, "copy.md": texts["motor.md"]})
    pairs = make_pairs([("spare things", "pump.md", 0), ("spare things", "motor.md", 0), QUESTIONS[0]])
    triplets, counts = mine_hard_negatives(pairs, chunks, encoder, NegativesSettings(per_query=2))
    assert triplets["anchor"].to_list() == [QUESTIONS[0][0]] and counts["answered by nearly every chunk"] == 2
    triplets, _ = mine_hard_negatives(pairs, chunks, encoder, NegativesSettings(per_query=1))
    assert triplets["negative_chunks"].to_list()[:2] == [["filter.md::0"]] * 2


def test_a_query_of_several_chunks_has_a_triplet_for_each_and_negatives_of_neither(encoder):
    pairs = make_pairs([("why is the pump loud and dry", "pump.md", 0), ("why is the pump loud and dry", "motor.md", 0)])
    pairs = pairs.with_columns(query_id=pl.lit("q"))
    triplets, counts = mine_hard_negatives(pairs, make_chunks(TEXTS), encoder, NegativesSettings(per_query=5))
    assert triplets.select("query_id", "positive_chunk").rows() == [("q", "pump.md::0"), ("q", "motor.md::0")]
    assert not {"pump.md", "motor.md"} & documents_of(name for names in triplets["negative_chunks"] for name in names)
    assert counts["span in no chunk"] == 0


def test_a_passage_that_says_the_same_as_the_positive_is_no_negative(encoder):
    """But one that names another identifier in the same words is, as the entries of a list of error messages are."""
    error = "Error {} is shown on the panel when the float switch of the pump sticks and nobody resets it"
    chunks = make_chunks(
        {
            **TEXTS,
            "error.md": [error.format("E4012")],
            "reworded.md": [error.format("E4012").replace("nobody resets", "no one resets")],
            "other.md": [error.format("E4013")],
        }
    )
    settings = NegativesSettings(per_query=5, margin=1.0)
    pairs = make_pairs([("float switch hangs", "error.md", 0)])
    triplets, _ = mine_hard_negatives(pairs, chunks, encoder, settings)
    assert "reworded.md::0" not in triplets["negative_chunks"][0]
    few = chunks.filter(pl.col("document_id").is_in(["error.md", "reworded.md", "bread.md"]))
    triplets, counts = mine_hard_negatives(pairs, few, encoder, NegativesSettings(per_query=2, top_k=2))
    assert set(triplets["negative_chunks"][0]) == {"bread.md::0", "bread.md::1"} and counts["drawn at random"] == 2
    with pytest.raises(ValueError, match="has 2 chunks"):
        mine_hard_negatives(pairs, few, encoder, NegativesSettings(per_query=3))


def test_identifiers_of_the_collection_tell_passages_apart_too(encoder):
    error = "Fault {} is shown on the panel when the float switch of the pump sticks and nobody resets it"
    chunks = make_chunks({**TEXTS, "fault.md": [error.format("FOOQX")], "other.md": [error.format("BARQX")]})
    settings, pairs = NegativesSettings(per_query=5, margin=1.0), make_pairs([("float switch hangs", "fault.md", 0)])
    for patterns, answers in (((), {"fault.md::0", "other.md::0"}), ((r"\b[A-Z]{3}QX\b",), {"fault.md::0"})):
        triplets, _ = mine_hard_negatives(pairs, chunks, encoder, settings, patterns=patterns)
        assert set(triplets["answers"][0]) == answers


def test_a_page_that_holds_the_positive_or_is_a_part_of_it_is_no_negative(encoder):
    """But one with the same words about another identifier is."""
    part = "Oil the pump with grease every week, or else its seal will wear out within a year and leak."
    rest = "Close the valve by hand before the housing is opened, and let what is left in the pipe run into a bucket."
    whole = f"{part} Look at the float switch, too, and clean it with a dry cloth whenever there is dust on it."
    more = {"whole.md": [whole], "print.md": [f"{whole} {rest} {' '.join(TEXTS['comet.md'])}"], "part.md": [part]}
    more["other.md"] = [f"{whole} {rest} PMP-118 is mended."]
    chunks = make_chunks({**TEXTS, **more, "numbered.md": [whole.replace("year", "year of PMP-119") + rest]})
    pairs = make_pairs([("how often is grease needed", "whole.md", 0)])
    triplets, counts = mine_hard_negatives(pairs, chunks, encoder, NegativesSettings(per_query=5, margin=1.0))
    assert not {"print.md::0", "part.md::0", "other.md::0"} & set(triplets["negative_chunks"][0])
    assert counts["like the positive"] > 0
    for margin in (1.0, 0.95, 0.5):  # nor may they be, in a batch with another query whose passages they are
        triplets, _ = mine_hard_negatives(pairs, chunks, encoder, NegativesSettings(per_query=3, margin=margin))
        assert {"whole.md::0", "print.md::0", "other.md::0"} <= set(triplets["answers"][0])
    few = chunks.filter(pl.col("document_id").is_in(["whole.md", "part.md", "bread.md"]))
    with pytest.raises(ValueError, match="has 2 chunks"):
        mine_hard_negatives(pairs, few, encoder, NegativesSettings(per_query=3))
    about = make_pairs([("which grease does PMP-119 need", "numbered.md", 0)])
    triplets, _ = mine_hard_negatives(about, chunks, encoder, NegativesSettings(per_query=8, margin=1.0))
    assert "other.md::0" in triplets["negative_chunks"][0]


LOOKED_UP = make_chunks(
    {
        "notice.md": ["The fan tray of the ZX-9000 stops after the upgrade."],
        "mention.md": ["Those who upgrade the zx-9000 should read the notice about its fan tray first."],
        "other.md": ["The fan tray of the ZX-9001 runs on after the upgrade."],
        "words.md": ["Trays that stop are replaced, and so is the fan."],
        **{name: TEXTS[name] for name in ("bread.md", "coffee.md", "orchestra.md", "comet.md", "chess.md", "garden.md")},
    }
)


def test_what_names_the_identifier_of_a_lookup_is_no_negative_of_it(encoder):
    settings = NegativesSettings(per_query=5, margin=1.0)
    pairs = make_pairs([("ZX-9000", "notice.md", 0), ("does the ZX-9000 overheat", "notice.md", 0)])
    triplets, _ = mine_hard_negatives(pairs, LOOKED_UP, encoder, settings)
    assert not {"notice.md", "mention.md"} & documents_of(name for names in triplets["negative_chunks"] for name in names)
    assert triplets["answers"].to_list() == [["notice.md::0", "mention.md::0"]] * 2


def test_what_has_every_word_of_a_lookup_is_no_negative_of_it_even_at_random(encoder):
    pairs = make_pairs([("fan stop", "notice.md", 0)])
    for settings in (NegativesSettings(per_query=5, margin=1.0), NegativesSettings(per_query=5, top_k=2)):
        triplets, _ = mine_hard_negatives(pairs, LOOKED_UP, encoder, settings)
        assert "words.md" not in documents_of(triplets["negative_chunks"][0])


def test_a_query_that_nearly_every_chunk_answers_is_left_out(encoder):
    chunks = make_chunks({f"page{n}.md": [f"The ZX-9000 has a part with the number {n}."] for n in range(4)})
    pairs = make_pairs([("ZX-9000", "page0.md", 0), ("spare part three", "page3.md", 0)])
    triplets, counts = mine_hard_negatives(pairs, chunks, encoder, NegativesSettings(per_query=2))
    assert triplets["anchor"].to_list() == ["spare part three"] and counts["answered by nearly every chunk"] == 1
    with pytest.raises(ValueError, match="nearly every chunk answers each of the 1 queries"):
        mine_hard_negatives(pairs[:1], chunks, encoder, NegativesSettings(per_query=2))


def test_the_margin_holds_for_bm25_too(encoder):
    """The encoder finds none of the two like the query; BM25 ranks the longer one below, and the shorter one above."""
    chunks = make_chunks({"right.md": ["qzx " * 3 + "vbn " * 30], "above.md": ["qzx qzx qzx rty"], **TEXTS})
    pairs = make_pairs([("qzx ghj", "right.md", 0)])
    bm25 = Bm25Index(chunks["passage"].to_list(), "en").scores(["qzx ghj"])[0]
    assert bm25[1] > bm25[0] > 0
    for names in mine_hard_negatives(pairs, chunks, encoder, NegativesSettings(per_query=2, margin=1.0))[0]["negative_chunks"]:
        assert "above.md::0" not in names


def test_only_a_sentence_that_was_taken_from_the_text_is_cut_from_it(encoder):
    sentence = "The pump runs dry when the float switch sticks in its lower place."
    rest = "Clean it with warm water and a soft brush, and look after it once a year, or the motor will burn out soon enough."
    chunks = make_chunks({"switch.md": [f"{sentence} {rest}"], **TEXTS})
    pairs = make_pairs([(sentence, "switch.md", 0)]).with_columns(style=pl.lit("sentence"))
    for writer, positive in (("text", rest), ("own", f"{sentence} {rest}")):
        triplets, _ = mine_hard_negatives(
            pairs.with_columns(writer=pl.lit(writer)), chunks, encoder, NegativesSettings(per_query=1)
        )
        assert triplets["positive"][0].strip() == positive
        assert triplets["source"][0] == {"text": "look-up", "own": "own"}[writer]


class TableReranker:
    """The logit of each passage, as written down, whatever the query; -4 where nothing is written."""

    def __init__(self, logits: dict[str, float]):
        self.logits = logits
        self.asked: list[tuple[str, str]] = []

    def score(self, pairs):
        self.asked += pairs
        return np.array([self.logits.get(passage, -4.0) for _, passage in pairs], dtype=np.float32)


def test_what_the_cross_encoder_takes_for_an_answer_is_no_negative(encoder):
    """The positive has a probability of .982: with a margin of .95, .731 is a negative and .953 is an answer."""
    settings, chunks = NegativesSettings(per_query=2), make_chunks(TEXTS)
    before, _ = mine_hard_negatives(make_pairs(QUESTIONS[:1]), chunks, encoder, settings)
    first, second = before["negative_chunks"][0]
    passages = dict(chunks.select("chunk_id", "passage").iter_rows())
    reranker = TableReranker({TEXTS["pump.md"][0]: 4.0, passages[first]: 3.0, passages[second]: 1.0})
    after, counts = mine_hard_negatives(make_pairs(QUESTIONS[:1]), chunks, encoder, settings, reranker)
    negatives = after["negative_chunks"][0].to_list()
    assert first not in negatives and negatives[0] == second and len(negatives) == 2
    assert (counts["answers by the cross-encoder"], counts["drawn at random"]) == (1, 0)
    # The positive, two candidates, and one in place of the first: no more than needed is read.
    assert len(reranker.asked) == 4


def test_random_negatives_stand_in_where_the_cross_encoder_takes_everything_for_an_answer(encoder):
    answers = TableReranker({text: 4.0 for texts in TEXTS.values() for text in texts})
    settings = NegativesSettings(per_query=2, top_k=5)
    triplets, counts = mine_hard_negatives(make_pairs(QUESTIONS), make_chunks(TEXTS), encoder, settings, answers)
    assert triplets["negative_chunks"].list.n_unique().to_list() == [2] * len(QUESTIONS)
    assert counts["drawn at random"] == 2 * len(QUESTIONS) and counts["answers by the cross-encoder"] > 2 * len(QUESTIONS)


def test_a_real_cross_encoder_is_asked(encoder, tmp_path):
    """Its untrained head tells nothing, but its verdicts have to be kept."""
    import torch

    torch.manual_seed(5)
    load_cross_encoder(BaseModelSettings().name, "cpu", 64, new_head=True).save_pretrained(str(tmp_path / "cross-encoder"))
    settings = NegativesSettings(per_query=1, cross_encoder=str(tmp_path / "cross-encoder"), cross_encoder_tokens=64, margin=1.0)
    triplets, counts = mine_triplets(
        make_pairs(QUESTIONS), make_chunks(TEXTS), encoder.settings, settings, tmp_path, tmp_path, Compute(device="cpu")
    )
    reranker = Reranker(settings.cross_encoder, tmp_path, Compute(device="cpu"), 64)
    texts = triplets.select("anchor", "positive", "negative_1").rows()
    positive, negative = (1 / (1 + np.exp(-reranker.score([(row[0], row[i]) for row in texts]))) for i in (1, 2))
    assert counts["answers by the cross-encoder"] > 0
    assert (negative <= positive).sum() >= len(QUESTIONS) - counts["drawn at random"] > 0


@pytest.mark.slow
def test_the_second_round_asks_a_draft_that_learnt_from_the_first(encoder, tmp_path, monkeypatch):
    """A killed run goes on with the draft's training state, and gives the same."""
    monkeypatch.setattr(states, "BYTES_PER_SECOND", math.inf)
    pairs, chunks = make_pairs(QUESTIONS), make_chunks(TEXTS)
    draft = TrainingSettings(epochs=4, batch_size=4, learning_rate=2e-4, warmup_share=0.0)
    once = NegativesSettings(draft=draft)
    twice = once.model_copy(update={"second_round": True})

    def mine(settings, scratch):
        scratch.mkdir(exist_ok=True)
        return mine_triplets(pairs, chunks, encoder.settings, settings, tmp_path / "memos", scratch, Compute(device="cpu"))[0]

    first, second = mine(once, tmp_path / "1"), mine(twice, tmp_path / "2")
    assert first.drop("^negative.*$").equals(second.drop("^negative.*$"))
    assert not first["negative_1"].equals(second["negative_1"])
    tuned = Encoder(encoder.settings, tmp_path, str(tmp_path / "2" / "draft"), Compute(device="cpu"))
    expected, _ = mine_hard_negatives(pairs, chunks, tuned, once)
    assert second.equals(expected)
    saved = list((tmp_path / "2" / "trainer").glob("checkpoint-*"))
    shutil.rmtree(tmp_path / "2" / "draft")
    assert saved and mine(twice, tmp_path / "2").equals(second)
