"""Labels that a person gives, as the evaluation set then reads them."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from embed_assets.artifacts.workspace import CollectionError
from embed_assets.evaluation.human_labels import read_human_labels
from embed_assets.evaluation.settings import EvaluationSetSettings
from embed_assets.playground.labels import Labels, read_log, split_of_query

SETTINGS = EvaluationSetSettings()
DOCUMENTS = ["pump.md", "my oven.md", "filter.md"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "collections" / "house"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def labels(folder: Path, tmp_path: Path) -> Labels:
    return Labels(folder, SETTINGS, tmp_path / "locks", "test")


def read(folder: Path) -> dict[tuple[str, str], tuple[str, int]]:
    """(query, document) → split and relevance, as the evaluation set has them."""
    queries, answers, _ = read_human_labels(folder, DOCUMENTS)
    texts = {row["query_id"]: row for row in queries.iter_rows(named=True)}
    return {
        (texts[row["query_id"]]["query"], row["document_id"]): (texts[row["query_id"]]["split"], row["relevance"])
        for row in answers.iter_rows(named=True)
    }


def test_marks_are_what_the_evaluation_set_reads(folder: Path, labels: Labels):
    labels.mark("why does the  pump leak", "pump.md", 1)
    labels.mark("Why does the pump leak?", "my oven.md", 1)
    labels.mark("why does the pump leak", "filter.md", 0)
    assert read(folder) == {
        ("why does the pump leak", "pump.md"): ("test", 1),
        ("why does the pump leak", "my oven.md"): ("test", 1),
    }
    assert labels.of("why does the pump leak") == {"pump.md": 1, "my oven.md": 1, "filter.md": 0}
    assert labels.judged() == {"why does the pump leak": "test"}


def test_a_mark_is_changed_and_taken_back(folder: Path, labels: Labels):
    for relevance in (1, 0, None):
        labels.mark("pump", "pump.md", relevance)
        assert labels.of("pump") == ({} if relevance is None else {"pump.md": relevance})
    assert not (folder / "qrels" / "test.tsv").exists()
    assert read(folder) == {}


def test_marks_that_nothing_is_relevant_are_no_error(folder: Path, labels: Labels):
    labels.mark("pump", "pump.md", 0)
    _, answers, notes = read_human_labels(folder, DOCUMENTS)
    assert answers.is_empty() and "test.tsv names no relevant document yet" in notes
    assert labels.judged() == {}


def test_what_is_there_already_stays_and_a_known_query_keeps_its_id_and_split(folder: Path, tmp_path: Path):
    (folder / "qrels").mkdir()
    there = [{"_id": "7", "text": "Does it leak?", "metadata": {"style": "how_to"}}, {"_id": 8, "text": "what is a filter"}]
    (folder / "queries.jsonl").write_text("\ufeff" + "\n".join(map(json.dumps, there)))
    (folder / "qrels" / "dev.tsv").write_text("7 0 pump.md 2\n")
    labels = Labels(folder, SETTINGS, tmp_path / "locks", "test")
    labels.mark("does it leak", "filter.md", 1)
    labels.mark("a new one", "filter.md", 1)
    assert (folder / "qrels" / "dev.tsv").read_text() == "query-id\tcorpus-id\tscore\n7\tpump.md\t2\n7\tfilter.md\t1\n"
    lines = [json.loads(line) for line in (folder / "queries.jsonl").read_text().splitlines()]
    assert lines[:2] == there and lines[2]["text"] == "a new one"
    assert read(folder)["Does it leak?", "pump.md"] == ("dev", 2)
    assert read(folder)["a new one", "filter.md"] == ("test", 1)


def test_the_split_of_a_query_is_that_of_its_words_in_the_shares_of_the_settings():
    splits = [split_of_query(f"query number {number}", SETTINGS) for number in range(400)]
    assert 0.5 < splits.count("test") / 400 < 0.7  # .15 of .25
    assert split_of_query("How does it work?", SETTINGS) == split_of_query("how does it WORK", SETTINGS)
    assert {split_of_query(f"{n}", EvaluationSetSettings(test_share=0.0)) for n in range(20)} == {"dev"}


def test_many_marks_at_once_are_all_kept(folder: Path, tmp_path: Path):
    writers = [Labels(folder, SETTINGS, tmp_path / "locks", "test") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(writers[n % 4].mark, f"query {n % 5}", DOCUMENTS[n % 3], 1) for n in range(15)]
        for one in done:
            one.result()
    assert len(read(folder)) == 15
    assert len((folder / "queries.jsonl").read_text().splitlines()) == 5


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("queries.jsonl", '{"_id": 1}\n', "queries.jsonl:1"),
        ("qrels/test.tsv", "one two\n", "test.tsv:1"),
        ("queries.jsonl.gz", "", "unpack it"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_and_left_alone(folder: Path, labels: Labels, name: str, text: str, named: str):
    (folder / "qrels").mkdir()
    (folder / name).write_text(text)
    with pytest.raises(CollectionError, match=named):
        labels.mark("pump", "pump.md", 1)
    assert (folder / name).read_text() == text
    assert [path.name for path in folder.rglob("*") if path.is_file()] == [Path(name).name]


def test_an_id_that_qrels_cannot_hold_and_a_query_without_words_are_refused(folder: Path, labels: Labels):
    for query, document in (("pump", "a\tb.md"), (" ?! ", "pump.md"), ("\x01\x07\u200b", "pump.md")):
        with pytest.raises(CollectionError):
            labels.mark(query, document, 1)
    assert not list(folder.iterdir())


def test_a_log_has_each_query_once(tmp_path: Path):
    (tmp_path / "log.txt").write_text("\ufeffPump leaks\n\n  pump   le\u00adaks? \nNOX-1\n...\n\x01\n", encoding="utf-8")
    assert read_log(tmp_path / "log.txt") == ["Pump leaks", "NOX-1"]
    (tmp_path / "empty.txt").write_text("\n")
    for name, words in (("empty.txt", "no query in it"), ("none.txt", "no such file")):
        with pytest.raises(CollectionError, match=words):
            read_log(tmp_path / name)


def test_ids_that_another_program_wrote_are_known_again(folder: Path, tmp_path: Path):
    (folder / "qrels").mkdir()
    (folder / "queries.jsonl").write_text('{"_id": "12", "text": "why does the pump leak"}\n')
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n12.0\tguide\\install.md\t1.0\n")
    labels = Labels(folder, SETTINGS, tmp_path / "locks", "dev", ["guide/install.md", "pump.md"])
    assert labels.of("why does the pump leak") == {"guide/install.md": 1}
    assert labels.judged() == {"why does the pump leak": "test"}
    labels.mark("why does the pump leak", "guide/install.md", 0)
    labels.mark("why does the pump leak", "pump.md", 1)
    assert labels.of("why does the pump leak") == {"guide/install.md": 0, "pump.md": 1}
    assert not (folder / "qrels" / "dev.tsv").exists()  # a query that is tested with chooses nothing


def test_nothing_is_written_where_there_can_be_no_labels(folder: Path, labels: Labels):
    (folder / "qrels").write_text("a file")
    with pytest.raises(OSError):
        labels.mark("pump", "pump.md", 1)
    assert not (folder / "queries.jsonl").exists()
