import json
import math

import numpy as np
import polars as pl
import pytest

from embed_assets.models.answers import Sampling
from embed_assets.models.language_models import LanguageModel
from embed_assets.models.settings import LanguageModelSettings
from embed_assets.queries.answers import read_question
from embed_assets.queries.filters import QuestionRules, filter_pairs
from embed_assets.queries.judges import NO, YES, Judgement, _drop_below, drop_badly_judged, drop_unanswerable
from embed_assets.queries.pairs import PAIR_SCHEMA, TEXT_WRITER
from embed_assets.queries.prompts import load_prompt
from embed_assets.queries.settings import QuestionsSettings
from embed_assets_tests.sample_documents import ask

RULES = QuestionRules(QuestionsSettings())
PRINTER = (
    "Printer > Fixed problems\nBug PRT-7719 stops large print jobs after the clock change. "
    "Restart the spooler service with --force, or wait for release 3.8.1, which contains the fix."
)
BACKUP = "Backup\nSnapshots are kept for 30 days by default. Set keep_days to change it. Expired snapshots are removed at night."


@pytest.mark.parametrize(
    ("answer", "question"),
    [
        (" Why does the pump run dry?", "Why does the pump run dry?"),
        ("Question: Why does the pump run dry?", "Why does the pump run dry?"),
        ("QUERY 2: dry pump", "dry pump"),
        ("Q3: dry pump", "dry pump"),
        ("1. Why does the pump run dry?", "Why does the pump run dry?"),
        ("2) Why does the pump run dry?", "Why does the pump run dry?"),
        ("- dry pump", "dry pump"),
        ("• dry pump", "dry pump"),
        ('"Why does the pump run dry?"', "Why does the pump run dry?"),
        ("“Why does the pump run dry?”", "Why does the pump run dry?"),
        ("\n\n  Question: Why dry?  \nAnswer: the switch.", "Why dry?"),
        ("2.5 bar is shown, why?", "2.5 bar is shown, why?"),
        ("--dry-run does nothing", "--dry-run does nothing"),
        ("Questions about pumps: where?", "Questions about pumps: where?"),
        ("What does `trunk allow` do?", "What does `trunk allow` do?"),
        (" \n ", ""),
        ("", ""),
        *[
            pytest.param(f"{label} Why dry?", "Why dry?")
            for label in ("How-to:", "Problem:", "Search:", "1. Question:", "**Question:**")
        ],
        pytest.param('Where do I set "dry run"', 'Where do I set "dry run"'),
    ],
)
def test_an_answer_is_cleaned_of_labels_numbers_and_quotes(answer, question):
    assert read_question(answer) == question


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("", "empty"),
        ("?!", "empty"),
        ("large print", "fewer than 3 words"),
        ("stuck print jobs", None),
        ("why stuck why stuck why stuck", "repeats itself"),
        ("why is it stuck, is it why", None),
        (" ".join(f"word{first}{second}" for first in "abcd" for second in "abcdefghij"), None),
        (" ".join(f"word{first}{second}" for first in "abcd" for second in "abcdefghij") + " more", "more than 40 words"),
        ("How do I reset a forgotten administrator password on the appliance?", "copy of an example"),
        ("Restart the Spooler service", "copy of the passage"),
        ("restart the spooler", "copy of the passage"),
        ("What does the passage say about print jobs?", "speaks of the passage"),
        ("Which bugs does this document mention?", "speaks of the passage"),
        ("Which releases do the following sections name?", "speaks of the passage"),
        ("Which release does the above paragraph name?", "speaks of the passage"),
        ("Why are large jobs stuck on line 3 of the queue?", None),
        ("Is it true that bug PRT-7719 stops large print jobs after the clock?", None),
        ("Is it true that bug PRT-7719 stops large print jobs after the clock change?", "copies more than 10 words"),
        ("Which print jobs does PRT-7719 stop?", None),
        ("Which print jobs does PRT-7720 stop?", "unknown identifier"),
        ("Which release after 3.8.1 has the fix?", None),
        ("Why does 3.9.0 not have the fix?", "unknown identifier"),
        ("Do I restart it with --force or --hard?", "unknown identifier"),
        pytest.param("Which print jobs does PRT-771 stop?", "unknown identifier"),
    ],
)
def test_each_rule(query, reason):
    examples = load_prompt("question.jinja", []).examples
    assert RULES.refuse(query, [PRINTER], examples) == reason


@pytest.mark.parametrize(
    "query",
    [
        "Why is the text on the printed page so faint?",
        "How do I print the document on both sides?",
        "Why does the line from the spooler go dead?",
        "Why does this line card restart?",
        "How do I remove the section header of the ini file?",
        "Which of this document feeder's rollers is worn?",
    ],
)
def test_a_question_about_a_document_of_the_user_is_no_passage_talk(query):
    assert RULES.refuse(query, [PRINTER]) is None


def test_an_identifier_is_known_as_a_whole():
    rules = QuestionRules(QuestionsSettings())
    assert rules.refuse("What does 9.3(10) mend in the supervisor?", ["Release 9.3(10) is out."]) is None
    assert rules.refuse("What does 9.3(11) mend in the supervisor?", ["Release 9.3(10) is out."]) == "unknown identifier"


def test_a_question_without_spaces_is_not_too_short():
    query, passage = "なぜポンプは水なしで動き続けるのですか？", "フロートスイッチが固着するとポンプが空運転します。"
    assert RULES.refuse(query, [passage], language="ja") is None


def test_limits_of_the_rules_can_be_set():
    rules = QuestionRules(QuestionsSettings(min_words=2, max_words=6, max_copied_words=3, known_identifiers=False))
    assert rules.refuse("stuck jobs", [PRINTER]) is None
    assert rules.refuse("why are my print jobs stuck again", [PRINTER]) == "more than 6 words"
    assert rules.refuse("why spooler service with force", [PRINTER]) == "copies more than 3 words"
    assert rules.refuse("why large print jobs", [PRINTER]) is None
    assert rules.refuse("what does PRT-7720 stop", [PRINTER]) is None


def test_a_question_about_several_passages_may_name_the_identifiers_of_each():
    query = "Does PRT-7719 also stop what keep_days is set for?"
    assert RULES.refuse(query, [PRINTER]) == RULES.refuse(query, [BACKUP]) == "unknown identifier"
    assert RULES.refuse(query, [PRINTER, BACKUP]) is None
    assert RULES.refuse("Expired snapshots are removed", [PRINTER, BACKUP]) == "copy of the passage"


@pytest.mark.parametrize(
    ("query", "language", "reason"),
    [
        ("Wie lange werden die Sicherungen aufbewahrt?", "en", "another language"),
        ("Combien de temps les sauvegardes sont-elles conservées ?", "en", "another language"),
        ("How long are the snapshots kept, and who removes them?", "en", None),
        ("How long are the snapshots kept, and who removes them?", "de", "another language"),
        ("Wie lange werden die Sicherungen aufbewahrt?", "de", None),
        ("PRT-7719 large print jobs stuck since clock change", "en", None),
        ("spooler --force after PRT-7719 in 3.8.1", "en", None),
        ("keep_days snapshots removed nachts", "en", None),
        ("Hvor lenge blir sikkerhetskopiene lagret, og hvem sletter dem?", "nn", None),
        pytest.param("Which versions of Apache are affected by the vulnerability?", "en", None),
    ],
)
def test_a_question_in_another_language_than_was_asked_for_is_refused(query, language, reason):
    assert RULES.refuse(query, [BACKUP, PRINTER], language=language) == reason
    assert QuestionRules(QuestionsSettings(same_language=False)).refuse(query, [BACKUP, PRINTER], language=language) is None


def test_the_round_trip_keeps_what_finds_its_chunk_and_drops_what_does_not(chunks, encoder):
    pairs = ask(
        chunks,
        ("why does the pump run dry", "pump.md"),
        ("how do I make an espresso less bitter", "coffee.md"),
        ("PRT-7719", "printer.md"),
        ("how is a pawn promoted to a queen", "pump.md"),
        ("PRT-7719", "chess.md"),
    )
    filtered = filter_pairs(pairs, chunks, encoder, QuestionsSettings(round_trip_top_k=2))
    assert filtered["dropped"].to_list() == [None, None, None, "not in the first 2", "not in the first 2"]
    assert filtered["rank"].to_list()[:3] == [1, 1, 1]
    assert all(2 < rank <= 12 for rank in filtered["rank"].to_list()[3:])
    assert filtered.drop("dropped", "rank", "similarity").equals(pairs.drop("dropped"))


def test_a_round_trip_that_goes_further_than_the_first_hundred_looks_further(chunks, encoder):
    many = pl.concat(chunks.with_columns(pl.col("document_id") + f" {copy}") for copy in range(10))
    pairs = ask(many, *(("how is a pawn promoted to a queen", name) for name in many["document_id"]))
    filtered = filter_pairs(pairs, many, encoder, QuestionsSettings(round_trip_top_k=len(many), max_similarity=1.0))
    # Copies are equally near, and rounding decides which of them comes first.
    assert filtered["dropped"].null_count() == len(many) and filtered["rank"].max() > 100


def test_repeated_queries_are_marked(chunks, encoder):
    pairs = ask(
        chunks,
        ("why does the pump run dry", "pump.md"),
        ("Why does the PUMP run dry?", "pump.md"),
        ("rinse the filter", "filter.md"),
        ("why does the pump run dry", "filter.md"),
    )
    filtered = filter_pairs(pairs, chunks, encoder, QuestionsSettings(round_trip_top_k=12, max_similarity=1.0))
    assert filtered["dropped"].to_list() == [None, "repeated", None, None]
    assert filtered["rank"][1] is None


def test_a_query_that_was_dropped_before_stays_dropped_and_is_not_ranked(chunks, encoder):
    refused = ask(chunks, ("why does the pump run dry", "pump.md"), dropped="speaks of the passage")
    filtered = filter_pairs(refused, chunks, encoder, QuestionsSettings())
    assert filtered.select("dropped", "rank", "similarity").rows() == [("speaks of the passage", None, None)]


def test_a_query_is_no_repetition_of_one_that_was_dropped(chunks, encoder):
    """The language model copies a sentence, which is refused; the look-up by that sentence comes after it."""
    sentence = "The pump runs dry when the float switch sticks."
    copied, taken = ask(chunks, (sentence, "pump.md"), dropped="copy of the passage"), ask(chunks, (f"{sentence} ", "pump.md"))
    filtered = filter_pairs(pl.concat([copied, taken]), chunks, encoder, QuestionsSettings())
    assert filtered["dropped"].to_list() == ["copy of the passage", None]


def test_without_a_round_trip_nothing_is_ranked(chunks, encoder):
    pairs = ask(chunks, ("when do I hand in my tax return", "pump.md"), ("When do I hand in my tax return?", "pump.md"))
    filtered = filter_pairs(pairs, chunks, encoder, QuestionsSettings(round_trip_top_k=0))
    assert filtered.select("dropped", "rank").rows() == [(None, None), ("repeated", None)]


def test_no_pair_gives_no_pair(chunks, encoder):
    filtered = filter_pairs(ask(chunks), chunks, encoder, QuestionsSettings())
    assert filtered.is_empty() and filtered.columns == [*PAIR_SCHEMA, "rank", "similarity"]


def near_duplicates(chunks: pl.DataFrame, encoder, *queries: tuple[str, ...], max_similarity: float = 0.95) -> list[bool]:
    """Which of the queries are dropped as near-duplicates; checks that only those have a similarity."""
    settings = QuestionsSettings(round_trip_top_k=0, max_similarity=max_similarity)
    filtered = filter_pairs(ask(chunks, *queries), chunks, encoder, settings)
    assert set(filtered["dropped"]) <= {None, "near-duplicate"}
    assert filtered.filter(pl.col("similarity") > max_similarity)["query"].equals(
        filtered.filter(pl.col("dropped") == "near-duplicate")["query"]
    )
    return filtered["dropped"].is_not_null().to_list()


def test_the_first_of_queries_that_say_the_same_is_kept_whatever_their_chunks(chunks, encoder):
    queries = [
        ("Why does the pump run dry?", "pump.md"),
        ("How do I rinse the filter?", "filter.md"),
        ("why is the pump running dry", "valve.md"),
    ]
    assert near_duplicates(chunks, encoder, *queries) == [False, False, True]
    assert near_duplicates(chunks, encoder, *reversed(queries)) == [False, False, True]


def test_a_repeated_query_is_one_query_with_all_its_places(chunks, encoder):
    rows = [("Why does the pump run dry?", "pump.md"), ("why does the PUMP run dry", "valve.md"), ("rinse", "filter.md")]
    for max_similarity in (0.95, 1.0):
        settings = QuestionsSettings(round_trip_top_k=0, max_similarity=max_similarity)
        filtered = filter_pairs(ask(chunks, *rows), chunks, encoder, settings)
        assert filtered.select("query", "document_id", "dropped").rows() == [
            ("Why does the pump run dry?", "pump.md", None),
            ("Why does the pump run dry?", "valve.md", None),
            ("rinse", "filter.md", None),
        ]
        first, second, other = filtered["query_id"]
        assert first == second != other


def test_the_sentence_of_a_neighbour_is_not_joined_with_the_lookup_of_that_sentence(chunks, encoder):
    pairs = ask(chunks, ("The pump runs dry.", "pump.md"), ("The pump runs dry.", "valve.md"))
    pairs = pairs.with_columns(style=pl.Series(["sentence", "neighbour"]))
    filtered = filter_pairs(pairs, chunks, encoder, QuestionsSettings(round_trip_top_k=0))
    assert filtered["dropped"].to_list() == [None, "near-duplicate"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("What does bug PRT-7719 do to print jobs?", "What does bug PRT-7720 do to print jobs?"),
        ("How do I set the pressure to 2 bar?", "How do I set the pressure to 3 bar?"),
        ("What does bug PRT-7719 do to print jobs?", "What does the bug do to print jobs?"),
        ("Is --dry-run safe for the valve motor?", "Is --test-run safe for the valve motor?"),
    ],
)
def test_queries_with_other_identifiers_or_numbers_say_something_else(chunks, encoder, first, second):
    """They are so similar that only the identifier or number tells them apart."""
    assert near_duplicates(chunks, encoder, (first, "pump.md"), (second, "pump.md"), max_similarity=0.7) == [False, False]
    assert near_duplicates(chunks, encoder, (first, "pump.md"), (f"So, {first}", "pump.md"), max_similarity=0.7) == [False, True]


def test_identifiers_of_ones_own_patterns_tell_queries_apart_too(chunks, encoder):
    pairs = ask(chunks, ("What is ticket alpha about?", "pump.md"), ("What is ticket beta about?", "pump.md"))
    settings = {"round_trip_top_k": 0, "max_similarity": 0.5}
    plain = filter_pairs(pairs, chunks, encoder, QuestionsSettings(**settings))
    own = filter_pairs(pairs, chunks, encoder, QuestionsSettings(**settings, identifiers={"extra_patterns": ["alpha|beta"]}))
    assert plain["dropped"].to_list() == [None, "near-duplicate"] and own["dropped"].to_list() == [None, None]


def test_what_was_dropped_is_no_reference_for_others(chunks, encoder):
    """Bread and coffee is near to bread, and coffee to bread and coffee, but coffee is not near to bread."""
    bread, both, coffee = "Where can I buy bread?", "Where can I buy bread and coffee?", "Where can I buy coffee?"
    rows = [(bread, "bread.md"), (both, "bread.md"), (coffee, "coffee.md")]
    assert near_duplicates(chunks, encoder, *rows, max_similarity=0.7) == [False, True, False]
    assert near_duplicates(chunks, encoder, *rows[1:], max_similarity=0.7) == [False, True]


def test_a_query_that_several_chunks_answer_is_dropped_as_a_whole(chunks, encoder):
    rows = [("Why does the pump run dry?", "pump.md"), ("why is the pump running dry", "valve.md", "filter.md")]
    assert near_duplicates(chunks, encoder, *rows) == [False, True, True]
    assert near_duplicates(chunks, encoder, *reversed(rows)) == [False, False, True]


def test_a_refused_query_is_no_reference_and_one_keeps_all(chunks, encoder):
    refused = ask(chunks, ("Why does the pump run dry?", "pump.md"), dropped="speaks of the passage")
    pairs = pl.concat(
        [refused, ask(chunks, ("why does the pump run dry", "pump.md"), ("why is the pump running dry", "pump.md"))]
    )
    filtered = filter_pairs(pairs, chunks, encoder, QuestionsSettings())
    assert filtered["dropped"].to_list() == ["speaks of the passage", None, "near-duplicate"]
    filtered = filter_pairs(pairs, chunks, encoder, QuestionsSettings(max_similarity=1.0))
    assert filtered["dropped"].to_list() == ["speaks of the passage", None, None]


class RandomEncoder:
    """Unit vectors in clusters: many pairs of queries are nearer than 0.95, many are just not."""

    def encode_queries(self, texts):
        draw = np.random.default_rng(13)
        centres = draw.normal(size=(300, 64))
        vectors = centres[draw.integers(300, size=len(texts))] + draw.normal(scale=0.25, size=(len(texts), 64))
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_thousands_of_queries_are_compared_exactly():
    count = 3000
    letters = str.maketrans("0123456789", "abcdefghij")
    queries = [f"{str(number).translate(letters)} query number {number % 7}" for number in range(count)]
    pairs = pl.DataFrame(
        [(f"q{i}", query, "question", "d", i, i + 1, "me", "", *[None] * 4) for i, query in enumerate(queries)],
        schema=PAIR_SCHEMA,
        orient="row",
    )
    settings = QuestionsSettings(round_trip_top_k=0)
    dropped = filter_pairs(pairs, pairs.clear(), RandomEncoder(), settings)["dropped"].is_not_null().to_list()
    similar = np.tril(np.asarray(RandomEncoder().encode_queries(queries)) @ RandomEncoder().encode_queries(queries).T, -1) > 0.95
    expected: list[bool] = []
    for later in range(count):
        earlier = [row for row in np.flatnonzero(similar[later]) if not expected[row]]
        expected.append(any(row % 7 == later % 7 for row in earlier))
    assert dropped == expected and 300 < sum(dropped) < 2700


def test_scores_below_the_threshold_and_missing_ones_drop_the_query():
    pairs = pl.DataFrame(
        {"query_id": ["good", "bad", "silent", "two", "two", "refused", "lookup"], "dropped": [None] * 5 + ["empty", None]},
        schema={"query_id": pl.String, "dropped": pl.String},
    )
    scores = {"good": 0.5, "bad": 0.49, "two": 0.1}
    judged = _drop_below(pairs, ["good", "bad", "silent", "two"], scores, "answerability", 0.5)
    below = "answerability below 0.5"
    assert judged["dropped"].to_list() == [None, below, "no verdict", below, below, "empty", None]
    assert judged["answerability"].to_list() == [0.5, 0.49, None, 0.1, 0.1, None, None]


@pytest.mark.parametrize("asked", [[], ["good"]])
def test_no_score_at_all(asked):
    pairs = pl.DataFrame({"query_id": ["good"], "dropped": [None]}, schema={"query_id": pl.String, "dropped": pl.String})
    judged = _drop_below(pairs, asked, {}, "judge_score", 7.0)
    assert judged.rows() == [("good", "no verdict" if asked else None, None)]
    assert _drop_below(pairs.clear(), [], {}, "judge_score", 7.0).is_empty()


@pytest.fixture(scope="module")
def judge(memos):
    with LanguageModel(LanguageModelSettings(), memos) as model:
        yield model


@pytest.fixture
def candidates(chunks):
    """Three written questions, one of them about two chunks, one that was refused, and a look-up."""
    written = ask(
        chunks,
        ("Why does the pump run dry?", "pump.md"),
        ("How is a pawn promoted?", "tax.md"),
        ("What needs warm water and what a warm kitchen?", "filter.md", "bread.md"),
    )
    refused = ask(chunks, ("What does the text say?", "pump.md"), dropped="speaks of the passage")
    return pl.concat([written, refused, ask(chunks, ("E4012", "pump.md"), writer=TEXT_WRITER)])


def prompts_of(prompt, chunks, candidates) -> list[str]:
    """The prompts of the three written questions, each with all of its passages."""
    texts = dict(chunks.select("document_id", "passage").iter_rows())
    shown = [("pump.md",), ("tax.md",), ("filter.md", "bread.md")]
    queries = candidates["query"].unique(maintain_order=True)
    return [
        prompt.render({"passage": "\n\n".join(texts[name] for name in names), "query": query, "answer": ""})
        for query, names in zip(queries, shown, strict=False)
    ]


@pytest.mark.slow
def test_answerability_is_the_share_of_yes_in_yes_and_no(judge, chunks, candidates):
    prompt = load_prompt("answerable.jinja", [])
    judged = drop_unanswerable(candidates, chunks, prompt, judge, 0.0)
    assert judge.usage.asked == 3
    assert judged["answerability"].null_count() == 2 and judged["dropped"].equals(candidates["dropped"])
    answers = judge.generate(prompts_of(prompt, chunks, candidates), [0] * 3, Sampling(choices=YES + NO))
    assert judge.usage.reused == 3
    found = [json.loads(answer.text) for answer in answers]
    odds = [[sum(math.exp(row.get(word, -math.inf)) for word in words) for words in (YES, NO)] for row in found]
    first, second, both = [yes / (yes + no) for yes, no in odds]
    assert judged["answerability"].to_list() == pytest.approx([first, second, both, both, None, None])
    assert 0 < first < 1 and 0 < second < 1

    best = max(first, second, both)
    strict = drop_unanswerable(candidates, chunks, prompt, judge, best)
    below = f"answerability below {best:g}"
    expected = [None if share == best else below for share in (first, second, both, both)]
    assert strict["dropped"].to_list() == [*expected, "speaks of the passage", None]


@pytest.mark.slow
def test_the_judge_gives_four_marks_whose_mean_counts(judge, chunks, candidates):
    prompt = load_prompt("judge.jinja", [])
    settings = LanguageModelSettings(temperature=0.0, max_new_tokens=200)
    judged = drop_badly_judged(candidates, chunks, prompt, judge, settings, 1.0)
    sampling = Sampling(0.0, settings.top_p, 200, json_schema=json.dumps(Judgement.model_json_schema()))
    answers = judge.generate(prompts_of(prompt, chunks, candidates), [0] * 3, sampling)
    marks = [json.loads(answer.text) for answer in answers]
    assert all(list(row) == ["relevance", "accuracy", "context_support", "clarity"] for row in marks)
    first, second, both = [sum(row.values()) / 4 for row in marks]
    assert judged["judge_score"].to_list() == [first, second, both, both, None, None]
    assert judged["dropped"].equals(candidates["dropped"])
    strict = drop_badly_judged(candidates, chunks, prompt, judge, settings, 10.0)
    assert strict["dropped"].to_list()[4:] == ["speaks of the passage", None]
    assert set(strict["dropped"].to_list()[:4]) <= {None, "judge score below 10"}


@pytest.mark.slow
def test_an_unfinished_verdict_is_none(judge, chunks, candidates):
    settings = LanguageModelSettings(temperature=0.0, max_new_tokens=4)
    judged = drop_badly_judged(candidates, chunks, load_prompt("judge.jinja", []), judge, settings, 1.0)
    assert judged["dropped"].to_list() == ["no verdict"] * 4 + ["speaks of the passage", None]
    assert judge.usage.problems["unfinished"] == 3


@pytest.mark.slow
def test_nothing_to_judge_asks_nothing(judge, chunks, candidates):
    asked = judge.usage.asked
    lookups = candidates.filter(pl.col("writer") == TEXT_WRITER)
    judged = drop_unanswerable(lookups, chunks, load_prompt("answerable.jinja", []), judge, 0.5)
    judged = drop_badly_judged(judged, chunks, load_prompt("judge.jinja", []), judge, LanguageModelSettings(), 7.0)
    assert judged["dropped"].to_list() == [None] and judge.usage.asked == asked
