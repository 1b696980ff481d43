from collections import Counter

import polars as pl
import pytest

from embed_assets.evaluation.evaluation_set import (
    LABEL_SCHEMA,
    QUERY_SCHEMA,
    current_labels,
    hold_out_queries,
    read_evaluation_set,
    split_of,
)
from embed_assets.evaluation.settings import EvaluationSetSettings
from embed_assets.queries.pairs import OWN_WRITER, TEXT_WRITER

SETTINGS = EvaluationSetSettings(version=1, test_share=0.1, dev_share=0.05)
NAMES = [f"guides/page-{number}.md" for number in range(10_000)]


def test_splits_hit_their_shares():
    counts = Counter(split_of(name, SETTINGS) for name in NAMES)
    assert counts["test"] == pytest.approx(1000, abs=100)
    assert counts["dev"] == pytest.approx(500, abs=75)
    assert counts["train"] == 10_000 - counts["test"] - counts["dev"]


def test_splits_stay_what_they_are():
    """Another hash would silently move documents between training and test."""
    held_out = {name: split_of(name, SETTINGS) for name in NAMES[:36] if split_of(name, SETTINGS) != "train"}
    test = {f"guides/page-{number}.md": "test" for number in (0, 9, 11, 19, 33, 35)}
    assert held_out == test | {"guides/page-32.md": "dev"}


def test_a_larger_test_share_only_adds_test_documents():
    larger = EvaluationSetSettings(version=1, test_share=0.2, dev_share=0.05)
    small = {name for name in NAMES if split_of(name, SETTINGS) == "test"}
    large = {name for name in NAMES if split_of(name, larger) == "test"}
    assert small < large


def test_another_version_draws_other_documents():
    test = {name for name in NAMES if split_of(name, SETTINGS) == "test"}
    other = {name for name in NAMES if split_of(name, EvaluationSetSettings(version=2, test_share=0.1, dev_share=0.05)) == "test"}
    assert len(test & other) == pytest.approx(100, abs=40)


@pytest.mark.parametrize(
    ("shares", "only"), [((0.0, 0.0), {"train"}), ((0.0, 0.9), {"train", "dev"}), ((0.9, 0.0), {"train", "test"})]
)
def test_a_share_of_zero_keeps_a_split_empty(shares, only):
    settings = EvaluationSetSettings(test_share=shares[0], dev_share=shares[1])
    assert {split_of(name, settings) for name in NAMES[:500]} == only


def chunks_of(names: list[str]) -> pl.DataFrame:
    """Two chunks of ten characters for each document."""
    rows = [(name, 10 * i, 10 * i + 10, f"part {i} ...") for name in names for i in range(2)]
    return pl.DataFrame(
        rows, schema={"document_id": pl.String, "start": pl.Int64, "end": pl.Int64, "text": pl.String}, orient="row"
    )


def pairs_of(chunks: pl.DataFrame, writer: str = "writer") -> pl.DataFrame:
    """A question about each chunk."""
    return chunks.select(
        pl.format("q {} {}", "document_id", "start").alias("query_id"),
        pl.format("What does {} say in {}?", "document_id", "text").alias("query"),
        pl.lit("question").alias("style"),
        pl.lit(writer).alias("writer"),
        "document_id",
        "start",
        "end",
    )


def held_out_of(names: list[str], settings: EvaluationSetSettings = SETTINGS) -> tuple[pl.DataFrame, pl.DataFrame]:
    return hold_out_queries(pairs_of(chunks_of(names)), chunks_of(names), settings)


def test_the_queries_of_dev_and_test_documents_are_held_out():
    queries, labels = held_out_of(NAMES[:200])
    assert queries.schema == QUERY_SCHEMA and labels.schema == LABEL_SCHEMA
    expected = {name: split_of(name, SETTINGS) for name in NAMES[:200] if split_of(name, SETTINGS) != "train"}
    assert set(expected.values()) == {"dev", "test"}
    found = queries.join(labels, on="query_id", validate="1:1")
    assert dict(found.select("document_id", "split").iter_rows()) == expected
    assert len(queries) == len(labels) == 2 * len(expected)
    assert queries["source"].unique().to_list() == ["synthetic"] and labels["relevance"].unique().to_list() == [1]
    assert set(found.select("start", "end", "text").iter_rows()) == {(0, 10, "part 0 ..."), (10, 20, "part 1 ...")}


def test_a_new_document_never_moves_another():
    before, _ = held_out_of(NAMES[:200])
    after, _ = held_out_of(NAMES[50:300] + NAMES[:50])
    old = dict(before.select("query_id", "split").iter_rows())
    new = dict(after.select("query_id", "split").iter_rows())
    assert len(new) > len(old) > 0
    assert {query_id: new[query_id] for query_id in old} == old


def test_each_split_is_cut_to_its_limit_whatever_the_order_of_the_pairs():
    settings, chunks = SETTINGS.model_copy(update={"max_queries": 5}), chunks_of(NAMES[:400])
    queries, labels = held_out_of(NAMES[:400], settings)
    assert Counter(queries["split"]) == {"dev": 5, "test": 5}
    assert labels["document_id"].n_unique() == 10, "as many documents as there are"
    assert labels["query_id"].to_list() == queries["query_id"].to_list()
    again, labels_again = hold_out_queries(pairs_of(chunks).reverse(), chunks, settings)
    assert again.equals(queries) and labels_again.equals(labels)


def test_own_pairs_are_held_out_as_a_source_of_their_own():
    chunks, settings = chunks_of(NAMES[:200]), SETTINGS.model_copy(update={"max_queries": 4})
    own = pairs_of(chunks, OWN_WRITER).with_columns(query_id=pl.format("own {}", "query_id"))
    synthetic = pl.concat([pairs_of(chunks, "writer"), pairs_of(chunks, TEXT_WRITER).with_columns(query_id=pl.col("query"))])
    queries, labels = hold_out_queries(pl.concat([synthetic, own]), chunks, settings)
    # The limit holds for each source by itself: many synthetic queries leave room for those of the user.
    assert Counter(queries.select("source", "split").iter_rows()) == {
        ("own", "dev"): 4, ("own", "test"): 4, ("synthetic", "dev"): 4, ("synthetic", "test"): 4,
        ("look-up", "dev"): 4, ("look-up", "test"): 4,
    }  # fmt: skip
    assert all(
        query_id.startswith("own ") == (source == "own") for query_id, source in queries.select("query_id", "source").rows()
    )
    assert sorted(labels["query_id"]) == sorted(queries["query_id"])


def test_neighbours_are_not_held_out_but_an_own_style_of_that_name_is():
    chunks = chunks_of(NAMES[:200])
    pairs = pl.concat([pairs_of(chunks, TEXT_WRITER), pairs_of(chunks, OWN_WRITER).with_columns(query_id=pl.col("query"))])
    queries, _ = hold_out_queries(pairs.with_columns(style=pl.lit("neighbour")), chunks, SETTINGS)
    assert set(queries["source"]) == {"own"}


def test_all_styles_of_a_source_have_the_same_share():
    """Four look-ups by identifier for each chunk, and one by keyword: as many of each are drawn."""
    chunks = chunks_of(NAMES[:200])
    many = [
        pairs_of(chunks, TEXT_WRITER).with_columns(query_id=pl.format("{} {}", "query", pl.lit(i)), style=pl.lit(style))
        for i, style in enumerate(["keyword", *["sentence"] * 4])
    ]
    queries, _ = hold_out_queries(pl.concat(many), chunks, SETTINGS.model_copy(update={"max_queries": 20}))
    assert Counter(queries["style"]) == {"keyword": 20, "sentence": 20} and set(queries["source"]) == {"look-up"}


def test_every_chunk_that_names_the_identifiers_answers_their_look_up():
    test, train = names_of("test")[0], names_of("train")[0]
    texts = [(test, "FAN-7 spins"), (test, "FAN-77 and BUG-1"), (train, "BUG-1: FAN-7 stops"), (train, "FAN-7 is loud")]
    rows = [(name, 10 * i, 10 * i + 10, text, f"Fans > {text}") for i, (name, text) in enumerate(texts)]
    chunks = pl.DataFrame(rows, schema=["document_id", "start", "end", "text", "passage"], orient="row")
    asked = [("q1", "FAN-7 noise", "identifier"), ("q2", "BUG-1 FAN-7", "identifier"), ("q3", "FAN-7 spins", "keyword")]
    pairs = [(name, query, style, TEXT_WRITER, test, 0, 10) for name, query, style in asked]
    columns = ["query_id", "query", "style", "writer", "document_id", "start", "end"]
    _, labels = hold_out_queries(pl.DataFrame(pairs, schema=columns, orient="row"), chunks, SETTINGS, [r"[A-Z]+-\d+"])
    found = labels.group_by("query_id", maintain_order=True).agg("start").rows()
    assert {name: sorted(starts) for name, starts in found} == {"q1": [0, 20, 30], "q2": [0, 20], "q3": [0]}
    assert labels.filter(pl.col("start") == 20)["text"].unique().to_list() == ["BUG-1: FAN-7 stops"]


def test_a_section_of_that_number_does_not_answer_a_look_up_by_a_version():
    test, train = names_of("test")[0], names_of("train")[0]
    texts = [(test, "News\nFans hum with 3.2."), (train, "Manual > 3 Fans > 3.2 Noise\nNone."), (train, "Manual\n3.2 has it.")]
    rows = [(name, 10 * i, 10 * i + 10, passage, passage) for i, (name, passage) in enumerate(texts)]
    chunks = pl.DataFrame(rows, schema=["document_id", "start", "end", "text", "passage"], orient="row")
    pair = {"query_id": "q", "query": "3.2 fans", "style": "identifier", "writer": TEXT_WRITER, "document_id": test}
    _, labels = hold_out_queries(pl.DataFrame([pair | {"start": 0, "end": 10}]), chunks, SETTINGS, [r"\d\.\d"])
    assert labels["document_id"].to_list() == [test]


def names_of(split: str) -> list[str]:
    return [name for name in NAMES[:200] if split_of(name, SETTINGS) == split]


def several_of(*queries: list[str]) -> pl.DataFrame:
    """A query for each list of documents, answered by the first chunk of each of them."""
    rows = [(f"q{i}", f"query {i}", "multi_hop", "writer", name, 0, 10) for i, names in enumerate(queries) for name in names]
    return pl.DataFrame(rows, schema=["query_id", "query", "style", "writer", "document_id", "start", "end"], orient="row")


def test_a_query_of_several_chunks_is_held_out_with_a_label_for_each():
    one, two, dev = *names_of("test")[:2], names_of("dev")[0]
    queries, labels = hold_out_queries(several_of([two, one], [dev], [one]), chunks_of(NAMES[:200]), SETTINGS)
    assert queries.select("query_id", "split").rows() == [("q0", "test"), ("q1", "dev"), ("q2", "test")]
    assert labels.select("query_id", "document_id", "text").rows() == [
        ("q0", one, "part 0 ..."),
        ("q0", two, "part 0 ..."),
        ("q1", dev, "part 0 ..."),
        ("q2", one, "part 0 ..."),
    ]


def test_a_query_whose_chunks_are_in_different_splits_is_not_held_out():
    test, dev, train = (names_of(split)[0] for split in ("test", "dev", "train"))
    queries, labels = hold_out_queries(
        several_of([test, train], [dev, train], [test, dev], [train, test, dev]), chunks_of(NAMES[:200]), SETTINGS
    )
    assert queries.is_empty() and labels.is_empty()


def test_a_query_of_several_chunks_counts_once_towards_the_limit():
    one, two, three = names_of("test")[:3]
    settings = SETTINGS.model_copy(update={"max_queries": 2})
    queries, labels = hold_out_queries(several_of([one, two, three], [one, two], [three]), chunks_of(NAMES[:200]), settings)
    # q1 begins with the document of q0, so that q2 has its turn before.
    assert queries["query_id"].to_list() == ["q0", "q2"] and labels["query_id"].to_list() == ["q0"] * 3 + ["q2"]


def test_no_pair_gives_no_query():
    queries, labels = held_out_of([])
    assert queries.is_empty() and labels.is_empty()
    assert queries.schema == QUERY_SCHEMA and labels.schema == LABEL_SCHEMA


PUMP = "The pump runs dry. Rinse the filter. Close the valve."


@pytest.mark.parametrize(
    ("document", "span"),
    [
        pytest.param(PUMP, (19, 36), id="unchanged"),
        pytest.param("New: read this first. " + PUMP, (41, 58), id="moved down"),
        pytest.param("Rinse the filter. Close the valve.", (0, 17), id="moved up"),
        pytest.param("Rinse the filter. " + PUMP, (37, 54), id="moved down, with a copy above"),
        pytest.param(PUMP.replace("runs dry", "runs") + " Rinse the filter.", (15, 32), id="moved up, with a copy below"),
        pytest.param(PUMP.replace("Close", "Open"), (19, 36), id="another part changed"),
        pytest.param(PUMP.replace("filter", "sieve"), None, id="text is gone"),
        pytest.param(None, None, id="document is gone"),
    ],
)
def test_a_label_follows_its_text(document, span):
    labels = pl.DataFrame([("q1", "pump.md", 19, 36, PUMP[19:36], 1)], schema=LABEL_SCHEMA, orient="row")
    documents = pl.DataFrame(
        [("other.md", "Something else.")] + ([("pump.md", document)] if document else []),
        schema=["document_id", "text"],
        orient="row",
    )
    found = current_labels(labels, documents)
    assert found.schema == LABEL_SCHEMA
    assert found.select("query_id", "start", "end").rows() == ([("q1", *span)] if span else [])
    assert span is None or document[span[0] : span[1]] == "Rinse the filter."


PARAGRAPH = "The fan of the NX-4 stops when the tray is pulled out. Push it back until it clicks, then wait for the green light."


@pytest.mark.parametrize(
    "edited",
    [
        PARAGRAPH.replace("The fan", "Each fan").replace("tray", "fan tray"),
        PARAGRAPH.replace("then wait", "and wait"),
        PARAGRAPH.upper()[:9] + PARAGRAPH[9:],
    ],
)
def test_a_label_whose_text_changed_a_little_is_followed(edited):
    before, after = "# Fans\n\nAbout fans.\n\n", "\n\nNothing else is known about the trays of the NX-4 and its fans.\n"
    labels = pl.DataFrame([("q", "fan.md", 23, 23 + len(PARAGRAPH), PARAGRAPH, 1)], schema=LABEL_SCHEMA, orient="row")
    for filler in ("", "A new chapter stands in front of it all. " * 40):
        document = filler + before + edited + after
        found = current_labels(labels, pl.DataFrame({"document_id": ["fan.md"], "text": [document]}))
        start, end = found.select("start", "end").row(0)
        assert abs(start - document.index(edited)) < 12 and abs(end - document.index(edited) - len(edited)) < 12


def test_only_documents_with_a_labelled_span_are_read(tmp_path):
    """The other ones hold text that is no text: reading it would fail."""
    labels = [("q1", "a.md", 0, 4, "text", 1), ("q2", "b.md", None, None, None, 1), ("q3", "gone.md", None, None, None, 1)]

    def fail(text: str) -> str:
        assert text != "unread", "this document must not be read"
        return text

    documents = pl.LazyFrame({"document_id": ["a.md", "b.md", "c.md"], "text": ["text", "unread", "unread"]})
    documents = documents.with_columns(pl.col("text").map_elements(fail, return_dtype=pl.String))
    found = current_labels(pl.DataFrame(labels, schema=LABEL_SCHEMA, orient="row"), documents)
    assert found["query_id"].to_list() == ["q1", "q2"]


def test_an_old_set_is_read_with_its_look_ups_apart_and_lost_labels_are_counted(tmp_path):
    queries = [("k", "a b c", "keyword", "synthetic", "test"), ("w", "why?", "question", "synthetic", "test")]
    labels = [("k", "a.md", 0, 4, "text", 1), ("w", "a.md", 0, 4, "text", 1), ("w", "gone.md", 0, 4, "text", 1)]
    pl.DataFrame(queries, schema=QUERY_SCHEMA, orient="row").write_parquet(tmp_path / "queries.parquet")
    pl.DataFrame(labels, schema=LABEL_SCHEMA, orient="row").write_parquet(tmp_path / "labels.parquet")
    pl.DataFrame({"document_id": ["a.md"], "text": ["text"]}).write_parquet(tmp_path / "documents.parquet")
    found, current = read_evaluation_set(tmp_path, tmp_path)
    assert found.select("source", "lost_labels").rows() == [("look-up", 0), ("synthetic", 1)] and len(current) == 2


def test_a_label_of_a_whole_document_holds_as_long_as_the_document():
    labels = pl.DataFrame(
        [("q1", "pump.md", None, None, None, 2), ("q1", "gone.md", None, None, None, 1)], schema=LABEL_SCHEMA, orient="row"
    )
    documents = pl.DataFrame({"document_id": ["pump.md"], "text": ["Completely rewritten."]})
    assert current_labels(labels, documents).rows() == [("q1", "pump.md", None, None, None, 2)]
