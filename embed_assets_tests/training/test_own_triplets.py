"""Triplets that users bring: how they are read, what of them is trained on, and what is computed again when they change."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from embed_assets.artifacts.workspace import CollectionError, Workspace
from embed_assets.evaluation.evaluation_set import QUERY_SCHEMA
from embed_assets.evaluation.sdg_export import export_sdg
from embed_assets.evaluation.settings import EvaluationSetSettings
from embed_assets.plan import Outcome, plan
from embed_assets.queries.pairs import PAIR_SCHEMA
from embed_assets.training.joined_triplets import with_own_triplets
from embed_assets.training.leaks import training_pairs
from embed_assets.training.negatives import mine_hard_negatives
from embed_assets.training.own_triplets import OwnTriplet, own_triplets_digest, read_own_triplets
from embed_assets.training.settings import NegativesSettings
from embed_assets_tests.plans import build_everything
from embed_assets_tests.small_collections import BAKERY, ROUTERS, override, write_collection

NO_PAIRS = pl.DataFrame(schema=PAIR_SCHEMA)
ROW = {"anchor": "who greases it", "positive": "The pump is greased by the crew.", "negative": "Oak is wood."}
RECIPE = {
    "corpus": [{"path": "./corpus/"}],
    "data": [
        {
            "question_id": "q1",
            "question": "what is oak",
            "corpus_id": "wood",
            "pos_doc": [{"id": "a"}, "b"],
            "neg_doc": [{"id": 3}],
        },
    ],
}


def write_jsonl(folder: Path, rows: Iterable[Any]) -> Path:
    path = folder / "triplets.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def write_recipe(folder: Path, name: str = "train.json", recipe: dict = RECIPE) -> None:
    (folder / "corpus").mkdir(exist_ok=True)
    texts = {"a": "Oak is wood.", "b": "Oaks are trees.", "3": "A pump moves water."}
    pl.DataFrame({"id": texts.keys(), "text": texts.values()}).write_parquet(folder / "corpus" / "part.parquet")
    (folder / "corpus" / "merlin_metadata.json").write_text(json.dumps({"corpus_id": "wood", "class": "TextQADataset"}))
    (folder / name).write_text(json.dumps(recipe))


@pytest.mark.parametrize(
    "row",
    [
        {"anchor": "q", "positive": "p", "negative_1": "n1", "negative_2": "n2"},
        {"anchor": "q", "positive": " p ", "negative_10": "n2", "negative_2": "n1", "negative_11": None},
        {"query": "q", "pos": ["p"], "neg": ["n1", "n2"]},
        {"question": "q", "pos_doc": "p", "neg_doc": ["n1", "n2"], "style": None},
        {"anchor": "q", "positive": "p", "negatives": ["n1", "n2"], "split": None},
        {"query": "q", "pos": "p", "neg": ["n1", None, float("nan"), " ", "n2"]},
        {"query": "q", "positive_passages": [{"title": "", "text": "p"}], "negative_passages": [{"text": "n1"}, {"text": "n2"}]},
        {
            "question": "q",
            "positive_ctxs": [{"text": "p"}],
            "negative_ctxs": [{"text": "n2"}],
            "hard_negative_ctxs": [{"text": "n1"}],
        },
        {"anchor": "q\u00ad", "positive": "\u200bp", "negative": ["n\u00ad1", "n2"]},
    ],
)
def test_rows_of_other_tools_are_read(tmp_path, row):
    write_jsonl(tmp_path, [row])
    (found,), notes = read_own_triplets(tmp_path)
    assert found[1:] == ("q", "p", ("n1", "n2"), None, "own") and notes == []


def test_a_passage_with_a_title_of_its_own_has_it_in_front(tmp_path):
    passage = {"docid": "7", "title": "Oak", "text": "It is wood."}
    write_jsonl(tmp_path, [{"query": "q", "positive_passages": [passage | {"title": "It is wood."}], "negative_passages": []}])
    (found,), _ = read_own_triplets(tmp_path)
    assert found.positive == "It is wood."
    write_jsonl(tmp_path, [{"query_id": "1", "query": "q", "positive_passages": [passage], "negative_passages": [passage]}])
    (found,), _ = read_own_triplets(tmp_path)
    assert (found.positive, found.negatives) == ("Oak\nIt is wood.", ("Oak\nIt is wood.",))
    write_jsonl(tmp_path, [{"query": "q", "positive_passages": [{"docid": "7", "title": "Oak"}]}])
    with pytest.raises(CollectionError, match=r"triplets\.jsonl:1: 'positive_passages' must be a non-empty text"):
        read_own_triplets(tmp_path)


def test_several_answers_are_a_triplet_each_and_other_columns_are_told(tmp_path):
    write_jsonl(tmp_path, [{"query": "q", "pos": ["p", "r"], "neg": [], "split": "validation", "style": "chat", "score": 1}])
    found, notes = read_own_triplets(tmp_path)
    assert [it[1:] for it in found] == [("q", "p", (), "dev", "chat"), ("q", "r", (), "dev", "chat")]
    assert notes == ["columns of own triplets that are not read: score"]


def test_parquet_is_read_beside_json_lines(tmp_path):
    write_jsonl(tmp_path, [ROW])
    pl.DataFrame({"anchor": ["a", "b"], "positive": ["p", "p"], "negative": [None, "n"]}).write_parquet(
        tmp_path / "triplets.parquet"
    )
    found, _ = read_own_triplets(tmp_path)
    assert [(it.anchor, it.negatives) for it in found] == [("who greases it", ("Oak is wood.",)), ("a", ()), ("b", ("n",))]


def test_the_files_of_the_recipe_are_read(tmp_path):
    write_recipe(tmp_path)
    write_recipe(tmp_path, "val.json", RECIPE | {"corpus": {"path": "corpus"}})
    found, _ = read_own_triplets(tmp_path)
    assert [(it.positive, it.negatives, it.split) for it in found] == [
        (positive, ("A pump moves water.",), split)
        for split in ("train", "dev")
        for positive in ("Oak is wood.", "Oaks are trees.")
    ]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"positive": "p"}, "every triplet needs one of anchor, query, question; the keys of this one are 'positive'"),
        (ROW | {"query": "q"}, "every triplet needs one of anchor, query, question"),
        ({"anchor": "q"}, "every triplet needs one of positive, positives, pos, pos_doc"),
        (ROW | {"positive": "  "}, "'positive' must be a non-empty text, or a list of those; found '  '"),
        (ROW | {"negative": 3}, "'negative' must be a non-empty text, or a list of those; found 3"),
        ({"query": "q", "pos": []}, "needs one query, and a 'pos' that is not empty"),
        ({"query": ["q", "r"], "pos": "p"}, "needs one query"),
        (ROW | {"split": "test"}, "'split' must be train, dev or validation, or be left out; found 'test'"),
        (ROW | {"style": 3}, "'style' must be a string"),
        (ROW | {"anchor": "\ud800"}, "half of a surrogate pair"),
        ([], "expected a JSON object, found list"),
    ],
)
def test_the_line_of_a_bad_row_is_named(tmp_path, row, words):
    path = write_jsonl(tmp_path, [ROW, row])
    with pytest.raises(CollectionError) as error:
        read_own_triplets(tmp_path)
    assert str(error.value).startswith(f"{path}:2: ") and words in str(error.value)


def test_a_passage_of_which_nothing_is_seen_has_no_text(tmp_path):
    write_recipe(tmp_path)
    (passages,) = (tmp_path / "corpus").glob("*.parquet")
    pl.read_parquet(passages).with_columns(text=pl.lit("\u00ad \ufeff")).write_parquet(passages)
    with pytest.raises(CollectionError, match=r"parquet: the passage '.*' has no text"):
        read_own_triplets(tmp_path)


def test_the_row_of_a_parquet_file_is_named(tmp_path):
    pl.DataFrame({"anchor": ["a", "b"], "positive": ["p", ""]}).write_parquet(tmp_path / "triplets.parquet")
    with pytest.raises(
        CollectionError, match=r"triplets\.parquet, row 2 \(counted from 1\): 'positive' must be a non-empty text"
    ):
        read_own_triplets(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"data": [{"question": "q", "pos_doc": ["x"]}]},
            "record 1 (counted from 1): there is no passage 'x' in the corpus 'wood'",
        ),
        ({"data": [{"question": "q", "pos_doc": [{"name": "a"}]}]}, "'pos_doc' must be a list of ids of passages"),
        ({"data": [{"question": "q", "pos_doc": []}]}, "a record needs a question, and the id of a passage"),
        ({"data": [{"question": "q", "corpus_id": "c", "pos_doc": ["a"]}]}, "the corpus 'c' is none of 'wood'"),
        ({"data": ["q"]}, "expected an object, found str"),
        ({"corpus": []}, "'corpus' names no folder"),
        ({"corpus": "corpus"}, "'corpus' must be an object with a 'path'"),
        ({"corpus": {"path": "/etc"}}, "there is no folder '/etc' within the collection's folder"),
        ({"corpus": {"path": "../other"}}, "there is no folder '../other' within the collection's folder"),
        ({"data": {}}, "expected an object with 'corpus' and a list 'data'"),
    ],
)
def test_the_record_of_a_bad_recipe_is_named(tmp_path, change, words):
    (tmp_path / "other").mkdir()
    folder = tmp_path / "collection"
    folder.mkdir()
    write_recipe(folder, recipe=RECIPE | change)
    with pytest.raises(CollectionError) as error:
        read_own_triplets(folder)
    assert str(error.value).startswith(str(folder / "train.json")) and words in str(error.value)


def test_a_corpus_that_is_a_link_out_of_the_collection_is_refused(tmp_path):
    folder, other = tmp_path / "collection", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    write_recipe(other)
    (folder / "corpus").symlink_to(other / "corpus")
    (folder / "train.json").write_text(json.dumps(RECIPE))
    with pytest.raises(CollectionError, match=r"no folder '\./corpus/' within the collection's folder"):
        read_own_triplets(folder)


def test_the_digest_does_not_depend_on_where_a_linked_file_lies(tmp_path):
    found = set()
    for name in ("here", "there"):
        collection, elsewhere = tmp_path / name / "collection", tmp_path / name / "exported"
        collection.mkdir(parents=True)
        elsewhere.mkdir()
        write_jsonl(elsewhere, [ROW])
        (collection / "triplets.jsonl").symlink_to(elsewhere / "triplets.jsonl")
        found.add(own_triplets_digest(collection))
    write_jsonl(tmp_path, [ROW])
    assert found == {own_triplets_digest(tmp_path)}


def test_the_digest_covers_all_files(tmp_path):
    assert own_triplets_digest(tmp_path) is None
    write_recipe(tmp_path)
    write_jsonl(tmp_path, [ROW])
    digests = {own_triplets_digest(tmp_path)}
    (tmp_path / "triplets.jsonl").write_text(json.dumps(ROW | {"anchor": "who"}))
    digests.add(own_triplets_digest(tmp_path))
    pl.DataFrame({"id": ["a", "b", "3"], "text": ["Oak", "Oaks", "Pump"]}).write_parquet(tmp_path / "corpus" / "part.parquet")
    digests.add(own_triplets_digest(tmp_path))
    (tmp_path / "train.json").write_text(json.dumps(RECIPE | {"data": []}))
    digests.add(own_triplets_digest(tmp_path))
    assert len(digests) == 4


def write_corpus(folder: Path, name: str, corpus_id: str, text: str) -> dict[str, str]:
    (folder / name).mkdir(exist_ok=True)
    pl.DataFrame({"id": ["a"], "text": [text]}).write_parquet(folder / name / "part.parquet")
    (folder / name / "merlin_metadata.json").write_text(json.dumps({"corpus_id": corpus_id}))
    return {"path": name}


def test_the_ids_of_corpora_tell_which_passages_are_meant(tmp_path):
    texts = {"one": "Oak is wood.", "two": "A pump moves water."}
    corpora = [write_corpus(tmp_path, name, name, text) for name, text in texts.items()]
    record = {"question": "what is oak", "corpus_id": "one", "pos_doc": ["a"]}
    (tmp_path / "train.json").write_text(json.dumps({"corpus": corpora, "data": [record]}))
    before, digest = read_own_triplets(tmp_path)[0], own_triplets_digest(tmp_path)
    for name, corpus_id in (("one", "two"), ("two", "one")):
        write_corpus(tmp_path, name, corpus_id, texts[name])
    assert [it.positive for it in before + read_own_triplets(tmp_path)[0]] == list(texts.values())
    assert own_triplets_digest(tmp_path) != digest
    write_corpus(tmp_path, "one", "one", texts["one"])
    with pytest.raises(CollectionError, match=r"train\.json: the corpora .*one and .*two are both called 'one'"):
        read_own_triplets(tmp_path)


def joined(folder: Path, chunks: pl.DataFrame, encoder, rows: list[dict], per_query: int = 2) -> tuple[pl.DataFrame, ...]:
    """The triplets of rows beside a test query, what was left out of them, and all passages."""
    write_jsonl(folder, rows)
    settings, negatives = EvaluationSetSettings(dev_share=0.0), NegativesSettings(per_query=per_query)
    pairs, passages, _ = with_own_triplets(folder, NO_PAIRS, chunks, negatives, settings)
    tested = pl.DataFrame([("t", "Who feeds the cat?", "", "human", "test")], schema=QUERY_SCHEMA, orient="row")
    kept, left_out = training_pairs(pairs, chunks, tested, encoder, settings)
    return mine_hard_negatives(kept, passages, encoder, negatives)[0], left_out, passages


def test_given_negatives_come_first_and_missing_ones_are_mined(tmp_path, chunks, encoder):
    answer, other = chunks["passage"][0], chunks["passage"][1]
    rows = [
        {"anchor": "who greases the pump", "positive": answer, "negative_1": "The pump is never greased."},
        {"anchor": "who greases the pump", "positive": "The crew greases it.", "negative_1": answer, "negative_2": other},
    ]
    triplets, _, _ = joined(tmp_path, chunks, encoder, rows)
    first, second = triplets.rows(named=True)
    assert (first["positive_chunk"], first["positive_document"]) == (chunks["chunk_id"][0], chunks["document_id"][0])
    assert first["negative_1"] == "The pump is never greased." and first["negative_2"] in chunks["passage"]
    # What answers the query is no negative of it, and its place is filled.
    assert second["negative_1"] == other and second["positive"] == "The crew greases it."
    assert second["positive_document"].startswith("own triplets:")
    assert triplets["source"].to_list() == ["own", "own"]


def test_complete_triplets_need_no_retrieval(tmp_path, chunks, encoder, monkeypatch):
    monkeypatch.setattr("embed_assets.training.negatives.HybridRetriever", None)
    triplets, _, _ = joined(tmp_path, chunks, encoder, [ROW], per_query=1)
    assert triplets.select("anchor", "positive", "negative_1").rows() == [tuple(ROW.values())]


def test_a_test_query_in_own_triplets_is_left_out(tmp_path, chunks, encoder):
    rows = [ROW, ROW | {"anchor": "who feeds the cat"}, ROW | {"anchor": "Who feeds the cat there?"}]
    triplets, left_out, _ = joined(tmp_path, chunks, encoder, rows, per_query=1)
    assert triplets["anchor"].to_list() == ["who greases it"]
    assert dict(left_out.select("query", "reason").iter_rows()) == {
        "who feeds the cat": "equal to a held-out query",
        "Who feeds the cat there?": "like a held-out query",
    }


def test_replace_takes_them_alone_and_wants_some(tmp_path, chunks):
    settings, pair = NegativesSettings(own_triplets="replace"), dict.fromkeys(PAIR_SCHEMA) | {"query": "q", "document_id": "d"}
    pairs = pl.DataFrame([pair], schema=PAIR_SCHEMA)
    with pytest.raises(CollectionError, match=r"own_triplets is 'replace', but the collection has no triplet in triplets\.jsonl"):
        with_own_triplets(None, pairs, chunks, settings, EvaluationSetSettings())
    write_jsonl(tmp_path, [ROW])
    replaced, _, _ = with_own_triplets(tmp_path, pairs, chunks, settings, EvaluationSetSettings())
    joint, _, _ = with_own_triplets(tmp_path, pairs, chunks, NegativesSettings(), EvaluationSetSettings())
    assert replaced["query"].to_list() == ["who greases it"] and joint["query"].to_list() == ["q", "who greases it"]


def test_the_dev_split_is_a_share_of_them_and_none_is_tested(tmp_path, chunks):
    write_jsonl(tmp_path, [ROW | {"anchor": f"query {number}"} for number in range(200)])
    settings = EvaluationSetSettings(test_share=0.3, dev_share=0.2)
    pairs, _, _ = with_own_triplets(tmp_path, NO_PAIRS, chunks, NegativesSettings(), settings)
    counts = dict(pairs["split"].value_counts().iter_rows())
    assert counts.keys() == {"train", "dev"} and 20 <= counts["dev"] <= 60


def test_a_query_is_in_one_split(tmp_path, chunks):
    answers = [
        {"anchor": "Who greases it?", "positive": "The crew.", "split": "train"},
        {"anchor": "who greases it", "positive": "The pump is greased by the crew.", "split": "dev"},
        {"anchor": "who oils it", "positive": "The crew.", "split": "train"},
    ]
    write_jsonl(tmp_path, answers)
    pairs, _, notes = with_own_triplets(tmp_path, NO_PAIRS, chunks, NegativesSettings(), EvaluationSetSettings(dev_share=0.0))
    assert pairs["split"].to_list() == ["dev", "dev", "train"]
    assert notes == ["queries of own triplets that were in train and in dev, and are in dev alone: 1"]
    write_jsonl(tmp_path, answers[1:])
    assert with_own_triplets(tmp_path, NO_PAIRS, chunks, NegativesSettings(), EvaluationSetSettings())[2] == []


@pytest.mark.parametrize(("share", "said", "expected"), [(0.99, "train", "dev"), (0.0, "dev", "dev"), (0.0, "train", "train")])
def test_a_query_of_a_pair_and_of_a_triplet_is_in_one_split(tmp_path, chunks, share, said, expected):
    pair = dict.fromkeys(PAIR_SCHEMA) | {"query": "Who greases it?", "document_id": chunks["document_id"][0], "writer": "w"}
    write_jsonl(tmp_path, [ROW | {"split": said}])
    settings, pairs = EvaluationSetSettings(test_share=0.0, dev_share=share), pl.DataFrame([pair], schema=PAIR_SCHEMA)
    joint, _, notes = with_own_triplets(tmp_path, pairs, chunks, NegativesSettings(), settings)
    assert joint["split"].to_list() == [expected, expected] and bool(notes) == (expected == "dev")


def test_what_is_exported_for_the_recipe_is_read_again(tmp_path, chunks, encoder):
    triplets, _, _ = joined(tmp_path, chunks, encoder, [ROW, ROW | {"anchor": "oil", "positive": chunks["passage"][0]}])
    export_sdg(tmp_path / "out", "c", pl.DataFrame(schema=PAIR_SCHEMA | {"judge_score": pl.Float64}), chunks, triplets)
    found, _ = read_own_triplets(tmp_path / "out")
    names = ("anchor", "positive", "negative_1", "negative_2")
    assert [(it.anchor, it.positive, *it.negatives) for it in found] == triplets.select(names).rows()
    assert isinstance(found[0], OwnTriplet) and found[0].split == "train"


def test_a_change_of_them_computes_the_triplets_of_their_collection_alone(tmp_path):
    data = tmp_path / "data"
    for name, documents in (("bakery", BAKERY), ("routers", ROUTERS)):
        write_collection(data / "collections" / name, documents)
    place = Workspace(data, tmp_path / "home")
    build_everything(place, "bakery", "routers")
    write_jsonl(data / "collections" / "bakery", [ROW])

    def computed(name: str) -> dict[str, list[str]]:
        return {row.stage: [str(it) for it in row.reasons] for row in plan(place, name) if row.outcome is Outcome.COMPUTED}

    assert computed("bakery") == {"triplets": ["own triplets: new"]} and computed("routers") == {}
    override(data, "bakery", {"negatives": {"own_triplets": "ignore"}})
    assert computed("bakery") == {"triplets": ['setting negatives.own_triplets: null → "ignore"']}
