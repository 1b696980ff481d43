import time

import numpy as np
import polars as pl
import pytest

from embed_assets.corpus.spans import CHUNK_SCHEMA
from embed_assets.evaluation.evaluation_set import LABEL_SCHEMA, QUERY_SCHEMA, hold_out_queries, split_of
from embed_assets.evaluation.settings import EvaluationSetSettings
from embed_assets.training.checks import check_lengths, check_triplets
from embed_assets.training.leaks import ALSO_TRAINED, HELD_OUT_FROM, OF_TEST_DOCUMENT, OF_TEST_QUERY, training_pairs

SETTINGS = EvaluationSetSettings(test_share=0.3, dev_share=0.2)
PAGE = (
    "To replace a fan tray, put on the wrist strap, loosen both captive screws and pull the tray out by its handle. "
    "Wait ten seconds until the blades stand still before you take it out of the chassis. Slide the new tray in until it "
    "clicks, and tighten the screws by hand. The status light turns green within half a minute."
)
FOOTER = "This page was made by the documentation team and may not be copied without permission of the company. "


@pytest.fixture(scope="module")
def names() -> dict[str, list[str]]:
    """Documents of each split."""
    found: dict[str, list[str]] = {"train": [], "dev": [], "test": []}
    for number in range(200):
        found[split_of(f"page-{number}.md", SETTINGS)].append(f"page-{number}.md")
    return found


def chunks_of(texts: dict[str, str]) -> pl.DataFrame:
    rows = [(f"{name}::0", name, 0, len(text), text, text, 1) for name, text in texts.items()]
    return pl.DataFrame(rows, schema=CHUNK_SCHEMA, orient="row")


def pairs_of(*rows: tuple[str, str]) -> pl.DataFrame:
    """Pairs from (query, document); rows of the same query belong together."""
    full = [(f"id of {query}", query, "question", name, 0, 40) for query, name in rows]
    return pl.DataFrame(full, schema=["query_id", "query", "style", "document_id", "start", "end"], orient="row")


def queries_of(*rows: tuple[str, str, str]) -> pl.DataFrame:
    """Evaluation queries from (query, source, split)."""
    full = [(f"t{n}", query, "", source, split) for n, (query, source, split) in enumerate(rows)]
    return pl.DataFrame(full, schema=QUERY_SCHEMA, orient="row")


def reasons_of(left_out: pl.DataFrame) -> dict[str, str]:
    return dict(left_out.select("query", "reason").iter_rows())


def select(encoder, pairs: pl.DataFrame, tested: pl.DataFrame, texts: dict[str, str] | None = None):
    chunks = chunks_of(texts or {name: name for name in pairs["document_id"].unique()})
    return training_pairs(pairs, chunks, tested, encoder, SETTINGS)


def test_pairs_of_test_documents_are_left_out(encoder, names):
    kept, left_out = select(encoder, pairs_of(*((f"question about {split}", names[split][0]) for split in names)), queries_of())
    assert dict(kept.select("query", "split").iter_rows()) == {"question about train": "train", "question about dev": "dev"}
    assert reasons_of(left_out) == {"question about test": OF_TEST_DOCUMENT}


def test_a_query_that_a_test_document_helps_to_answer_is_left_out_with_all_its_rows(encoder, names):
    splits = [("train", "train"), ("train", "test"), ("dev", "test"), ("train", "dev"), ("test", "test")]
    rows = [(f"query {n}", names[split][place]) for n, both in enumerate(splits) for place, split in enumerate(both)]
    kept, left_out = select(encoder, pairs_of(*rows), queries_of())
    assert kept.select("query", "split").rows() == [
        ("query 0", "train"), ("query 0", "train"), ("query 3", "train"), ("query 3", "dev")
    ]  # fmt: skip
    assert left_out["reason"].to_list() == [OF_TEST_DOCUMENT] * 6


def test_where_nothing_is_left_the_error_says_why(encoder, names):
    with pytest.raises(ValueError, match=r"all 1 QA pairs are left out of training \(1 of a test document\): add documents"):
        select(encoder, pairs_of(("question about test", names["test"][0])), queries_of())


def test_a_query_that_equals_a_test_query_is_left_out(encoder, names):
    queries = ["How do I reset PRT-7719?", "how do i reset PRT 7719", "how do I reset PRT-7720?"]
    kept, left_out = select(
        encoder,
        pairs_of(*((query, names["train"][0]) for query in queries)),
        queries_of(("HOW do I reset: PRT-7719", "human", "test")),
    )
    assert kept["query"].to_list() == queries[2:]
    assert left_out.select("reason", "like").unique().rows() == [("equal to a held-out query", "HOW do I reset: PRT-7719")]


def test_a_dev_query_is_not_trained_on_but_stays_a_dev_query(encoder, names):
    pairs = pairs_of(("why is the fan loud", names["dev"][0]), ("Why is the fan loud?", names["train"][0]))
    kept, left_out = select(encoder, pairs, queries_of(("why is the fan loud", "synthetic", "dev")))
    assert kept.select("document_id", "split").rows() == [(names["dev"][0], "dev")]
    assert reasons_of(left_out) == {"Why is the fan loud?": "equal to a held-out query"}


@pytest.mark.parametrize(
    ("query", "is_like"),
    [
        ("How can I replace the fan tray of an SX-48 switch?", True),
        ("replace the fan tray of the SX-48 switch, how do I do that?", True),
        ("How do I replace the fan tray of the SX-24 switch?", False),
        ("How do I replace the fan tray?", False),
        ("Which licence does the SX-48 switch need?", False),
        ("SX-48", False),
        ("SX-48 fan", False),
    ],
)
def test_a_query_that_says_almost_the_same_as_a_test_query_is_left_out(encoder, names, query, is_like):
    tested = queries_of(("How do I replace the fan tray of the SX-48 switch?", "human", "test"))
    pairs = pairs_of((query, names["train"][0]), ("What colour is a poppy?", names["train"][0]))
    kept, left_out = select(encoder, pairs, tested)
    assert reasons_of(left_out) == ({query: "like a held-out query"} if is_like else {}) and len(kept) == 2 - is_like


@pytest.mark.parametrize(
    "query", ["PRT-7719 spooler", "PRT-7719 error message", "reset PRT-7719", "bug PRT-7719", "PRT-7719 PRT-7720"]
)
def test_look_ups_that_share_an_identifier_only_are_no_leak(encoder, names, query):
    kept, _ = select(encoder, pairs_of((query, names["train"][0])), queries_of(("PRT-7719", "own", "test")))
    assert kept["query"].to_list() == [query]


def test_pages_that_copy_a_held_out_document_are_left_out(encoder, names):
    test, dev, (copy, version, longer, part, other) = names["test"][0], names["dev"][0], names["train"][:5]
    texts = {
        test: PAGE,
        copy: PAGE.upper(),
        version: PAGE.replace("half a minute", "40 seconds"),
        longer: PAGE + " " + FOOTER * 3 + PAGE.replace("fan tray", "power supply").replace("screws", "clips"),
        part: PAGE[: len(PAGE) // 2],
        other: "The licence is installed with a file that the vendor sends after the purchase of the switch.",
        dev: "A power supply is replaced while the switch is running, if there are two of them.",
    }
    pairs = pairs_of(*((f"about {name}", name) for name in texts))
    kept, left_out = select(encoder, pairs, queries_of(), texts)
    assert set(kept["document_id"]) == {longer, other, dev}
    like = left_out.filter(pl.col("reason") == "like a held-out document")
    assert set(like.select("document_id", "like").rows()) == {(copy, test), (version, test), (part, test)}


def test_a_copy_of_a_dev_document_is_left_out_of_train_and_of_a_test_document_out_of_dev(encoder, names):
    texts = {names["dev"][0]: PAGE, names["train"][0]: PAGE, names["test"][0]: FOOTER, names["dev"][1]: FOOTER}
    kept, left_out = select(encoder, pairs_of(*((f"about {name}", name) for name in texts)), queries_of(), texts)
    assert kept["document_id"].to_list() == [names["dev"][0]]
    assert left_out.filter(pl.col("reason") != OF_TEST_DOCUMENT).select("split", "like").rows() == [
        ("train", names["dev"][0]), ("dev", names["test"][0])
    ]  # fmt: skip


def test_pages_that_share_boilerplate_alone_stay(encoder, names):
    texts = {
        name: f"{FOOTER} {words} {words.upper()} {name} is described here in words of its own."
        for name, words in zip([names["test"][0], *names["train"][:3]], ["fan", "disk", "licence", "fibre"], strict=True)
    }
    kept, _ = select(encoder, pairs_of(*((f"about {name}", name) for name in texts)), queries_of(), texts)
    assert kept["document_id"].to_list() == names["train"][:3]


def test_documents_with_human_labels_may_be_trained_on(encoder, names):
    pairs = pairs_of(("why is the fan loud", names["train"][0]))
    kept, _ = select(encoder, pairs, queries_of(("noise in the rack", "human", "test")))
    assert len(kept) == 1


def test_every_pair_is_either_kept_or_left_out_with_a_reason(encoder):
    names = [f"page-{number}.md" for number in range(200)]
    tested = queries_of(*((f"Question {n}!", "human", "test") for n in range(20)))
    kept, left_out = select(encoder, pairs_of(*((f"question {n}", name) for n, name in enumerate(names))), tested)
    assert len(kept) + len(left_out) == 200 and not left_out["reason"].has_nulls()
    assert kept["split"].to_list() == [split_of(name, SETTINGS) for name in kept["document_id"]]
    assert set(kept["split"]) == set(HELD_OUT_FROM)
    assert np.isclose(left_out.filter(pl.col("reason") == OF_TEST_DOCUMENT).height, 60, atol=20)


def own_pairs_of(*rows: tuple[str, str], writer: str = "own") -> pl.DataFrame:
    return pairs_of(*rows).with_columns(writer=pl.lit(writer))


def test_a_click_log_keeps_nearly_all_its_pairs():
    """200 queries with 10 clicks each: split by the query, so that only those of the test queries are held out."""
    documents = [f"page-{n}.md" for n in range(3000)]
    queries = [f"question about part {n} of the machine" for n in range(200)]
    rows = [(query, documents[(number * 37 + click * 211) % 3000]) for number, query in enumerate(queries) for click in range(10)]
    pairs, settings = own_pairs_of(*rows), EvaluationSetSettings()
    chunks = chunks_of({name: f"text of {name}" for name in documents})
    tested, labels = hold_out_queries(pairs, chunks, settings)
    kept, left_out = training_pairs(pairs, chunks, tested, RandomEncoder(), settings)
    held_out = tested.filter(pl.col("split") == "test")
    assert labels.group_by("query_id").len()["len"].to_list() == [10] * len(tested)
    assert len(kept) == 2000 - 10 * len(held_out) >= 1700
    assert kept.group_by("query").len()["len"].to_list() == [10] * kept["query"].n_unique()
    assert set(left_out["reason"]) == {OF_TEST_QUERY}


def test_own_pairs_are_split_by_the_query_whatever_the_document(encoder, names):
    splits = {query: split_of(query, SETTINGS) for query in (f"query {n}" for n in range(40))}
    rows = [(query.upper() + "?", names[split][n % 5]) for n, query in enumerate(splits) for split in names]
    kept, left_out = select(encoder, own_pairs_of(*rows), queries_of())
    assert dict(kept.select("query", "split").iter_rows()) == {
        query.upper() + "?": split for query, split in splits.items() if split != "test"
    }
    assert len(kept) % 3 == 0 and set(left_out["reason"]) == {OF_TEST_QUERY}


def test_each_place_of_a_lookup_is_kept_or_left_out_by_itself(encoder, names):
    """A dev place of a query that is trained on elsewhere would choose by what was learnt."""
    places = [("train", "test"), ("dev", "test"), ("train", "dev")]
    rows = [(f"look-up {n}", names[split][n]) for n, splits in enumerate(places) for split in splits]
    kept, left_out = select(encoder, own_pairs_of(*rows, writer="text"), queries_of())
    assert kept.select("query", "split").rows() == [("look-up 0", "train"), ("look-up 1", "dev"), ("look-up 2", "train")]
    assert sorted(left_out["reason"]) == [OF_TEST_DOCUMENT, OF_TEST_DOCUMENT, ALSO_TRAINED]


class RandomEncoder:
    """Unit vectors without meaning."""

    def encode_queries(self, texts):
        vectors = np.random.default_rng(len(texts)).normal(size=(len(texts), 384)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_a_hundred_thousand_pairs_take_seconds():
    words = np.random.default_rng(13).zipf(1.3, size=(10_000, 100)) % 20_000
    texts = {f"page-{n}.md": " ".join(map(str, row)) for n, row in enumerate(words.tolist())}
    pairs = pairs_of(*((f"query {n}", f"page-{n % 10_000}.md") for n in range(100_000)))
    tested = queries_of(*((f"test query {n}", "human", "test") for n in range(1000)))
    started = time.process_time()
    kept, left_out = select(RandomEncoder(), pairs, tested, texts)
    assert time.process_time() - started < 40
    assert len(kept) + len(left_out) == 100_000


def test_a_leak_of_a_document_is_an_error(names):
    """Even one that training_pairs overlooked."""
    texts = {name: name for split in names for name in names[split][:2]}
    queries = queries_of(("a", "synthetic", "test"), ("b", "synthetic", "dev"), ("c", "human", "test"))
    labelled = [("t0", names["test"][0]), ("t1", names["dev"][0]), ("t2", names["train"][0])]
    labels = pl.DataFrame([(i, name, 0, 5, None, 1) for i, name in labelled], schema=LABEL_SCHEMA, orient="row")

    def passes(document: str, split: str) -> bool:
        triplets = pl.DataFrame({"anchor": ["x"], "split": [split], "positive_chunk": [f"{document}::0"], "negative_1": ["n"]})
        findings = check_triplets(triplets, chunks_of(texts), queries, labels, 0)
        return {finding.name: finding.passed for finding in findings}["no_leaked_documents"]

    assert passes(names["train"][0], "train") and passes(names["train"][1], "train") and passes(names["dev"][0], "dev")
    assert not passes(names["dev"][0], "train")
    assert not passes(names["test"][0], "train") and not passes(names["test"][0], "dev")
    # Documents that answer a look-up of another one are no held-out ones.
    answers = [("t0", names["test"][1]), ("t0", names["train"][1])]
    more = pl.DataFrame([(i, name, 0, 5, None, 1) for i, name in answers], schema=LABEL_SCHEMA, orient="row")
    labels = labels.filter(pl.col("query_id") != "t0").vstack(more)
    assert passes(names["train"][1], "train")


def test_random_negatives_are_counted_against_all():
    row = {"anchor": "x", "split": "train", "source": "look-up", "positive_chunk": "c", "negative_1": "n", "negative_2": "m"}
    triplets = pl.DataFrame([row] * 10).with_columns(negative_chunks=pl.lit("a"), negative_documents=pl.lit("b"))
    data = (triplets, chunks_of({"document": "text"}), queries_of(), pl.DataFrame(schema=LABEL_SCHEMA))

    def passes(drawn_at_random: int) -> bool:
        return {found.name: found.passed for found in check_triplets(*data, drawn_at_random)}["hard_negatives_found"]

    assert passes(4) and not passes(5)


def test_cut_passages_are_counted_with_their_prompt_and_special_tokens():
    chunks = pl.concat([chunks_of({"document": "text"})] * 10).with_columns(tokens=pl.Series([30] * 8 + [31, 90]))
    # With two special tokens, 30 fit into 32, and two of ten passages do not.
    assert not check_lengths(chunks, 32, around=2).passed and check_lengths(chunks, 33, around=2).passed
    # A prompt of three tokens takes room too.
    assert not check_lengths(chunks, 33, around=5).passed and check_lengths(chunks, 36, around=5).passed
    message = check_lengths(chunks, 32, around=2).message
    assert "2 of 10 passages are longer than base_model.max_tokens (32), the longest has 92" in message
