import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from embed_assets.artifacts.workspace import CollectionError
from embed_assets.corpus.beir import KnownIds
from embed_assets.corpus.spans import CHUNK_SCHEMA
from embed_assets.models.encoders import Encoder
from embed_assets.models.hardware import Compute
from embed_assets.models.settings import BaseModelSettings
from embed_assets.queries.own_pairs import own_pairs_digest, read_own_pairs
from embed_assets.queries.pairs import PAIR_SCHEMA, make_pairs

TEXTS = {
    "pump.md": [
        "The pump runs dry when the float switch sticks.",
        "The pump needs new oil after a thousand hours.",
        "Bug PMP-118 shows a wrong pressure at noon.",
    ],
    "motor.md": ["The motor of the pump hums when a phase is missing."],
    "filter.md": ["Rinse the filter of the pump with warm water every month."],
    "valve.md": ["Close the valve before you open the housing of the pump."],
    "printer.md": ["Bug PRT-7719 stops large print jobs after the clock change.", "Paper jams are cleared from the rear door."],
    "scanner.md": ["Bug SCN-2041 turns every second page of a scan upside down."],
    "bread.md": ["Bread dough rises faster in a warm kitchen.", "Bake the loaf until the crust is brown."],
    "coffee.md": ["Water that is too hot makes the coffee taste bitter."],
    "orchestra.md": ["The orchestra tunes to the oboe before each concert."],
    "comet.md": ["The comet passes the sun once in seventy-six years."],
    "chess.md": ["A pawn that reaches the last rank is promoted to a queen."],
    "garden.md": ["Plant the tulip bulbs in autumn before the first frost."],
}
DOCUMENTS = pl.DataFrame(
    {"document_id": list(TEXTS), "title": [""] * len(TEXTS), "text": ["\n\n".join(parts) for parts in TEXTS.values()]}
)
QUERIES = [
    {"_id": "q1", "text": "humming motor", "metadata": {"style": "problem"}},
    {"_id": "q2", "text": "coffee tastes bitter"},
    {"_id": "q3", "text": "when is the comet back?"},
]
NO_ENCODER: Any = None


def make_chunks() -> pl.DataFrame:
    """One chunk for each sentence."""
    rows = []
    for name, parts in TEXTS.items():
        start = 0
        for number, text in enumerate(parts):
            rows.append((f"{name}::{number}", name, start, start + len(text), text, text, 1))
            start += len(text) + 2
    return pl.DataFrame(rows, schema=CHUNK_SCHEMA, orient="row")


CHUNKS = make_chunks()


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Encoder:
    return Encoder(BaseModelSettings(max_tokens=32), tmp_path_factory.mktemp("memos"), compute=Compute(device="cpu"))


def write_jsonl(path: Path, rows: list[dict | str]) -> None:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8")


def write_qrels(folder: Path, split: str, *labels: str) -> None:
    (folder / "qrels").mkdir(exist_ok=True)
    lines = ["query-id corpus-id score", *labels]
    (folder / "qrels" / f"{split}.tsv").write_text("".join(line.replace(" ", "\t") + "\n" for line in lines))


def read(folder: Path, encoder: Encoder = NO_ENCODER) -> tuple[list[tuple], list[str]]:
    """Query, style and text of the chunk of each pair, and the notes."""
    pairs, notes = read_own_pairs(folder, DOCUMENTS, CHUNKS, encoder)
    assert pairs.schema == PAIR_SCHEMA
    found = pairs.join(CHUNKS, on=["document_id", "start", "end"], how="left", maintain_order="left")
    return found.select("query", "style", "text").rows(), notes


def read_jsonl_pairs(folder: Path, *pairs: dict | str, encoder: Encoder = NO_ENCODER) -> tuple[list[tuple], list[str]]:
    write_jsonl(folder / "pairs.jsonl", list(pairs))
    return read(folder, encoder)


def test_a_collection_without_own_pairs_has_none(tmp_path):
    assert read(tmp_path) == ([], [])
    assert own_pairs_digest(tmp_path) is None


def test_test_labels_alone_are_no_own_pairs(tmp_path):
    write_jsonl(tmp_path / "queries.jsonl", QUERIES)
    write_qrels(tmp_path, "test", "q1 motor.md 1")
    assert read(tmp_path) == ([], [])
    assert own_pairs_digest(tmp_path) is None


def test_a_row_is_what_make_pairs_makes(tmp_path):
    write_jsonl(tmp_path / "pairs.jsonl", [{"query": " humming motor ", "document_id": "motor.md"}])
    pairs, notes = read_own_pairs(tmp_path, DOCUMENTS, CHUNKS, NO_ENCODER)
    chunk = CHUNKS.row(by_predicate=pl.col("document_id") == "motor.md", named=True)
    assert pairs.rows(named=True) == make_pairs("humming motor", "own", [chunk], "own")
    assert pairs["writer"].to_list() == ["own"] and notes == []


@pytest.mark.parametrize(
    ("place", "text"),
    [
        pytest.param({"start": 49, "end": 95}, TEXTS["pump.md"][1], id="span"),
        pytest.param({"start": 40, "end": 70}, TEXTS["pump.md"][1], id="span over two chunks"),
        pytest.param({"start": 0, "end": 140}, TEXTS["pump.md"][0], id="span of the document"),
        pytest.param({"start": 49.0, "end": 95.0}, TEXTS["pump.md"][1], id="whole numbers as pandas writes them"),
        pytest.param({"passage": "after a thousand hours"}, TEXTS["pump.md"][1], id="passage"),
        pytest.param({"passage": " Bug\nPMP-118  shows\ta wrong\u00a0pressure"}, TEXTS["pump.md"][2], id="other white space"),
        pytest.param({"passage": "thousand hours. Bug PMP-118 shows a wrong"}, TEXTS["pump.md"][2], id="passage over two chunks"),
        pytest.param({"passage": "needs **new oil** after [a thousand](hours.md) hours"}, TEXTS["pump.md"][1], id="marked up"),
        pytest.param({"passage": "new oil", "start": 64, "end": 71}, TEXTS["pump.md"][1], id="span and passage"),
        pytest.param({"passage": float("nan"), "style": float("nan"), "start": 49, "end": 95}, TEXTS["pump.md"][1], id="NaN"),
    ],
)
def test_a_span_or_a_passage_gets_the_chunk_that_covers_most_of_it(tmp_path, place, text):
    pairs, notes = read_jsonl_pairs(tmp_path, {"query": "pump", "document_id": "pump.md", **place})
    assert pairs == [("pump", "own", text)] and notes == []


@pytest.mark.parametrize(("start", "end"), [(65, 72), (3, 10), (900, 907)])
def test_a_passage_that_stands_elsewhere_than_its_span_is_looked_for_and_told(tmp_path, start, end):
    pair = {"query": "pump", "document_id": "pump.md", "passage": "new oil", "start": start, "end": end}
    pairs, notes = read_jsonl_pairs(tmp_path, pair)
    assert pairs == [("pump", "own", TEXTS["pump.md"][1])]
    assert len(notes) == 1 and "1 passages do not stand where 'start' and 'end' say, such as " in notes[0]
    pairs, notes = read_jsonl_pairs(tmp_path, GOOD, pair | {"passage": "no such words in it"})
    assert [query for query, _, _ in pairs] == ["check mate"] and "do not occur in their documents any more" in notes[0]


def test_queries_without_words_are_told_apart(tmp_path):
    pairs, notes = read_jsonl_pairs(
        tmp_path, *({"query": query, "document_id": "chess.md"} for query in ("=>", "🔥", "🔥 ", "what is ==", "what is ==="))
    )
    assert [query for query, _, _ in pairs] == ["=>", "🔥", "what is ==", "what is ==="]
    assert notes == ["1 pairs repeat the query and the chunk of another one"]


def test_the_first_of_several_places_of_a_passage_counts(tmp_path):
    pairs, _ = read_jsonl_pairs(tmp_path, {"query": "pump", "document_id": "pump.md", "passage": "The pump"})
    assert pairs == [("pump", "own", TEXTS["pump.md"][0])]


QUESTIONS = [
    ("how often do I change the lubricant", "pump.md", 1),
    ("the machine has no water because a part is jammed", "pump.md", 0),
    ("PMP-118", "pump.md", 2),
    ("sheet stuck inside", "printer.md", 1),
    ("PRT-7719", "printer.md", 0),
    ("how long does it stay in the oven", "bread.md", 1),
    ("yeast needs heat", "bread.md", 0),
    ("tuning the oboe", "orchestra.md", 0),
]


def test_without_a_span_the_chunk_that_answers_best_is_chosen_in_one_call(tmp_path, encoder, monkeypatch):
    asked, encode_queries = [], encoder.encode_queries
    monkeypatch.setattr(encoder, "encode_queries", lambda texts: asked.append(len(texts)) or encode_queries(texts))
    pairs, notes = read_jsonl_pairs(
        tmp_path, *({"query": query, "document_id": name} for query, name, _ in QUESTIONS), encoder=encoder
    )
    assert pairs == [(query, "own", TEXTS[name][number]) for query, name, number in QUESTIONS]
    assert asked == [7] and notes == []


def test_the_choice_does_not_depend_on_the_other_pairs(tmp_path, encoder):
    for query, name, number in QUESTIONS:
        pairs, _ = read_jsonl_pairs(tmp_path, {"query": query, "document_id": name}, encoder=encoder)
        assert pairs == [(query, "own", TEXTS[name][number])]


def test_a_query_without_any_term_gets_a_chunk_too(tmp_path, encoder):
    pairs, _ = read_jsonl_pairs(tmp_path, {"query": "???", "document_id": "bread.md"}, encoder=encoder)
    assert len(pairs) == 1 and pairs[0][2] in TEXTS["bread.md"]


def test_optional_columns_may_be_null_or_blank(tmp_path):
    empty = {"start": None, "end": None, "passage": "", "style": " "}
    pairs, notes = read_jsonl_pairs(tmp_path, {"query": "brew", "document_id": "coffee.md", **empty})
    assert pairs == [("brew", "own", TEXTS["coffee.md"][0])] and notes == []


def test_a_blank_query_and_a_document_that_is_no_answer_cost_themselves_alone(tmp_path):
    no_answers = [{**GOOD, "query": "chess", "relevance": 0}, {**GOOD, "query": "mate", "label": False}]
    no_answers += [{**GOOD, "query": "rook", "label": "0"}, {**GOOD, "query": "pawn", "relevance": "-1.0"}]
    blank = [{**GOOD, "query": query} for query in (" \n", "\u200b", None, float("nan"))]
    pairs, notes = read_jsonl_pairs(tmp_path, {**GOOD, "relevance": 2, "label": "sports"}, *no_answers, *blank)
    assert [query for query, _, _ in pairs] == [GOOD["query"]] and len(notes) == 2
    assert "4 pairs have a blank query" in notes[0] and "4 pairs have a relevance or a label of 0 or less" in notes[1]


def test_ids_are_known_below_the_folder_of_documents():
    assert KnownIds(["a.md", "b.md"]).find("documents/a.md") == "a.md"
    assert KnownIds(["a.md", "documents/a.md"]).find("./documents/a.md") == "./documents/a.md"  # either could be meant


def test_queries_and_ids_are_known_as_other_programs_write_them(tmp_path):
    texts = {"Lu\u0308fter": "A fan.", "12": "A pump.", "7": "A valve."}
    rows = [
        {"query": "fa\u00adn", "document_id": "Lüfter"},
        {"query": "pump", "document_id": 12.0},
        {"query": "valve", "document_id": 7},
        {"query": "\u200b valves", "document_id": "7.0"},
        {"query": "held out", "document_id": "7"},
    ]
    write_jsonl(tmp_path / "queries.jsonl", [{"_id": 1, "text": "held out"}, {"_id": 2, "text": "other"}])
    write_qrels(tmp_path, "test", "1.0 7 1")
    write_jsonl(tmp_path / "pairs.jsonl", rows)
    chunks = [(f"{name}::0", name, 0, len(text), text, text, 1) for name, text in texts.items()]
    documents = pl.DataFrame({"document_id": list(texts), "text": list(texts.values())})
    pairs, notes = read_own_pairs(tmp_path, documents, pl.DataFrame(chunks, schema=CHUNK_SCHEMA, orient="row"), NO_ENCODER)
    asked = [("fan", "Lu\u0308fter"), ("pump", "12"), ("valve", "7"), ("valves", "7")]
    assert sorted(pairs.select("query", "document_id").rows()) == sorted(asked)
    assert len(notes) == 1 and "'held out'" in notes[0]


def test_parquet_has_the_same_columns(tmp_path):
    pl.DataFrame(
        {
            "query": ["pump oil", "pump error", "check mate", "bulbs"],
            "document_id": ["pump.md", "pump.md", "chess.md", "garden.md"],
            "start": [49.0, None, None, float("nan")],
            "end": [95.0, None, None, float("nan")],
            "passage": [None, "wrong pressure", None, None],
            "style": ["search", None, "", "problem"],
        },
        schema_overrides={"style": pl.Categorical},
    ).write_parquet(tmp_path / "pairs.parquet")
    assert read(tmp_path) == (
        [
            ("pump oil", "search", TEXTS["pump.md"][1]),
            ("pump error", "own", TEXTS["pump.md"][2]),
            ("check mate", "own", TEXTS["chess.md"][0]),
            ("bulbs", "problem", TEXTS["garden.md"][0]),
        ],
        [],
    )


def test_beir_labels_are_read_one_row_for_each_relevant_document(tmp_path):
    write_jsonl(tmp_path / "queries.jsonl", QUERIES)
    write_qrels(tmp_path, "train", "q1 motor.md 2", "q1 filter.md 1", "q1 valve.md 0", "q2 coffee.md 1")
    pairs, notes = read(tmp_path)
    assert pairs == [
        ("humming motor", "problem", TEXTS["motor.md"][0]),
        ("humming motor", "problem", TEXTS["filter.md"][0]),
        ("coffee tastes bitter", "own", TEXTS["coffee.md"][0]),
    ]
    assert notes == []
    assert read_own_pairs(tmp_path, DOCUMENTS, CHUNKS, NO_ENCODER)[0]["query_id"].n_unique() == 2


def test_a_query_with_several_documents_is_one_query_whatever_is_added_later(tmp_path):
    clicks = [("humming motor", "motor.md"), ("Humming motor?", "filter.md")]
    more = [("coffee", "coffee.md"), ("humming  motor", "motor.md")]
    write_jsonl(tmp_path / "pairs.jsonl", [{"query": query, "document_id": name} for query, name in clicks])
    before = read_own_pairs(tmp_path, DOCUMENTS, CHUNKS, NO_ENCODER)[0]
    write_jsonl(tmp_path / "pairs.jsonl", [{"query": query, "document_id": name} for query, name in clicks + more])
    pairs, notes = read_own_pairs(tmp_path, DOCUMENTS, CHUNKS, NO_ENCODER)
    assert pairs.select("query", "document_id").rows() == [
        ("humming motor", "motor.md"), ("humming motor", "filter.md"), ("coffee", "coffee.md")
    ]  # fmt: skip
    assert pairs["query_id"].n_unique() == 2
    assert before["query_id"].to_list() == pairs["query_id"].to_list()[:2]
    assert notes == ["1 pairs repeat the query and the chunk of another one"]


def test_all_files_are_joined_and_the_same_query_and_chunk_is_one_row(tmp_path, encoder):
    pl.DataFrame({"query": ["coffee tastes bitter", "caffeine"], "document_id": ["coffee.md"] * 2}).write_parquet(
        tmp_path / "pairs.parquet"
    )
    write_jsonl(tmp_path / "queries.jsonl", QUERIES)
    write_qrels(tmp_path, "train", "q2 coffee.md 1", "q3 comet.md 1")
    pairs, notes = read_jsonl_pairs(
        tmp_path,
        {"query": "Coffee tastes bitter!", "document_id": "coffee.md", "style": "complaint"},
        {"query": "pump oil", "document_id": "pump.md"},
        {"query": "pump oil", "document_id": "pump.md", "passage": "new oil"},
        {"query": "pump oil", "document_id": "pump.md", "passage": "runs dry"},
        encoder=encoder,
    )
    assert pairs == [
        ("Coffee tastes bitter!", "complaint", TEXTS["coffee.md"][0]),
        ("pump oil", "own", TEXTS["pump.md"][1]),
        ("pump oil", "own", TEXTS["pump.md"][0]),
        ("caffeine", "own", TEXTS["coffee.md"][0]),
        ("when is the comet back?", "own", TEXTS["comet.md"][0]),
    ]
    assert notes == ["3 pairs repeat the query and the chunk of another one"]


def test_pairs_of_documents_that_are_gone_are_noted_and_left_out(tmp_path):
    gone = [{"query": f"query {n}", "document_id": f"old-{n % 7}.md", "start": 900, "end": 950} for n in range(9)]
    pairs, notes = read_jsonl_pairs(tmp_path, *gone, {"query": "check mate", "document_id": "chess.md"})
    assert pairs == [("check mate", "own", TEXTS["chess.md"][0])]
    assert notes == [
        "9 pairs point to documents that are not in the collection, such as "
        "'old-0.md', 'old-1.md', 'old-2.md', 'old-3.md', 'old-4.md', and are left out"
    ]


@pytest.mark.parametrize(("document", "start", "end"), [("chess.md", 0, 58), ("chess.md", 900, 950), ("pump.md", 47, 49)])
def test_spans_that_an_edit_left_without_text_are_noted_and_left_out(tmp_path, document, start, end):
    """Beyond the end of a document that has become shorter, or nothing but white space."""
    stale = {"query": "rook", "document_id": document, "start": start, "end": end}
    pairs, notes = read_jsonl_pairs(tmp_path, stale, {"query": "check mate", "document_id": "chess.md"})
    assert [query for query, _, _ in pairs] == ["check mate"]
    (note,) = notes
    assert note.startswith("1 spans are not within the text of their documents as read, such as") and "pairs.jsonl:1" in note


def test_passages_that_an_edit_removed_are_noted_and_left_out(tmp_path):
    stale = {"query": "rook", "document_id": "chess.md", "passage": "A rook is promoted"}
    pairs, notes = read_jsonl_pairs(tmp_path, stale, {"query": "check mate", "document_id": "chess.md"})
    assert [query for query, _, _ in pairs] == ["check mate"]
    (note,) = notes
    assert note.startswith("1 passages do not occur in their documents any more") and "pairs.jsonl:1" in note


def test_test_queries_are_noted_and_left_out(tmp_path):
    write_jsonl(tmp_path / "queries.jsonl", QUERIES)
    write_qrels(tmp_path, "test", "q1 motor.md 1", "q3 comet.md 1")
    write_qrels(tmp_path, "train", "q1 filter.md 1", "q2 coffee.md 1")
    pairs, notes = read_jsonl_pairs(
        tmp_path, {"query": "When is the COMET back", "document_id": "comet.md"}, {"query": "comet", "document_id": "comet.md"}
    )
    assert pairs == [("comet", "own", TEXTS["comet.md"][0]), ("coffee tastes bitter", "own", TEXTS["coffee.md"][0])]
    assert notes == [
        "2 pairs have a query of qrels/test.tsv or qrels/dev.tsv, "
        "such as 'When is the COMET back', 'humming motor', and are left out"
    ]


def test_columns_that_are_not_read_are_noted(tmp_path):
    _, notes = read_jsonl_pairs(tmp_path, {"query": "mate", "document_id": "chess.md", "passge": "A pawn", "clicks": 3})
    assert notes == ["columns that are not read: clicks, passge"]


GOOD = {"query": "check mate", "document_id": "chess.md"}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        pytest.param('{"query": ', "not JSON", id="not JSON"),
        pytest.param('["check mate", "chess.md"]', "expected a JSON object, found list", id="not an object"),
        pytest.param({"document_id": "chess.md"}, "needs 'query', a non-empty string; found None", id="no query"),
        pytest.param(
            {"question": "mate", "doc": "a"}, "its columns are 'question', 'doc'; rename the right one", id="other columns"
        ),
        pytest.param({**GOOD, "query": 7}, "needs 'query', a non-empty string; found 7", id="number as query"),
        pytest.param({"query": "mate"}, "needs 'document_id', a non-empty string; found None", id="no document"),
        pytest.param({**GOOD, "document_id": 7.5}, "needs 'document_id', a non-empty string; found 7.5", id="number as document"),
        pytest.param({**GOOD, "passage": ["A pawn"]}, "'passage' must be a string, or be left out", id="list as passage"),
        pytest.param({**GOOD, "style": 1}, "'style' must be a string, or be left out; found 1", id="number as style"),
        pytest.param({**GOOD, "query": "mate \ud83d"}, "half of a surrogate pair", id="half a character"),
        pytest.param({**GOOD, "start": 0}, "give both or neither; found 0 and None", id="start without end"),
        pytest.param({**GOOD, "end": 6}, "give both or neither; found None and 6", id="end without start"),
        pytest.param({**GOOD, "start": "0", "end": 6}, "'start' must be a whole number.*found '0'", id="string as start"),
        pytest.param({**GOOD, "start": True, "end": 6}, "'start' must be a whole number.*found True", id="true as start"),
        pytest.param({**GOOD, "start": 0, "end": 6.5}, "'end' must be a whole number.*found 6.5", id="fraction as end"),
        pytest.param({**GOOD, "start": -6, "end": 6}, "from -6 to 6 is none: 'start' counts from 0", id="before the start"),
        pytest.param({**GOOD, "start": 6, "end": 6}, "from 6 to 6 is none", id="empty span"),
    ],
)
def test_errors_name_file_and_line(tmp_path, row, words):
    with pytest.raises(CollectionError, match=rf"pairs\.jsonl:3: .*{words}"):
        read_jsonl_pairs(tmp_path, GOOD, "", row)


@pytest.mark.parametrize(
    ("column", "words"),
    [
        pytest.param(pl.Series("query", [1, 2]), "row 1 .*needs 'query', a non-empty string; found 1", id="numbers"),
        pytest.param(pl.Series("query", [b"mate", b"pawn"]), "row 1 .*needs 'query'.*found b'mate'", id="bytes"),
        pytest.param(pl.Series("start", [None, 3]), "row 2 .*give both or neither; found 3 and None", id="start without end"),
        pytest.param(pl.Series("start", ["3", "4"]), "row 1 .*'start' must be a whole number", id="strings as start"),
    ],
)
def test_errors_name_the_row_of_the_parquet_file(tmp_path, column, words):
    table = pl.DataFrame({"query": ["check mate", "promotion"], "document_id": ["chess.md"] * 2}).with_columns(column)
    table.write_parquet(tmp_path / "pairs.parquet")
    with pytest.raises(CollectionError, match=rf"pairs\.parquet, {words}"):
        read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"query\tdocument_id\n", b"PAR1 and no more PAR1"])
def test_a_broken_parquet_file_is_named(tmp_path, content):
    (tmp_path / "pairs.parquet").write_bytes(content)
    with pytest.raises(CollectionError, match=r"pairs\.parquet: not a Parquet file"):
        read(tmp_path)


def test_errors_of_beir_labels_name_file_and_line(tmp_path):
    write_jsonl(tmp_path / "queries.jsonl", QUERIES)
    write_qrels(tmp_path, "train", "q1 motor.md 1", "q9 motor.md 1")
    _, notes = read(tmp_path)
    assert notes == ["1 labelled queries have no text in queries.jsonl, such as 'q9', and are left out"]
    write_qrels(tmp_path, "train", "q1 motor.md yes")
    with pytest.raises(CollectionError, match=r"train\.tsv:2: expected query-id, corpus-id and a whole number"):
        read(tmp_path)
    write_jsonl(tmp_path / "queries.jsonl", [QUERIES[0], {"_id": "q2"}])
    with pytest.raises(CollectionError, match=r"queries\.jsonl:2: 'text' of the query 'q2' must be a non-empty string"):
        read(tmp_path)
    (tmp_path / "queries.jsonl").unlink()
    with pytest.raises(CollectionError, match=r"train\.tsv: its queries are missing: put them into .*queries\.jsonl"):
        read(tmp_path)


def test_no_pair_left_is_an_error_that_says_why(tmp_path):
    write_jsonl(tmp_path / "queries.jsonl", QUERIES)
    write_qrels(tmp_path, "test", "q1 motor.md 1")
    write_qrels(tmp_path, "train", "q1 motor.md 1", "q2 tea.md 1")
    with pytest.raises(CollectionError, match=r"train\.tsv: no pair is left \(1 pairs point .*tea\.md.*; 1 pairs have .*humming"):
        read(tmp_path)


def test_a_file_without_any_pair_is_an_error(tmp_path):
    with pytest.raises(CollectionError, match=r"pairs\.jsonl: no pair is left \(there is none\)"):
        read_jsonl_pairs(tmp_path)


def test_the_digest_changes_with_each_file_that_counts(tmp_path):
    digests = [own_pairs_digest(tmp_path)]
    write_jsonl(tmp_path / "pairs.jsonl", [GOOD])
    digests.append(own_pairs_digest(tmp_path))
    pl.DataFrame([GOOD]).write_parquet(tmp_path / "pairs.parquet")
    digests.append(own_pairs_digest(tmp_path))
    write_jsonl(tmp_path / "queries.jsonl", QUERIES)
    write_qrels(tmp_path, "train", "q1 motor.md 1")
    digests.append(own_pairs_digest(tmp_path))
    write_jsonl(tmp_path / "queries.jsonl", QUERIES[:1])
    digests.append(own_pairs_digest(tmp_path))
    write_qrels(tmp_path, "test", "q1 motor.md 1")
    digests.append(own_pairs_digest(tmp_path))
    assert digests[0] is None and len(set(digests)) == len(digests)
    (tmp_path / "corpus.jsonl").write_text("{}\n")
    assert own_pairs_digest(tmp_path) == digests[-1]
