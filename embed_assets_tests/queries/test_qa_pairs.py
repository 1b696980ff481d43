import json

import polars as pl
import pytest

from embed_assets.artifacts.workspace import CollectionError
from embed_assets.models.answers import Answer
from embed_assets.models.language_models import LanguageModel, Usage
from embed_assets.models.settings import LanguageModelSettings
from embed_assets.queries.checks import check_pairs
from embed_assets.queries.jobs import jobs_about_identifiers, plan_jobs
from embed_assets.queries.pairs import PAIR_SCHEMA, make_pairs
from embed_assets.queries.prompts import load_question_prompts
from embed_assets.queries.qa_pairs import QaPairs, _marks_without_meaning, make_qa_pairs, preview_questions
from embed_assets.queries.settings import QuestionsSettings
from embed_assets.reports.charts import draw_funnel
from embed_assets.reports.queries import funnel_of, write_pairs
from embed_assets.text.near_duplicates import normalize_query
from embed_assets_tests.sample_documents import DOCUMENTS, ask

TABLE = pl.DataFrame(
    [(document.document_id, document.title, document.text) for document in DOCUMENTS],
    schema=["document_id", "title", "text"],
    orient="row",
)
COLUMNS = [*PAIR_SCHEMA, "rank", "similarity", "answerability", "judge_score"]
OWN = [
    {"query": "no water comes out of the pump", "document_id": "pump.md"},
    {"query": "PRT-7719", "document_id": "chess.md", "style": "clicked"},
]


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("How do I reset  PRT-7719?!", "how do i reset prt 7719"),
        ("\tGröße:\n3 µm ", "grösse 3 μm"),  # as Unicode folds case and compatible letters
        ("use --dry-run", "use --dry run"),
        ("...", ""),
    ],
)
def test_queries_are_compared_without_case_and_punctuation(text, normal):
    assert normalize_query(text) == normal


PUMP, VALVE = ({"document_id": f"{name}.md", "start": 0, "end": 9, "text": "..."} for name in ("pump", "valve"))


def test_a_query_has_a_row_for_each_chunk_that_answers_it():
    rows = make_pairs("Why?", "multi_hop", [PUMP, VALVE], "writer", "fingerprint", "causal", 4, "too vague")
    assert len({row.pop("query_id") for row in rows}) == 1
    rest = (0, 9, "writer", "fingerprint", "causal", 4, "too vague", None)
    assert [tuple(row.values()) for row in rows] == [("Why?", "multi_hop", name, *rest) for name in ("pump.md", "valve.md")]
    (row,) = make_pairs("Why?", "question", [PUMP], "writer")
    assert list(row) == list(PAIR_SCHEMA) and list(row.values())[1:] == [
        "Why?",
        "question",
        "pump.md",
        0,
        9,
        "writer",
        "",
        *[None] * 4,
    ]


def test_the_id_of_a_query_depends_on_the_query_its_style_and_its_chunks():
    calls = [
        ("Why?", "a", [PUMP]),
        ("Who?", "a", [PUMP]),
        ("Why?", "b", [PUMP]),
        ("Why?", "a", [VALVE]),
        ("Why?", "a", [PUMP, VALVE]),
    ]
    ids = [make_pairs(*call, "writer")[0]["query_id"] for call in calls]
    assert len(set(ids)) == 5 and {len(query_id) for query_id in ids} == {16}
    assert ids[0] == make_pairs("Why?", "a", [PUMP], "another writer", "fingerprint", dropped="empty")[0]["query_id"]


def no_model(settings: LanguageModelSettings) -> LanguageModel:
    raise AssertionError("a language model was opened")


@pytest.fixture
def folder(tmp_path):
    """The folder of a collection with two pairs of the user."""
    (tmp_path / "pairs.jsonl").write_text("".join(f"{json.dumps(pair)}\n" for pair in OWN))
    return tmp_path


def without_model(folder, chunks, encoder, **settings) -> QaPairs:
    return make_qa_pairs(folder, TABLE, chunks, {}, no_model, encoder, QuestionsSettings(**settings))


def test_own_pairs_join_the_others_and_are_not_filtered(folder, chunks, encoder):
    pairs = without_model(folder, chunks, encoder, max_questions=0, round_trip_top_k=3)
    assert pairs.table.columns == COLUMNS and pairs.usage == {} and pairs.notes == []
    own = pairs.table.filter(pl.col("writer") == "own")
    assert own.select("query", "style", "document_id", "dropped", "rank").rows() == [
        ("no water comes out of the pump", "own", "pump.md", None, None),
        ("PRT-7719", "clicked", "chess.md", None, None),
    ]
    lookups = pairs.table.filter(pl.col("writer") == "text")
    assert {"identifier", "keyword", "sentence", "title"} == set(lookups["style"])
    assert lookups.filter(pl.col("dropped").is_null())["rank"].max() <= 3
    assert len(own) + len(lookups) == len(pairs.table)


def test_own_pairs_replace_the_others(folder, chunks, encoder):
    pairs = without_model(folder, chunks, encoder, own_pairs="replace", min_judge_score=7.0, extract_artifacts=True)
    assert pairs.table["query"].to_list() == [pair["query"] for pair in OWN]
    assert pairs.table.columns == COLUMNS and pairs.usage == {}


def test_own_pairs_are_ignored(folder, chunks, encoder):
    pairs = without_model(folder, chunks, encoder, own_pairs="ignore", max_questions=0)
    assert set(pairs.table["writer"]) == {"text"}
    (folder / "pairs.jsonl").write_text("not even JSON")
    assert without_model(folder, chunks, encoder, own_pairs="ignore", max_questions=0).table.equals(pairs.table)


def test_without_own_pairs_there_is_nothing_to_replace_with(tmp_path, chunks, encoder):
    assert set(without_model(tmp_path, chunks, encoder, max_questions=0).table["writer"]) == {"text"}
    with pytest.raises(CollectionError, match=r"'replace', but there is no pairs\.jsonl"):
        without_model(tmp_path, chunks, encoder, own_pairs="replace")


def test_what_is_odd_about_own_pairs_is_noted(folder, chunks, encoder):
    gone = {"query": "lost", "document_id": "gone.md"}
    (folder / "pairs.jsonl").write_text(f"{json.dumps(OWN[0])}\n{json.dumps(gone)}\n")
    (note,) = without_model(folder, chunks, encoder, own_pairs="replace").notes
    assert "gone.md" in note


def test_no_source_at_all_gives_an_empty_table(tmp_path, chunks, encoder):
    pairs = without_model(tmp_path, chunks, encoder, max_questions=0, max_lookups=0)
    assert pairs.table.is_empty() and pairs.table.columns == COLUMNS


EVERYTHING = QuestionsSettings(
    styles={"question": 1.0},
    max_questions=4,
    extract_artifacts=True,
    min_answerability=0.01,
    min_judge_score=1.0,
    round_trip_top_k=12,
    seed=99,
    writer=LanguageModelSettings(input_cost=1.0),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory, chunks, encoder, memos) -> QaPairs:
    prompts = load_question_prompts(EVERYTHING, [])
    folder = tmp_path_factory.mktemp("collection")
    return make_qa_pairs(folder, TABLE, chunks, prompts, lambda settings: LanguageModel(settings, memos), encoder, EVERYTHING)


@pytest.mark.slow
def test_extractor_writer_and_judge_are_asked_and_counted(made):
    written = made.table.filter(pl.col("prompt") != "")
    assert len(written) == 4 and made.table.columns == COLUMNS
    left = written.filter(pl.col("answerability").is_not_null())
    unanswerable = left.filter(pl.col("dropped").str.starts_with("answerability")).height
    assert made.usage["extractor"].asked == made.usage["writer"].asked == 4
    assert made.usage["judge"].asked == 2 * len(left) - unanswerable > 0
    assert made.table.filter(pl.col("prompt") == "")["answerability"].null_count() == len(made.table) - 4
    figures = made.usage["writer"].figures(EVERYTHING.writer)
    assert figures["answers"] == "0 of 4 answers given before" and figures["prompt_tokens"] > 4 * 200
    assert figures["cost"] == round(made.usage["writer"].prompt_tokens / 1e6, 4)


@pytest.mark.slow
def test_a_second_run_gives_the_same_and_starts_no_model(made, tmp_path, chunks, encoder, memos, caplog):
    prompts = load_question_prompts(EVERYTHING, [])
    with caplog.at_level("INFO"):
        again = make_qa_pairs(
            tmp_path, TABLE, chunks, prompts, lambda settings: LanguageModel(settings, memos), encoder, EVERYTHING
        )
    assert again.table.equals(made.table) and "starting vLLM" not in caplog.text
    assert {task: (usage.reused, usage.new_tokens) for task, usage in again.usage.items()} == {
        task: (usage.asked, 0) for task, usage in made.usage.items()
    }


def funnel_table() -> pl.DataFrame:
    rows = [("question", None)] * 3 + [("question", "empty")] * 2 + [("question", "unfinished")]
    rows += [("search", "empty"), ("title", None)]
    table = pl.DataFrame(rows, schema={"style": pl.String, "dropped": pl.String}, orient="row")
    return table.with_row_index("query_id")


def test_the_funnel_counts_what_became_of_each_style():
    assert funnel_of(funnel_table()).rows(named=True) == [
        {"style": "question", "candidates": 6, "empty": 2, "unfinished": 1, "kept": 3, "kept_share": 0.5},
        {"style": "search", "candidates": 1, "empty": 1, "unfinished": 0, "kept": 0, "kept_share": 0.0},
        {"style": "title", "candidates": 1, "empty": 0, "unfinished": 0, "kept": 1, "kept_share": 1.0},
    ]


def test_the_funnel_of_pairs_that_are_all_kept_or_all_dropped():
    kept, dropped = (funnel_table().filter(pl.col("dropped").is_null() == is_kept) for is_kept in (True, False))
    assert funnel_of(kept).columns == ["style", "candidates", "kept", "kept_share"]
    assert funnel_of(dropped).select("style", "candidates", "kept").rows() == [("question", 3, 0), ("search", 1, 0)]


def test_the_funnel_of_no_pair():
    assert funnel_of(funnel_table().clear()).is_empty()


def report(folder, name: str) -> str:
    return (folder / "report" / name).read_text()


def test_the_report_says_what_was_asked_and_which_identifiers_have_no_query(tmp_path, chunks):
    table = pl.concat(
        [
            ask(chunks, ("what does E4012 mean", "pump.md"), ("PRT-7719", "printer.md")),
            ask(chunks, ("what does the text say about 2.5", "filter.md"), dropped="speaks of the passage"),
        ]
    ).with_columns(pl.lit(1).alias("rank"), prompt=pl.lit("fingerprint"))
    usage = {"writer": Usage(asked=3, reused=1, prompt_tokens=900, new_tokens=30, seconds=2.0)}
    (tmp_path / "report").mkdir()
    settings = QuestionsSettings(writer=LanguageModelSettings(input_cost=10.0))
    write_pairs(tmp_path, QaPairs(table, usage, ["one pair is odd"]), chunks, settings, "3 of 9 texts encoded before")
    assert json.loads(report(tmp_path, "summary.json")) == {
        "candidates": 3,
        "pairs": 2,
        "written_by_model": 3,
        "identifiers_with_a_query": "2 of 4",
        "saved_encoding": "3 of 9 texts encoded before",
        "writer_answers": "1 of 3 answers given before",
        "writer_answers_per_second": 1.0,
        "writer_new_tokens_per_second": 15.0,
        "writer_prompt_tokens": 900,
        "writer_new_tokens": 30,
        "writer_cost": 0.009,
    }
    assert report(tmp_path, "identifiers_without_a_query.md").splitlines()[2:] == ["| --dry-run | 1 |", "| 2.5 | 1 |"]
    assert report(tmp_path, "notes.md") == "- one pair is odd"
    assert "| question | 3 | 1 | 2 | 0.67 |" in report(tmp_path, "funnel.md")
    assert "| question | PRT-7719 | printer.md | 1 |" in report(tmp_path, "samples.md")
    assert pl.read_parquet(tmp_path / "report" / "all_pairs.parquet").equals(table)
    assert (tmp_path / "report" / "funnel.png").stat().st_size > 1000
    findings = {row["name"]: row["passed"] for row in json.loads(report(tmp_path, "findings.json"))}
    assert findings == {"enough_pairs": False, "identifiers_covered": True}


def test_a_funnel_may_have_more_reasons_than_colours(tmp_path, chunks):
    (tmp_path / "report").mkdir()
    rows = [ask(chunks, ("why does the pump run dry", "pump.md"), dropped=f"reason {number}") for number in range(15)]
    draw_funnel(tmp_path, pl.concat(rows))
    assert (tmp_path / "report" / "funnel.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("kept", "covered", "identifiers", "passed"),
    [(8, 5, 10, [True, True]), (7, 4, 10, [False, False]), (20, 0, 0, [True, True]), (0, 1, 1, [False, True])],
)
def test_checks_of_pairs(kept, covered, identifiers, passed):
    table = pl.DataFrame({"dropped": [None] * kept + ["empty"] * 3}, schema={"dropped": pl.String})
    findings = check_pairs(table, covered, identifiers)
    assert [finding.passed for finding in findings] == passed
    assert findings[0].message.startswith(f"{kept} of {kept + 3} candidates are left")
    assert findings[1].message.startswith(f"{covered} of {identifiers} identifiers")


class Parrot:
    """Answers with the last words of the prompt, and counts what it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def answer(self, prompts, seeds, sampling):
        for number, prompt in enumerate(prompts):
            self.asked += 1
            yield number, Answer(f"What about {' '.join(prompt.split()[-4:-1])}?")

    def close(self) -> None:
        pass


def test_a_preview_has_the_same_number_of_each_style_and_is_not_asked_for_again(chunks, encoder, tmp_path):
    settings = QuestionsSettings(styles={"question": 0.9, "how_to": 0.1, "search": 0}, max_questions=12, max_lookups=0)
    prompts, parrot = load_question_prompts(settings, []), Parrot()

    def open_model(model: LanguageModelSettings) -> LanguageModel:
        return LanguageModel(model, tmp_path, engine=parrot)

    found = preview_questions(chunks, prompts, open_model, encoder, settings, 2)
    assert found.columns == ["style", "query", "dropped", "hops", "passage"]
    assert found["style"].to_list() == ["question"] * 2 + ["how_to"] * 2 and parrot.asked == 4
    assert set(found["passage"]) <= set(chunks["passage"])
    make_qa_pairs(tmp_path, TABLE, chunks, prompts, open_model, encoder, settings)
    assert parrot.asked == 12 + 1  # of the how_to questions, a run wants only one


def test_a_preview_shows_multi_hop_questions_with_each_number_of_hops(chunks, encoder, tmp_path):
    shares = {"styles": {"question": 9, "multi_hop": 1}, "hops": {1: 5, 3: 1}, "max_questions": 12}

    def hops(**more) -> list[tuple[str, int]]:
        settings = QuestionsSettings(**shares, **more)
        prompts, engine = load_question_prompts(settings, []), Parrot()
        found = preview_questions(
            chunks, prompts, lambda model: LanguageModel(model, tmp_path, engine=engine), encoder, settings, 2
        )
        return sorted(found.select("style", "hops").unique().rows())

    assert hops() == [("multi_hop", 1), ("multi_hop", 3), ("question", 1)]
    batch = hops(mode="batch", questions_per_chunk=4, ask_again=0)
    assert {style for style, _ in batch} == {"multi_hop", "question"}


class Asker:
    """Asks about the identifier that the prompt names, but never about one of them; counts what it is asked."""

    def __init__(self, silent: str = "") -> None:
        self.identifiers: list[str] = []
        self._silent = silent

    def answer(self, prompts, seeds, sampling):
        for number, prompt in enumerate(prompts):
            assert sampling.json_schema == "" and sampling.stop == ("\n",)
            name = prompt.rpartition("Identifier: ")[2].partition("\n")[0]
            self.identifiers.append(name)
            yield number, Answer("I do not know." if name == self._silent else f"What can you tell me about {name}, please?")

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("share", "asked"),
    [(0.0, set()), (0.5, {"--dry-run", "2.5", "E4012", "PRT-7719"}), (1.0, {"--dry-run", "2.5", "E4012", "PRT-7719"})],
)
def test_the_writer_is_asked_about_identifiers_that_no_query_names(chunks, encoder, tmp_path, share, asked):
    settings = QuestionsSettings(
        mode="batch", max_questions=50, styles={"question": 1}, identifier_coverage=share, max_lookups=0, round_trip_top_k=0
    )
    prompts, asker = load_question_prompts(settings, []), Asker()

    def open_model(model: LanguageModelSettings) -> LanguageModel:
        return LanguageModel(model, tmp_path, engine=asker)

    # So few questions are wanted that the first round asks nothing.
    alone = settings.model_copy(update={"questions_per_chunk": 50, "max_questions": 49})
    found = make_qa_pairs(tmp_path, TABLE, chunks, prompts, open_model, encoder, alone)
    assert set(asker.identifiers) == asked and len(asker.identifiers) == len(asked)
    kept = found.table.filter(pl.col("dropped").is_null())
    assert set(kept["style"]) == ({"identifier_question"} if asked else set()) and len(kept) == len(asked)
    assert not asked or found.usage["writer"].asked == len(asked)


def test_an_identifier_is_asked_about_again_and_not_for_ever(chunks, encoder, tmp_path):
    settings = QuestionsSettings(
        mode="batch", max_questions=49, questions_per_chunk=50, identifier_coverage=1.0, max_lookups=0, round_trip_top_k=0
    )
    asker = Asker(silent="2.5")
    found = make_qa_pairs(
        tmp_path,
        TABLE,
        chunks,
        load_question_prompts(settings, []),
        lambda it: LanguageModel(it, tmp_path, engine=asker),
        encoder,
        settings,
    )
    assert asker.identifiers.count("2.5") == 3 and len(asker.identifiers) == 6
    assert found.usage["writer"].asked == 6
    enough = settings.model_copy(update={"identifier_coverage": 0.75})
    asker.identifiers.clear()
    make_qa_pairs(
        tmp_path,
        TABLE,
        chunks,
        load_question_prompts(enough, []),
        lambda it: LanguageModel(it, tmp_path / "n", engine=asker),
        encoder,
        enough,
    )
    assert len(asker.identifiers) == 4


@pytest.mark.parametrize(
    ("marks", "noted"),
    [
        ([10.0] * 40, True),
        ([10.0] * 39 + [7.0], True),
        ([10.0] * 30 + [7.0] * 10, False),
        ([10.0] * 19, False),
        ([10.0] * 19 + [None] * 30, False),
        ([], False),
    ],
)
def test_a_judge_that_gives_all_the_same_mark_is_told_of(marks, noted):
    ids = [f"q{number}" for number in range(len(marks))]
    table = pl.DataFrame({"query_id": ids, "judge_score": marks}, schema={"query_id": pl.String, "judge_score": pl.Float64})
    notes = _marks_without_meaning(table)
    assert [f"of {len(marks)} questions the same mark, 10" in note for note in notes] == [True] * noted
    assert _marks_without_meaning(table.drop("judge_score")) == []


@pytest.mark.parametrize(("at_most", "asked"), [(49, 6), (5, 5), (2, 2)])
def test_no_more_is_asked_about_identifiers_than_may_be_written(chunks, encoder, tmp_path, at_most, asked):
    settings = QuestionsSettings(
        mode="batch", max_questions=at_most, questions_per_chunk=50, identifier_coverage=1.0, max_lookups=0, round_trip_top_k=0
    )
    asker = Asker(silent="2.5")
    prompts = load_question_prompts(settings, [])
    make_qa_pairs(tmp_path, TABLE, chunks, prompts, lambda it: LanguageModel(it, tmp_path, engine=asker), encoder, settings)
    assert len(asker.identifiers) == asked


def test_what_was_asked_about_an_identifier_in_the_first_round_is_not_asked_again(chunks):
    settings = QuestionsSettings(
        styles={"identifier_question": 1}, max_questions=50, questions_per_chunk=2, identifier_coverage=1.0
    )
    prompt = load_question_prompts(settings, [])["identifier_question"]
    first = {(job.rows, job.identifier, job.sample) for job in plan_jobs(chunks, [prompt], None, settings)}
    names = sorted({identifier for _, identifier, _ in first})
    again = {
        (job.rows, job.identifier, job.sample)
        for attempt in range(3)
        for job in jobs_about_identifiers(chunks, names, prompt, attempt, settings)
    }
    assert len(again) == 3 * len(names) and not first & again
