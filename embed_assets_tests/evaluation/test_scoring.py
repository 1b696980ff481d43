import dataclasses
import json
import re
from math import log2
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import pytrec_eval

from embed_assets.artifacts.store import FINDINGS, REPORT
from embed_assets.corpus.documents import Document
from embed_assets.corpus.settings import DocumentsSettings
from embed_assets.corpus.spans import CHUNK_SCHEMA
from embed_assets.evaluation import runs
from embed_assets.evaluation.checks import check_scores
from embed_assets.evaluation.evaluation_set import LABEL_SCHEMA, QUERY_SCHEMA
from embed_assets.evaluation.labels import relevant_units
from embed_assets.evaluation.metrics import METRICS
from embed_assets.evaluation.runs import RerankedSystem
from embed_assets.evaluation.scoring import Contest, LabelledCollection, join_scores, score_systems, scores_table
from embed_assets.evaluation.settings import ScoringSettings
from embed_assets.models.encoders import FirstDimensions
from embed_assets.reports.charts import draw_dimensions
from embed_assets.reports.evaluation import write_scores
from embed_assets_tests.corpus.at_once import read_documents

SETTINGS = ScoringSettings(resamples=200)


class TableEncoder:
    """The similarity of each query to each passage, as written down; 0 where nothing is written."""

    def __init__(self, similarities: dict[str, dict[str, float]]):
        self.similarities = similarities

    def encode_queries(self, texts):
        place = {query: i for i, query in enumerate(self.similarities)}
        return np.eye(len(place), dtype=np.float32)[[place[text] for text in texts]]

    def encode_passages(self, texts):
        return np.array([[row.get(text, 0.0) for row in self.similarities.values()] for text in texts], dtype=np.float32)


def ranking(*passages: str) -> dict[str, float]:
    """Similarities that rank the passages in this order."""
    return {passage: 1 - 0.01 * place for place, passage in enumerate(passages)}


def make_chunks(*rows: tuple[str, int, int, str]) -> pl.DataFrame:
    """Chunks from (document, start, end, passage)."""
    full = [(f"{document}::{start}", document, start, end, text, text, 1) for document, start, end, text in rows]
    return pl.DataFrame(full, schema=CHUNK_SCHEMA, orient="row")


def make_queries(source: str, texts: dict[str, str], style: str = "", split: str = "test") -> pl.DataFrame:
    return pl.DataFrame([(name, text, style, source, split) for name, text in texts.items()], schema=QUERY_SCHEMA, orient="row")


def human_labels(*rows: tuple[str, str, int]) -> pl.DataFrame:
    full = [(query_id, document, None, None, None, relevance) for query_id, document, relevance in rows]
    return pl.DataFrame(full, schema=LABEL_SCHEMA, orient="row")


def span_labels(*rows: tuple[str, str, int, int]) -> pl.DataFrame:
    full = [(query_id, document, start, end, None, 1) for query_id, document, start, end in rows]
    return pl.DataFrame(full, schema=LABEL_SCHEMA, orient="row")


ANIMALS = make_chunks(
    ("cat", 0, 9, "cats purr"), ("dog", 0, 9, "dogs bark"), ("cow", 0, 9, "cows moo"), ("bee", 0, 9, "bees hum")
)
# As text, "q10" comes before "q2": the scores must not be swapped.
SOUNDS = make_queries("human", {"q2": "who hums", "q10": "pets"})
SOUND_LABELS = human_labels(("q2", "bee", 1), ("q10", "cat", 1), ("q10", "dog", 1))
MIXED = TableEncoder(
    {
        "who hums": ranking("bees hum", "dogs bark", "cows moo", "cats purr"),
        "pets": ranking("cows moo", "cats purr", "dogs bark", "bees hum"),
    }
)


def test_metrics_are_those_computed_by_hand():
    (scores,) = score_systems(LabelledCollection("animals", ANIMALS, SOUNDS, SOUND_LABELS), Contest({"base": MIXED}), SETTINGS)
    per_query = {row["query_id"]: row for row in scores.per_query.iter_rows(named=True)}
    # q10: relevant at ranks 2 and 3.
    by_hand = {
        "ndcg@1": 0,
        "ndcg@10": (1 / log2(3) + 1 / log2(4)) / (1 / log2(2) + 1 / log2(3)),
        "recall@1": 0,
        "recall@5": 1,
        "mrr@10": 1 / 2,
        "map@10": (1 / 2 + 2 / 3) / 2,
    }
    assert {metric: per_query["q10"][metric] for metric in by_hand} == pytest.approx(by_hand)
    # q2: the only relevant document is first.
    assert {metric: per_query["q2"][metric] for metric in METRICS} == pytest.approx(dict.fromkeys(METRICS, 1.0))
    means = scores.summary["systems"]["base"]
    assert list(means) == METRICS
    assert {metric: means[metric] for metric in by_hand} == pytest.approx(
        {name: (value + 1) / 2 for name, value in by_hand.items()}
    )
    assert scores.summary["queries"] == 2


def test_graded_labels_count_by_their_grade():
    labels = human_labels(("q2", "dog", 1), ("q2", "bee", 2), ("q10", "bee", 1), ("q10", "cow", 3))
    (scores,) = score_systems(LabelledCollection("animals", ANIMALS, SOUNDS, labels), Contest({"base": MIXED}), SETTINGS)
    by_query = dict(scores.per_query.select("query_id", "ndcg@10").iter_rows())
    assert by_query["q2"] == pytest.approx(1.0)
    assert by_query["q10"] == pytest.approx((3 / log2(2) + 1 / log2(5)) / (3 / log2(2) + 1 / log2(3)))


def numbered(count: int) -> pl.DataFrame:
    return make_chunks(*((f"d{number:03}", 0, 9, f"passage {number}") for number in range(count)))


def test_a_relevant_document_after_the_tenth_counts_as_missed():
    order = TableEncoder({"query": ranking(*(f"passage {number}" for number in range(12)))})
    labels = human_labels(("q", "d000", 1), ("q", "d010", 1))
    (scores,) = score_systems(
        LabelledCollection("numbers", numbered(12), make_queries("human", {"q": "query"}), labels),
        Contest({"base": order}),
        SETTINGS,
    )
    found = scores.summary["systems"]["base"]
    assert (found["map@10"], found["recall@10"], found["recall@100"], found["mrr@10"]) == (0.5, 0.5, 1.0, 1.0)


def test_equal_scores_are_ranked_as_the_run_shows_them():
    chunks, queries = numbered(60), make_queries("human", {f"q{number}": f"query {number}" for number in range(60)})
    labels = human_labels(*((f"q{number}", f"d{number:03}", 1) for number in range(60)))
    same = TableEncoder({f"query {number}": {f"passage {i}": 0.5 for i in range(60)} for number in range(60)})
    (scores,) = score_systems(LabelledCollection("numbers", chunks, queries, labels), Contest({"base": same}), SETTINGS)
    shown = scores.runs.join(labels, left_on=["query_id", "unit"], right_on=["query_id", "document_id"]).select(
        "query_id", "rank"
    )
    assert dict(shown.iter_rows()) == {f"q{number}": number + 1 for number in range(60)}
    reciprocal = dict(scores.per_query.select("query_id", "mrr@10").iter_rows())
    assert reciprocal == pytest.approx({name: 1 / rank if rank <= 10 else 0 for name, rank in shown.iter_rows()})


def test_a_document_scores_as_its_best_chunk():
    chunks = make_chunks(
        ("a", 0, 10, "a begins"), ("a", 10, 20, "a ends"), ("b", 0, 10, "b begins"), ("b", 10, 20, "b ends"), ("c", 0, 10, "c")
    )
    encoder = TableEncoder({"query": {"a begins": 0.1, "a ends": 0.9, "b begins": 0.8, "b ends": 0.7, "c": 0.5}})
    labels = human_labels(("q", "b", 1))
    (scores,) = score_systems(
        LabelledCollection("letters", chunks, make_queries("human", {"q": "query"}), labels), Contest({"base": encoder}), SETTINGS
    )
    assert scores.runs["unit"].to_list() == ["a", "b", "c"]
    assert scores.runs["rank"].to_list() == [1, 2, 3]
    assert scores.runs["score"].to_list() == pytest.approx([0.9, 0.8, 0.5])
    assert scores.summary["systems"]["base"]["mrr@10"] == 0.5


def test_labels_of_spans_hold_for_every_chunking():
    """The answer is at characters 0 to 100 of one document: in one large chunk, or in two small ones."""
    large = make_chunks(("doc", 0, 200, "answer and more"), ("doc", 200, 400, "the rest"))
    small = make_chunks(
        ("doc", 0, 50, "first half"), ("doc", 50, 100, "second half"), ("doc", 100, 200, "more"), ("doc", 200, 400, "the rest")
    )
    encoder = TableEncoder({"query": ranking("answer and more", "first half", "second half", "more", "the rest")})
    queries, labels = make_queries("synthetic", {"q": "query"}), span_labels(("q", "doc", 0, 100))
    found = {}
    for name, chunks in {"large": large, "small": small}.items():
        (scores,) = score_systems(LabelledCollection("doc", chunks, queries, labels), Contest({"base": encoder}), SETTINGS)
        found[name] = scores.summary["systems"]["base"]
    assert [found[name]["ndcg@10"] for name in ("large", "small")] == [1.0, 1.0]
    assert [found[name]["recall@1"] for name in ("large", "small")] == [1.0, 0.5]
    assert [found[name]["recall@5"] for name in ("large", "small")] == [1.0, 1.0]


QUESTIONS_ABOUT_NOXWIRE = {
    "how do I let a BGP neighbour send at most so many prefixes": "cli/bgp.md",
    "bundle two ports into one LACP channel": "cli/lag-lacp.md",
    "log in with TACACS accounts": "cli/aaa-users.md",
    "drop packets from a subnet on an interface": "cli/acl.md",
    "detect a broken link to a routing peer in milliseconds": "cli/bfd.md",
    "install a new software image": "cli/image-management.md",
    "copy the traffic of a port to an analyzer": "cli/port-mirroring-sflow.md",
    "go back to an earlier configuration": "cli/config-commit-rollback.md",
    "split a fast port into four": "cli/interfaces-breakout.md",
    "synchronize the clock with a grandmaster": "cli/ptp.md",
}


@pytest.fixture(scope="module")
def guides() -> list[Document]:
    folder = Path(__file__).parents[2] / "data" / "collections" / "switch-os"
    documents, _ = read_documents(folder, DocumentsSettings())
    guides = [document for document in documents if document.document_id.startswith("cli/")][:12]
    return [dataclasses.replace(document, text=document.text[:1500]) for document in guides]


def test_frozen_labels_survive_any_chunking(guides, cut, encoder):
    """The same labels, made on chunks of 64 tokens, for chunks of 32, 64 and 128 tokens that overlap."""
    assert len(guides) == 12
    first = cut(guides, max_tokens=64)
    pairs = first.filter(pl.col("tokens") > 30).gather_every(3).head(24)
    labels = span_labels(*((f"s{n}", *span) for n, span in enumerate(pairs.select("document_id", "start", "end").rows())))
    # The last words of a chunk ask for it.
    queries = make_queries("synthetic", {f"s{n}": " ".join(text.split()[-12:]) for n, text in enumerate(pairs["text"])})
    human = make_queries("human", {f"h{n}": text for n, text in enumerate(QUESTIONS_ABOUT_NOXWIRE)})
    labels = pl.concat([labels, human_labels(*((f"h{n}", name, 1) for n, name in enumerate(QUESTIONS_ABOUT_NOXWIRE.values())))])
    found, relevant = {}, {}
    for tokens in (32, 64, 128):
        chunks = cut(guides, max_tokens=tokens, overlap_tokens=tokens // 4)
        units = relevant_units(queries, labels, chunks, by_document=False)
        spans = {row["chunk_id"]: (row["document_id"], row["start"], row["end"]) for row in chunks.iter_rows(named=True)}
        for label in labels.filter(pl.col("start").is_not_null()).iter_rows(named=True):
            covered = set()
            for unit in units[label["query_id"]]:
                document, start, end = spans[unit]
                assert document == label["document_id"]
                covered |= set(range(max(start, label["start"]), min(end, label["end"])))
            assert len(covered) >= 0.5 * (label["end"] - label["start"])
        of_human, of_synthetic = score_systems(
            LabelledCollection("guides", chunks, pl.concat([queries, human]), labels),
            Contest({"base": encoder}, hybrids={"hybrid": "base"}),
            SETTINGS,
        )
        assert (of_human.summary["queries"], of_synthetic.summary["queries"]) == (10, 24)
        found[tokens] = of_human.summary["systems"]["hybrid"]["ndcg@10"]
        relevant[tokens] = sum(map(len, units.values()))
        assert of_synthetic.summary["systems"]["hybrid"]["ndcg@10"] > 0.5
    # Smaller chunks are more of them for one label, while documents stay what they are.
    assert relevant[32] > relevant[64] > 0 and relevant[128] >= 24
    assert min(found.values()) > 0.6 and max(found.values()) - min(found.values()) < 0.15


def test_a_label_that_points_to_nothing_counts_as_not_found():
    chunks = make_chunks(("doc", 0, 100, "answer"), ("doc", 100, 200, "the rest"))
    queries = make_queries("synthetic", {"good": "query", "lost": "other query"})
    labels = span_labels(("good", "doc", 0, 100), ("lost", "doc", 900, 1000))
    encoder = TableEncoder({"query": ranking("answer", "the rest"), "other query": ranking("answer", "the rest")})
    (scores,) = score_systems(LabelledCollection("doc", chunks, queries, labels), Contest({"base": encoder}), SETTINGS)
    assert scores.summary["queries"] == 2
    assert scores.summary["systems"]["base"] == dict.fromkeys(METRICS, 0.5)


def test_queries_without_a_label_are_left_out():
    queries = pl.concat([SOUNDS, make_queries("human", {"q3": "nobody labelled this"})])
    (scores,) = score_systems(LabelledCollection("animals", ANIMALS, queries, SOUND_LABELS), Contest({"base": MIXED}), SETTINGS)
    assert scores.summary["queries"] == 2 and sorted(scores.per_query["query_id"]) == ["q10", "q2"]


def test_human_own_and_synthetic_queries_are_scored_apart_and_dev_queries_not_at_all():
    queries = pl.concat(
        [
            make_queries("synthetic", {"s1": "who hums"}),
            make_queries("own", {"o1": "pets", "o2": "who hums"}),
            make_queries("human", {"h1": "pets"}),
            make_queries("synthetic", {"s2": "pets"}, split="dev"),
            make_queries("own", {"o3": "pets"}, split="dev"),
        ]
    )
    spans = [("s1", "bee", 0, 9), ("s2", "cat", 0, 9), ("o1", "cow", 0, 9), ("o2", "cow", 0, 9), ("o3", "cat", 0, 9)]
    labels = pl.concat([human_labels(("h1", "cat", 1)), span_labels(*spans)])
    human, own, synthetic = score_systems(
        LabelledCollection("animals", ANIMALS, queries, labels), Contest({"base": MIXED}), SETTINGS
    )
    assert (human.summary["labels"], human.summary["queries"], human.summary["systems"]["base"]["mrr@10"]) == ("human", 1, 0.5)
    # Cows are first for pets, and third for what hums.
    assert (own.summary["labels"], own.summary["queries"]) == ("own", 2)
    assert own.summary["systems"]["base"]["mrr@10"] == pytest.approx((1 + 1 / 3) / 2)
    assert (synthetic.summary["labels"], synthetic.summary["queries"]) == ("synthetic", 1)
    assert synthetic.summary["systems"]["base"]["mrr@10"] == 1.0
    assert human.runs["unit"].unique().sort().to_list() == ["bee", "cat", "cow", "dog"]
    assert own.runs["unit"][0] == "cow::0" and synthetic.runs["unit"][0] == "bee::0"
    assert scores_table(own.summary).startswith("animals: 2 own queries about 1 documents\n")


def test_all_chunks_that_answer_a_query_together_are_relevant():
    """Cats and bees answer it; they are ranked second and fourth."""
    queries, labels = (
        make_queries("synthetic", {"m": "pets"}, style="multi_hop"),
        span_labels(("m", "cat", 0, 9), ("m", "bee", 0, 9)),
    )
    (scores,) = score_systems(LabelledCollection("animals", ANIMALS, queries, labels), Contest({"base": MIXED}), SETTINGS)
    found = scores.summary["systems"]["base"]
    assert (found["recall@1"], found["recall@5"], found["mrr@10"]) == (0.0, 1.0, 0.5)
    assert found["map@10"] == pytest.approx((1 / 2 + 2 / 4) / 2)


def test_no_test_query_gives_a_report_that_says_so(tmp_path):
    scores = score_systems(
        LabelledCollection("animals", ANIMALS, SOUNDS.clear(), SOUND_LABELS.clear()), Contest({"base": MIXED}), SETTINGS
    )
    (tmp_path / REPORT).mkdir()
    write_scores(tmp_path, scores, SOUND_LABELS.clear(), None, SETTINGS)
    (finding,) = json.loads((tmp_path / REPORT / FINDINGS).read_text())
    assert not finding["passed"] and "no test query" in finding["message"]
    some = score_systems(LabelledCollection("animals", ANIMALS, SOUNDS, SOUND_LABELS), Contest({"base": MIXED}), SETTINGS)
    for empty, full in zip(join_scores(scores), join_scores(some), strict=True):
        assert empty.is_empty() and not full.is_empty() and empty.schema == full.schema


@pytest.fixture(scope="module")
def extremes():
    """Scores of a perfect, a useless and a half-good system over 120 documents and 20 queries."""
    texts = {f"q{number:02}": f"query {number}" for number in range(20)}
    others = [f"passage {number}" for number in range(20, 120)]
    perfect = TableEncoder({text: ranking(f"passage {number}") for number, text in enumerate(texts.values())})
    useless = TableEncoder({text: dict.fromkeys(others, 0.5) for text in texts.values()})
    half = TableEncoder({text: ranking(f"passage {number // 2 * 2}") for number, text in enumerate(texts.values())})
    labels = human_labels(*((name, f"d{number:03}", 1) for number, name in enumerate(texts)))
    encoders = {"useless": useless, "perfect": perfect, "half": half, "copy": perfect}
    pairs = [("perfect", "useless"), ("useless", "perfect"), ("half", "useless"), ("copy", "perfect")]
    queries = pl.concat(
        [
            make_queries("human", {name: text}, style="even" if i % 2 == 0 else "odd")
            for i, (name, text) in enumerate(texts.items())
        ]
    )
    (scores,) = score_systems(
        LabelledCollection("numbers", numbered(120), queries, labels), Contest(encoders, comparisons=pairs), SETTINGS
    )
    return scores


def test_vectors_that_lie_in_files_score_the_same(monkeypatch):
    chunks, queries, labels, encoders = random_collection("human")
    in_memory = score_systems(LabelledCollection("random", chunks, queries, labels), Contest(encoders), SETTINGS)
    monkeypatch.setattr(runs, "BYTES_IN_MEMORY", 1)
    in_files = score_systems(LabelledCollection("random", chunks, queries, labels), Contest(encoders), SETTINGS)
    assert in_files[0].runs.equals(in_memory[0].runs)
    assert isinstance(runs.Systems(chunks, encoders, False)._vectors["base"], np.memmap)


def test_variants_of_a_model_take_nothing_from_the_comparisons():
    texts = {f"q{number}": f"query {number}" for number in range(6)}
    better = TableEncoder({text: ranking(f"passage {number}") for number, text in enumerate(texts.values())})
    worse = TableEncoder({text: ranking("passage 7", f"passage {number}") for number, text in enumerate(texts.values())})
    labels = human_labels(*((name, f"d{number:03}", 1) for number, name in enumerate(texts)))
    encoders = {"base": worse, "tuned": better, "tuned_8": worse, "tuned_4": worse}
    labelled = LabelledCollection("numbers", numbered(12), make_queries("human", texts), labels)

    def p_values(**pairs) -> dict[str, float]:
        (scores,) = score_systems(labelled, Contest(encoders, **pairs), SETTINGS)
        return {test["system"]: test["p_value"] for test in scores.summary["tests"]}

    main, short = [("tuned", "base")], [("tuned_8", "tuned"), ("tuned_4", "tuned")]
    alone, together = p_values(comparisons=main), p_values(comparisons=main, variants=short)
    assert alone["tuned"] == together["tuned"] == 2 / 2**6
    assert together["tuned_8"] == together["tuned_4"] == 2 * alone["tuned"]
    assert p_values(comparisons=main + short)["tuned"] == 3 * alone["tuned"]


def test_a_perfect_system_scores_one_and_a_useless_one_zero(extremes):
    assert extremes.summary["systems"]["perfect"] == dict.fromkeys(METRICS, 1.0)
    assert extremes.summary["systems"]["useless"] == dict.fromkeys(METRICS, 0.0)
    assert extremes.summary["systems"]["half"]["recall@1"] == 0.5


def test_intervals_hold_the_mean(extremes):
    assert extremes.summary["intervals"]["perfect"] == [1.0, 1.0] and extremes.summary["intervals"]["useless"] == [0.0, 0.0]
    low, high = extremes.summary["intervals"]["half"]
    mean = extremes.summary["systems"]["half"]["ndcg@10"]
    assert 0 < low < mean < high < 1
    # About twice the standard error of a mean of 20 values, half of them 1.
    assert high - low == pytest.approx(2 * 1.96 * 0.5 / 20**0.5, rel=0.35)


def test_tests_tell_a_difference_from_none(extremes):
    tests = {(test["system"], test["baseline"]): test for test in extremes.summary["tests"]}
    assert list(tests) == [("perfect", "useless"), ("useless", "perfect"), ("half", "useless"), ("copy", "perfect")]
    assert tests["perfect", "useless"]["difference"] == 1.0 and tests["useless", "perfect"]["difference"] == -1.0
    assert tests["perfect", "useless"]["p_value"] < 0.001
    assert tests["half", "useless"]["low"] > 0 and tests["half", "useless"]["p_value"] < 0.01
    assert tests["half", "useless"]["low"] <= tests["half", "useless"]["difference"] <= tests["half", "useless"]["high"]
    assert (tests["copy", "perfect"]["difference"], tests["copy", "perfect"]["p_value"]) == (0.0, 1.0)


def test_styles_are_scored_apart(extremes):
    styles = extremes.summary["styles"]
    assert styles["even"] == {"queries": 10, "useless": 0.0, "perfect": 1.0, "half": 1.0, "copy": 1.0}
    assert styles["odd"]["queries"] == 10 and styles["odd"]["perfect"] == 1.0 and styles["odd"]["half"] < 0.5


def test_runs_hold_the_best_units_with_rank_and_score(extremes):
    runs = extremes.runs.filter(pl.col("system") == "perfect")
    assert len(runs) == 20 * SETTINGS.top_k
    first = runs.filter(pl.col("rank") == 1)
    assert first.select("query_id", "unit").rows() == [(f"q{number:02}", f"d{number:03}") for number in range(20)]
    assert first["score"].to_list() == [1.0] * 20


def test_the_summary_is_json_with_exactly_these_keys(extremes):
    assert list(extremes.summary) == [
        *("collection", "labels", "queries", "documents", "systems", "intervals", "tests", "styles"),
        *("label_counts", "hybrid_weights", "dimensions"),
    ]
    assert json.loads(json.dumps(extremes.summary, allow_nan=False)) == extremes.summary
    named = {"system", "baseline", "metric", "difference", "low", "high", "p_value", "standard_error", "test"}
    assert set(extremes.summary["tests"][0]) == named


def test_the_check_tells_the_smallest_difference_that_so_many_queries_show(extremes):
    """The scores of "half" are 0 or 1, ten times each: the standard error is 0.5 / sqrt(20), and 2.8 of it are 0.31."""
    test = next(test for test in extremes.summary["tests"] if test["system"] == "half")
    summary = extremes.summary | {"tests": [test | {"system": "tuned", "baseline": "base"}]}
    summary["systems"] = extremes.summary["systems"] | {"base": extremes.summary["systems"]["useless"]}
    finding = check_scores([summary])[0]
    detectable = float(re.search(r"differences from about ([0-9.]+) on", finding.message).group(1))
    assert finding.passed and detectable == pytest.approx(2.8 * 0.5 / 20**0.5, rel=0.15)
    same = test | {"system": "tuned", "baseline": "base", "difference": 0.0, "standard_error": 0.0}
    assert "differences" not in check_scores([summary | {"tests": [same]}])[0].message


def test_scoring_twice_gives_the_same(extremes):
    again = [
        score_systems(LabelledCollection("animals", ANIMALS, SOUNDS, SOUND_LABELS), Contest({"base": MIXED}), SETTINGS)[0].summary
        for _ in range(2)
    ]
    assert again[0] == again[1]


def test_a_single_query_has_neither_interval_nor_significance():
    (scores,) = score_systems(
        LabelledCollection("animals", ANIMALS, SOUNDS.head(1), SOUND_LABELS.head(1)),
        Contest({"a": MIXED, "b": MIXED}, comparisons=[("a", "b")]),
        SETTINGS,
    )
    assert scores.summary["intervals"]["a"] == [0, 1]
    test = scores.summary["tests"][0]
    assert (test["difference"], test["low"], test["high"], test["p_value"], test["standard_error"]) == (0.0, -1.0, 1.0, 1.0, None)


# Of the products of 1, .99, .98 and .97, which are the vectors of four passages here.
DEVIATION = 0.012717


def test_bm25_and_hybrids_stand_beside_the_dense_systems():
    """The word finds dogs alone, for the model cats are first, and dogs .02 above the last, the cows."""
    queries, labels = make_queries("human", {"q": "bark"}), human_labels(("q", "dog", 1))
    encoder = TableEncoder({"bark": ranking("cats purr", "dogs bark", "bees hum", "cows moo")})
    (scores,) = score_systems(
        LabelledCollection("animals", ANIMALS, queries, labels), Contest({"base": encoder}, hybrids={"hybrid": "base"}), SETTINGS
    )
    assert list(scores.summary["systems"]) == ["base", "bm25", "hybrid"]
    assert {name: row["mrr@10"] for name, row in scores.summary["systems"].items()} == {"base": 0.5, "bm25": 1.0, "hybrid": 1.0}
    best = scores.runs.filter((pl.col("system") == "hybrid") & (pl.col("rank") == 1))
    assert best["unit"].to_list() == ["dog"] and best["score"].to_list() == pytest.approx(
        [0.5 + 0.5 * 0.02 / DEVIATION], abs=1e-3
    )


def test_the_hybrid_of_a_query_that_is_little_but_identifiers_goes_by_words():
    """As above: the weight of the word is 0.5, and 0.8 where the word is an identifier."""
    queries, labels = make_queries("human", {"q": "bark"}), human_labels(("q", "dog", 1))
    encoders = {"base": TableEncoder({"bark": ranking("cats purr", "dogs bark", "bees hum", "cows moo")})}
    scored = [
        score_systems(
            LabelledCollection("animals", ANIMALS, queries, labels),
            Contest(encoders, hybrids={"hybrid": "base"}),
            SETTINGS,
            patterns=patterns,
        )[0].runs
        for patterns in ((r"\d+",), ("bark",))
    ]
    best = [runs.filter((pl.col("system") == "hybrid") & (pl.col("rank") == 1))["score"].item() for runs in scored]
    assert best == pytest.approx([0.5 + 0.5 * 0.02 / DEVIATION, 0.8 + 0.2 * 0.02 / DEVIATION], abs=1e-3)


def test_bm25_scores_zero_where_no_word_matches_and_the_hybrid_follows_the_model():
    queries, labels = make_queries("human", {"q": "pets"}), human_labels(("q", "cat", 1))
    encoder = TableEncoder({"pets": ranking("bees hum", "cows moo", "cats purr", "dogs bark")})
    (scores,) = score_systems(
        LabelledCollection("animals", ANIMALS, queries, labels), Contest({"base": encoder}, hybrids={"hybrid": "base"}), SETTINGS
    )
    assert scores.summary["systems"]["bm25"] == dict.fromkeys(METRICS, 0.0)
    assert scores.summary["systems"]["hybrid"] == scores.summary["systems"]["base"]


class TableReranker:
    """The score of each passage, as written down; remembers what it was asked."""

    def __init__(self, scores: dict[str, float]):
        self.scores = scores
        self.asked: list[tuple[str, str]] = []

    def score(self, pairs):
        self.asked += pairs
        return np.array([self.scores[passage] for _, passage in pairs], dtype=np.float32)


def test_a_re_ranker_orders_the_first_chunks_of_another_system():
    """Dogs are found first and bees second; cats would be best, but are no candidate."""
    queries, labels = make_queries("human", {"q": "bark"}), human_labels(("q", "bee", 1))
    encoder = TableEncoder({"bark": ranking("dogs bark", "bees hum", "cats purr", "cows moo")})
    reranker = TableReranker({"dogs bark": -2.0, "bees hum": -1.0, "cats purr": 9.0})
    (scores,) = score_systems(
        LabelledCollection("animals", ANIMALS, queries, labels),
        Contest(
            {"tuned": encoder},
            hybrids={"hybrid": "tuned"},
            reranked={"hybrid_reranked": RerankedSystem("hybrid", reranker, top_k=2)},
            comparisons=[("hybrid_reranked", "hybrid")],
        ),
        SETTINGS,
    )
    assert list(scores.summary["systems"]) == ["tuned", "bm25", "hybrid", "hybrid_reranked"]
    assert reranker.asked == [("bark", "dogs bark"), ("bark", "bees hum")]
    assert scores.summary["systems"]["hybrid"]["mrr@10"] == 0.5
    assert scores.summary["systems"]["hybrid_reranked"]["mrr@10"] == 1.0
    assert scores.summary["tests"][0]["difference"] == pytest.approx(1 - 1 / log2(3))
    order = scores.runs.filter(pl.col("system") == "hybrid_reranked")
    assert order["unit"].to_list() == ["bee", "dog", "cat", "cow"]


def test_a_re_rankers_scores_can_be_fused_with_those_of_the_other_system():
    """Dogs: 0 of the re-ranker, 1 of the model; bees 1/11 and 1/2; cats 1 and 0. With a weight of 0.4 dogs have 0.6."""
    encoder = TableEncoder({"bark": ranking("dogs bark", "bees hum", "cats purr", "cows moo")})
    reranker = TableReranker({"dogs bark": -2.0, "bees hum": -1.0, "cats purr": 9.0})
    (scores,) = score_systems(
        LabelledCollection("animals", ANIMALS, make_queries("human", {"q": "bark"}), human_labels(("q", "bee", 1))),
        Contest({"base": encoder}, reranked={"reranked": RerankedSystem("base", reranker, top_k=3, weight=0.4)}),
        SETTINGS,
    )
    order = scores.runs.filter(pl.col("system") == "reranked")
    assert order["unit"].to_list() == ["dog", "cat", "bee", "cow"]
    assert order["score"].to_list()[:3] == pytest.approx([0.6, 0.4, 0.4 / 11 + 0.3], abs=1e-3)


def test_a_re_ranker_is_asked_once_for_all_queries(monkeypatch):
    """What each query gets does not depend on the blocks in which they are searched."""
    chunks, queries, labels, encoders = random_collection("human")
    orders = []
    for block in (3, 256):
        monkeypatch.setattr("embed_assets.retrieval.ranking.QUERIES_IN_A_BLOCK", block)
        reranker = LengthReranker()
        reranked = {"reranked": RerankedSystem("tuned", reranker, top_k=7, weight=0.5)}
        (scores,) = score_systems(
            LabelledCollection("random", chunks, queries, labels), Contest(encoders, reranked=reranked), SETTINGS
        )
        assert len(reranker.calls) == 1 and reranker.calls[0] == 7 * scores.summary["queries"]
        orders.append(scores.runs)
    assert scores.summary["queries"] > 3
    assert orders[0].equals(orders[1])


class LengthReranker:
    """Longer passages are better; remembers how many pairs each call had."""

    def __init__(self):
        self.calls: list[int] = []

    def score(self, pairs):
        self.calls.append(len(pairs))
        return np.array([len(query) + len(passage) for query, passage in pairs], dtype=np.float32)


class ConstantReranker:
    def score(self, pairs):
        return np.full(len(pairs), 3.0, dtype=np.float32)


@pytest.mark.parametrize("weight", [None, 0.33, 1.0])
@pytest.mark.parametrize("source", ["human", "synthetic"])
def test_a_re_ranker_that_does_nothing_changes_nothing(source, weight):
    chunks, queries, labels, encoders = random_collection(source)
    reranked = {"reranked": RerankedSystem("hybrid", ConstantReranker(), top_k=40, weight=weight)}
    (scores,) = score_systems(
        LabelledCollection("random", chunks, queries, labels),
        Contest(encoders, hybrids={"hybrid": "tuned"}, reranked=reranked, comparisons=[("reranked", "hybrid")]),
        SETTINGS,
    )
    of = {name: scores.per_query.filter(pl.col("system") == name).drop("system") for name in ("hybrid", "reranked")}
    assert of["hybrid"].equals(of["reranked"]) and scores.summary["tests"][0]["p_value"] == 1.0


def test_a_document_of_the_hybrid_scores_as_its_best_fused_chunk():
    """Words find the one chunk of a, the model the other: neither chunk is as good as that of b, which both find second."""
    chunks = make_chunks(("a", 0, 9, "bark"), ("a", 9, 18, "meow"), ("b", 0, 9, "bark loud tree"), ("c", 0, 9, "moo"))
    encoder = TableEncoder({"bark": {"meow": 1.0, "bark loud tree": 0.9, "bark": 0.0, "moo": 0.1}})
    queries, labels = make_queries("human", {"q": "bark"}), human_labels(("q", "b", 1))
    (scores,) = score_systems(
        LabelledCollection("animals", chunks, queries, labels), Contest({"base": encoder}, hybrids={"hybrid": "base"}), SETTINGS
    )
    assert scores.runs.filter(pl.col("system") == "hybrid")["unit"][0] == "b"


def test_a_query_that_is_a_document_does_not_find_itself_unless_it_should():
    queries = make_queries("human", {"cat": "pets", "dog": "pets"})
    encoder = TableEncoder({"pets": ranking("cats purr", "dogs bark", "cows moo", "bees hum")})
    labels = human_labels(("cat", "dog", 1), ("dog", "dog", 1))
    (scores,) = score_systems(
        LabelledCollection("animals", ANIMALS, queries, labels), Contest({"base": encoder}, hybrids={"hybrid": "base"}), SETTINGS
    )
    runs = {key: frame["unit"].to_list() for key, frame in scores.runs.group_by("query_id", "system", maintain_order=True)}
    assert runs["cat", "base"] == ["dog", "cow", "bee"] == runs["cat", "hybrid"]
    assert runs["dog", "base"] == ["cat", "dog", "cow", "bee"]


def test_queries_about_one_document_are_one_cluster():
    queries = make_queries("human", {"q1": "pets", "q2": "who hums", "q3": "pets"})
    labels = human_labels(("q1", "cat", 1), ("q2", "cat", 1), ("q2", "bee", 1), ("q3", "bee", 1), ("q3", "cow", 1))
    (scores,) = score_systems(LabelledCollection("animals", ANIMALS, queries, labels), Contest({"base": MIXED}), SETTINGS)
    assert scores.per_query["cluster"].to_list() == ["bee", "bee", "bee"] or scores.summary["documents"] == 2
    assert scores.summary["documents"] == len(set(scores.per_query["cluster"]))


def test_p_values_are_corrected_for_the_number_of_comparisons():
    chunks, queries, labels, encoders = random_collection("human")
    alone, both = (
        score_systems(
            LabelledCollection("random", chunks, queries, labels),
            Contest(encoders, hybrids={"hybrid": "tuned"}, comparisons=pairs),
            SETTINGS,
        )[0].summary["tests"]
        for pairs in ([("tuned", "base")], [("tuned", "base"), ("hybrid", "hybrid")])
    )
    assert both[0]["p_value"] == pytest.approx(min(1, 2 * alone[0]["p_value"]))


def test_candidates_are_chunks_also_where_documents_are_scored():
    """Both chunks of a are found first: b has no candidate, and stays below whatever a scores."""
    chunks = make_chunks(("a", 0, 10, "a begins"), ("a", 10, 20, "a ends"), ("b", 0, 10, "b"), ("c", 0, 10, "c"))
    encoder = TableEncoder({"query": ranking("a begins", "a ends", "b", "c")})
    reranker = TableReranker({"a begins": -8.0, "a ends": -9.0})
    (scores,) = score_systems(
        LabelledCollection("letters", chunks, make_queries("human", {"q": "query"}), human_labels(("q", "b", 1))),
        Contest({"base": encoder}, reranked={"reranked": RerankedSystem("base", reranker, top_k=2)}),
        SETTINGS,
    )
    order = scores.runs.filter(pl.col("system") == "reranked")
    assert order["unit"].to_list() == ["a", "b", "c"]
    assert order["score"][0] == -8.0


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        (0.4, "the first 3 chunks of base, re-ordered: 0.6 of base, 0.4 of scores of its own"),
        (None, "re-ordered: scores of its own"),
    ],
)
def test_the_table_says_what_is_re_ordered_and_how_it_is_fused(weight, words):
    encoder = TableEncoder({"bark": ranking("dogs bark", "bees hum", "cats purr", "cows moo")})
    reranked = {"late": RerankedSystem("base", ConstantReranker(), top_k=3, weight=weight)}
    queries, labels = make_queries("human", {"q": "bark"}), human_labels(("q", "bee", 1))
    (scores,) = score_systems(
        LabelledCollection("animals", ANIMALS, queries, labels), Contest({"base": encoder}, reranked=reranked), SETTINGS
    )
    table = scores_table(json.loads(json.dumps(scores.summary)))
    assert "| late | " in table and table.splitlines()[-1].startswith("- late: ") and table.endswith(words)


def test_the_table_shows_every_system_and_test(extremes):
    table = scores_table(extremes.summary)
    assert table.startswith("numbers: 20 human queries about 20 documents\n")
    assert "| perfect | 1.000 | 1.000 | 1.000 | 1.000 | 1.000 | 1.000 | 1.000 – 1.000 |" in table
    assert "- perfect against useless: +1.000 ndcg@10" in table


TREC_MEASURES = {
    name: name.replace("ndcg@", "ndcg_cut_")
    .replace("recall@", "recall_")
    .replace("map@", "map_cut_")
    .replace("mrr@10", "recip_rank")
    for name in METRICS
}


def trec_eval(qrels: dict[str, dict[str, int]], run: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """The metrics of trec_eval by query; a query that found nothing has 0."""
    measures = {measure.rpartition("_")[0] if measure[-1].isdigit() else measure for measure in TREC_MEASURES.values()}
    cutoffs = {f"{measure}.{','.join(c for c in ('1', '5', '10', '100'))}" for measure in measures if measure != "recip_rank"}
    found = pytrec_eval.RelevanceEvaluator(qrels, cutoffs).evaluate(run)
    # trec_eval has no reciprocal rank of the first ten; it ranks by score, so the ten best make a run of their own.
    first_ten = {query: dict(sorted(units.items(), key=lambda item: -item[1])[:10]) for query, units in run.items()}
    reciprocal = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank"}).evaluate(first_ten)
    values = {query: found[query] | reciprocal[query] for query in found}
    return {query: {name: values.get(query, {}).get(measure, 0.0) for name, measure in TREC_MEASURES.items()} for query in qrels}


def random_collection(source: str) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, dict[str, TableEncoder]]:
    """150 documents of one or two chunks, 60 queries with graded labels, and two systems with many equal scores."""
    random = np.random.default_rng(13)
    words = [f"word{number}" for number in range(80)]
    chunks = make_chunks(
        *(
            (f"d{document:03}", 10 * part, 10 * part + 9, f"{document} {part} {' '.join(random.choice(words, 6))}")
            for document in range(150)
            for part in range(1 + document % 2)
        )
    )
    texts = {f"q{number}": f"{number} {' '.join(random.choice(words, 2))}" for number in range(60)} | {"none": "zzz"}
    passages = chunks["passage"].to_list()
    encoders = {
        name: TableEncoder(
            {text: dict(zip(passages, random.integers(0, 30, len(passages)) / 30, strict=True)) for text in texts.values()}
        )
        for name in ("base", "tuned")
    }
    rows = []
    for query in texts:
        for row in random.choice(len(chunks), random.integers(1, 15), replace=False).tolist():
            document, start, end = chunks.row(row)[1:4]
            rows.append(
                (query, document, *((None, None) if source == "human" else (start, end)), None, int(random.integers(1, 4)))
            )
    rows = [*rows, ("q0", "gone", *((None, None) if source == "human" else (0, 9)), None, 2)]
    labels = pl.DataFrame(rows, schema=LABEL_SCHEMA, orient="row").unique(
        ["query_id", "document_id", "start"], maintain_order=True
    )
    return chunks, make_queries(source, texts), labels, encoders


@pytest.mark.parametrize("source", ["human", "synthetic"])
def test_every_metric_is_that_of_trec_eval(source):
    """Graded labels, equal scores, documents of several chunks, a query that finds nothing, a label that is gone."""
    chunks, queries, labels, encoders = random_collection(source)
    (scores,) = score_systems(
        LabelledCollection("random", chunks, queries, labels), Contest(encoders, hybrids={"hybrid": "tuned"}), SETTINGS
    )
    unit = "document_id" if source == "human" else pl.format("{}::{}", "document_id", "start")
    qrels: dict[str, dict[str, int]] = {}
    for query, name, relevance in (
        labels.filter(pl.col("document_id") != "gone").select("query_id", unit, "relevance").iter_rows()
    ):
        qrels.setdefault(query, {})[name] = relevance
    assert scores.runs.filter((pl.col("system") == "bm25") & (pl.col("query_id") == "none")).is_empty()
    ties = scores.runs.filter(pl.col("system") == "base").group_by("query_id").agg(pl.col("score").n_unique(), pl.len())
    assert (ties["score"] < ties["len"]).all()
    for system in ("base", "tuned", "bm25", "hybrid"):
        run: dict[str, dict[str, float]] = {}
        for query, name, rank in scores.runs.filter(pl.col("system") == system).select("query_id", "unit", "rank").iter_rows():
            run.setdefault(query, {})[name] = float(1000 - rank)
        expected = trec_eval(qrels, run)
        ours = {row["query_id"]: row for row in scores.per_query.filter(pl.col("system") == system).iter_rows(named=True)}
        assert set(ours) == set(expected) and len(ours) == 61
        for query, row in expected.items():
            assert {metric: ours[query][metric] for metric in METRICS} == pytest.approx(row, abs=1e-6), (system, query)
        means = {metric: np.mean([row[metric] for row in expected.values()]) for metric in METRICS}
        assert scores.summary["systems"][system] == pytest.approx(means, abs=1e-6)
    assert 0 < scores.summary["systems"]["base"]["ndcg@10"] < 1


def test_a_model_that_was_trained_for_it_is_scored_with_its_first_dimensions_too(tmp_path):
    chunks, queries, labels, _ = random_collection("human")
    vectors = np.random.default_rng(0).normal(size=(400, 8)).astype(np.float32)
    number = {text: row for row, text in enumerate([*chunks["passage"], *queries["query"]])}

    class Vectors:
        def encode_queries(self, texts):
            return vectors[[number[text] for text in texts]]

        encode_passages = encode_queries

    tuned = Vectors()
    encoders = {"base": tuned, "tuned": tuned, "tuned_4": FirstDimensions(tuned, 4), "tuned_8": FirstDimensions(tuned, 8)}
    (scores,) = score_systems(LabelledCollection("random", chunks, queries, labels), Contest(encoders), SETTINGS)
    assert scores.summary["dimensions"] == {"base": 8, "tuned": 8, "tuned_4": 4, "tuned_8": 8}
    found = scores.summary["systems"]
    assert found["tuned_4"] != found["tuned"]
    unit = vectors[:, :4] / np.linalg.norm(vectors[:, :4], axis=1, keepdims=True)
    assert FirstDimensions(tuned, 4).encode_queries(chunks["passage"].to_list()) == pytest.approx(unit[: len(chunks)])
    (tmp_path / REPORT).mkdir()
    draw_dimensions(tmp_path, scores.summary)
    assert (tmp_path / REPORT / "dimensions.png").stat().st_size > 5000
    whole = scores.summary | {"dimensions": {"base": 8, "tuned": 8}}
    (tmp_path / "whole" / REPORT).mkdir(parents=True)
    draw_dimensions(tmp_path / "whole", whole)
    assert not list((tmp_path / "whole" / REPORT).iterdir())
