import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from embed_assets.corpus.documents import Document
from embed_assets.models.answers import UNFINISHED, Answer
from embed_assets.models.language_models import LanguageModel
from embed_assets.models.settings import LanguageModelSettings
from embed_assets.queries.artifacts import Artifacts, extract_artifacts
from embed_assets.queries.filters import QuestionRules
from embed_assets.queries.jobs import Job, plan_jobs, seed_of
from embed_assets.queries.pairs import PAIR_SCHEMA
from embed_assets.queries.prompts import Prompt, load_prompt
from embed_assets.queries.questions import _read_single, question_sampling, render_job, write_questions
from embed_assets.queries.settings import QuestionsSettings
from embed_assets_tests.sample_documents import DOCUMENTS

QUESTION, BATCH = load_prompt("question.jinja", []), load_prompt("batch.jinja", [])


def prompts_of(*styles: str) -> list[Prompt]:
    return [load_prompt(f"{style}.jinja", []) for style in styles]


def jobs_of(chunks, encoder, styles: dict[str, float], **settings) -> list[Job]:
    return plan_jobs(chunks, prompts_of(*styles), encoder, QuestionsSettings(styles=styles, **settings))


def batch_jobs(chunks, encoder, **settings) -> list[Job]:
    return plan_jobs(chunks, [BATCH], encoder, QuestionsSettings(mode="batch", **settings))


def test_each_style_gets_its_share_and_stands_together(chunks, encoder):
    jobs = jobs_of(chunks, encoder, {"question": 2, "how_to": 1, "search": 1}, max_questions=8)
    assert [job.prompt.name for job in jobs] == ["question"] * 4 + ["how_to"] * 2 + ["search"] * 2
    assert {len(job.rows) for job in jobs} == {1} and {job.sample for job in jobs} == {0}


@pytest.mark.parametrize(
    ("styles", "most"),
    [
        ({"question": 1, "how_to": 1, "search": 1}, 5),
        ({"question": 1, "how_to": 1}, 3),
        ({"question": 1, "how_to": 1}, 1),
        ({"question": 1, "how_to": 1, "search": 1, "symptom": 1, "contextual": 1}, 2),
    ],
)
def test_all_styles_together_have_as_many_jobs_as_asked_for(chunks, encoder, styles, most):
    assert len(jobs_of(chunks, encoder, styles, max_questions=most)) == most


def test_chunks_are_drawn_evenly_over_the_documents(cut, encoder):
    long = Document("long.md", "Long", "\n\n".join(document.text for document in DOCUMENTS[:6]))
    chunks = cut([long, *DOCUMENTS[6:]], max_tokens=32)
    jobs = jobs_of(chunks, encoder, {"question": 1}, max_questions=7)
    assert chunks["document_id"].gather([job.rows[0] for job in jobs]).n_unique() == 7


def test_a_chunk_is_asked_about_again_only_after_all_others(chunks, encoder):
    jobs = jobs_of(chunks, encoder, {"question": 1}, questions_per_chunk=2, max_questions=20)
    assert [job.sample for job in jobs] == [0] * 12 + [1] * 8
    assert sorted(job.rows[0] for job in jobs[:12]) == list(range(12))
    assert [job.rows for job in jobs[12:]] == [job.rows for job in jobs[:8]]
    assert len(jobs_of(chunks, encoder, {"question": 1}, questions_per_chunk=2)) == 24


def test_nothing_is_asked_about_a_chunk_that_is_hardly_more_than_a_heading(cut, encoder):
    eleven = "Eleven words beside the heading are too few to ask about."
    chunks = cut([Document("11.md", "", f"# One more heading\n\n{eleven}"), Document("12.md", "", f"# Heading\n\nAll {eleven}")])
    shown = [chunks["document_id"][job.rows[0]] for job in jobs_of(chunks, encoder, {"question": 1})]
    assert shown == ["12.md"]


def test_text_without_spaces_says_something_too(cut, encoder):
    text = "フロートスイッチが固着するとポンプが空運転します。リセットするまでパネルにエラーが表示されます。" * 3
    assert len(jobs_of(cut([Document("pump.md", "ポンプ", text)]), encoder, {"question": 1})) == 1


def test_a_heading_alone_is_no_related_chunk(cut, encoder):
    chunks = cut([*DOCUMENTS, Document("heading.md", "", "# The pump runs dry because the float switch sticks, error E4012")])
    shown = [chunks["document_id"].gather(job.rows).to_list() for job in jobs_of(chunks, encoder, {"multi_hop": 1})]
    assert not any("heading.md" in names for names in shown)


def test_the_seed_draws_other_chunks(chunks, encoder):
    one, again, other = (jobs_of(chunks, encoder, {"question": 1}, max_questions=4, seed=seed) for seed in (1, 1, 2))
    assert one == again != other


def test_identifiers_are_asked_about_the_rarest_first(cut, encoder):
    chunks = cut(
        [
            Document("a.md", "A", "Bug PRT-1 is fixed in release 3.8.1 of last summer, and so is bug PRT-2."),
            Document("b.md", "B", "Bug PRT-1 was found in release 3.8.1 by accident on the day of the fair."),
            Document("c.md", "C", "Nothing is known about it, and nobody in the whole house has ever asked."),
        ]
    )
    jobs = jobs_of(chunks, encoder, {"identifier_question": 1}, questions_per_chunk=2)
    found = {(chunks["document_id"][job.rows[0]], job.sample): job.identifier for job in jobs}
    # Both PRT-1 and 3.8.1 are in two chunks: the alphabet decides.
    assert found == {("a.md", 0): "PRT-2", ("a.md", 1): "3.8.1", ("b.md", 0): "3.8.1", ("b.md", 1): "PRT-1"}
    assert all(job.identifier == "" for job in jobs_of(chunks, encoder, {"question": 1}))


@pytest.mark.parametrize("bundle", [2, 4])
def test_a_prompt_for_several_passages_gets_the_most_similar_ones(chunks, encoder, bundle):
    jobs = jobs_of(chunks, encoder, {"multi_hop": 1}, hops={bundle: 1})
    vectors = encoder.encode_passages(chunks["passage"].to_list())
    similarity = vectors @ vectors.T - 2 * np.eye(12, dtype=np.float32)
    assert len(jobs) == 12
    for job in jobs:
        first, *others = job.rows
        assert others == np.argsort(-similarity[first])[: bundle - 1].tolist()


def test_a_copy_is_no_related_chunk_and_a_chunk_without_relatives_is_left_out(cut, encoder):
    pump = DOCUMENTS[0]
    copy = replace(pump, document_id="copy.md")
    chunks = cut([*DOCUMENTS, copy])
    shown = [chunks["document_id"].gather(job.rows).to_list() for job in jobs_of(chunks, encoder, {"multi_hop": 1})]
    assert len(shown) == 13 and ["pump.md", "copy.md"] not in shown and ["copy.md", "pump.md"] not in shown
    assert jobs_of(cut([pump]), encoder, {"multi_hop": 1}) == []


def test_a_chunk_with_nothing_but_a_copy_beside_it_is_left_out(cut, encoder):
    chunks = cut([DOCUMENTS[0], replace(DOCUMENTS[0], document_id="copy.md")])
    assert jobs_of(chunks, encoder, {"multi_hop": 1}) == []


def test_two_copies_are_not_both_related_to_a_chunk(cut, encoder):
    chunks = cut([*DOCUMENTS, replace(DOCUMENTS[0], document_id="copy.md")])
    shown = [set(chunks["document_id"].gather(job.rows)) for job in jobs_of(chunks, encoder, {"multi_hop": 1}, hops={5: 1})]
    assert not any({"pump.md", "copy.md"} <= names for names in shown)


def test_in_batch_mode_multi_hop_questions_have_calls_of_their_own(chunks, cut, encoder):
    plain = batch_jobs(chunks, encoder, styles={"question": 1}, questions_per_chunk=3, max_questions=12)
    assert [len(job.rows) for job in plain] == [1] * 4 and {job.prompt for job in plain} == {BATCH}
    both = batch_jobs(chunks, encoder, styles={"question": 1, "multi_hop": 1}, questions_per_chunk=3, max_questions=12)
    assert [len(job.rows) for job in both] == [1, 1, 2, 2, 2] and both[:2] == plain[:2]
    assert [job.styles for job in both] == [(("question", 3),)] * 2 + [(("multi_hop", 2),)] * 3
    assert sum(job.questions for job in both) == 12
    assert batch_jobs(cut(DOCUMENTS[:1]), encoder, styles={"multi_hop": 1}) == []


ROWS = [
    {"document_id": "pump.md", "start": 0, "end": 70, "passage": "Pump\nThe pump runs dry when the float switch sticks: E4012."},
    {"document_id": "valve.md", "start": 10, "end": 60, "passage": "Valve\nClose the valve by hand before opening the housing."},
]


def test_a_prompt_shows_what_its_job_names():
    settings = QuestionsSettings()
    (identifier,) = prompts_of("identifier_question")
    text = render_job(Job(identifier, (0,), 0, "E4012"), ROWS, settings, {})
    assert text.endswith(f"\nPassage: {ROWS[0]['passage']}\nIdentifier: E4012\nQuestion:")
    (multi_hop,) = prompts_of("multi_hop")
    text = render_job(Job(multi_hop, (1, 0), 0), ROWS, settings, {})
    assert text.endswith(f"\nPassage: {ROWS[1]['passage']}\nPassage: {ROWS[0]['passage']}\nQuestion:")
    own = Prompt("own", "{{ passage }}|{{ artifacts }}")
    artifacts = {0: "terms: float switch", 1: "terms: housing"}
    assert render_job(Job(own, (1,), 0), ROWS, settings, artifacts) == f"{ROWS[1]['passage']}|terms: housing"
    assert render_job(Job(own, (1,), 0), ROWS, settings, {}) == f"{ROWS[1]['passage']}|"


def test_several_readers_ask_with_the_same_share():
    (question,) = prompts_of("question")
    readers = ("a baker at night", "a child", "a manager in a hurry")
    settings = QuestionsSettings(reader=readers[0], more_readers=readers[1:])
    rows = [{"passage": f"Passage {number}"} for number in range(300)]
    texts = [render_job(Job(question, (row,), 0), rows, settings, {}) for row in range(300)]
    counts = [sum(f"as {reader} would ask" in text for text in texts) for reader in readers]
    assert sum(counts) == 300 and all(70 < count < 130 for count in counts)
    alone = QuestionsSettings(reader=readers[0])
    assert all("as a baker at night would ask" in render_job(Job(question, (row,), 0), rows, alone, {}) for row in range(9))
    with pytest.raises(ValueError, match="is no reader"):
        QuestionsSettings(more_readers=("two\nlines",))


def test_a_new_document_does_not_change_the_batch_prompts_of_the_others(cut, chunks, encoder):
    def prompts_about(table: pl.DataFrame) -> set[str]:
        settings = QuestionsSettings(mode="batch", styles={"question": 1, "how_to": 1, "search": 1}, questions_per_chunk=9)
        rows = table.select("passage", "document_id", "start", "end").rows(named=True)
        return {render_job(job, rows, settings, {}) for job in plan_jobs(table, [BATCH], encoder, settings)}

    zebra = Document("a-zebra.md", "Zebra", "Zebras graze near acacias while lions lurk in the high grass on the other side.")
    before, after = prompts_about(chunks), prompts_about(cut([zebra, *DOCUMENTS]))
    assert before < after and len(after) == 13


def test_every_prompt_has_a_seed_of_its_own():
    seeds = [seed_of(1, 0, "prompt"), seed_of(2, 0, "prompt"), seed_of(1, 1, "prompt"), seed_of(1, 0, "other prompt")]
    assert len(set(seeds)) == 4 and all(0 <= seed < 2**31 for seed in seeds)


def test_an_answer_ends_with_its_line_unless_it_is_json_or_chat():
    single, chat = QuestionsSettings(), QuestionsSettings(writer=LanguageModelSettings(chat=True, temperature=0.1))
    batch = QuestionsSettings(mode="batch", styles={"question": 1, "search": 0.5}, hops={1: 1, 3: 1, 5: 0}, questions_per_chunk=4)
    assert question_sampling(single).stop == ("\n",) and question_sampling(single).json_schema == ""
    assert question_sampling(chat).stop == () and question_sampling(chat).temperature == 0.1
    assert question_sampling(batch, 4).stop == ()
    questions = json.loads(question_sampling(batch, 4).json_schema)["properties"]["questions"]
    assert (questions["minItems"], questions["maxItems"]) == (4, 4)
    fields = questions["items"]["properties"]
    assert fields["style"] == {"enum": ["question", "search"]} and fields["passages"]["items"]["maximum"] == 3


def read_single(answer: Answer, *rows: int) -> list[dict]:
    settings = QuestionsSettings()
    return _read_single(Job(QUESTION, rows, 0), answer, ROWS, QuestionRules(settings), settings)


def test_a_single_answer_is_a_pair_with_each_of_its_chunks():
    (pair,) = read_single(Answer("Question: Why does E4012 show up?"), 0)
    assert (pair["query"], pair["style"], pair["dropped"]) == ("Why does E4012 show up?", "question", None)
    assert (pair["document_id"], pair["start"], pair["end"]) == ("pump.md", 0, 70)
    assert (pair["writer"], pair["prompt"]) == (QuestionsSettings().writer.name, QUESTION.fingerprint)
    assert pair["reasoning_type"] is pair["complexity"] is None
    both = read_single(Answer("Does E4012 show up with a closed valve?"), 1, 0)
    assert [pair["document_id"] for pair in both] == ["valve.md", "pump.md"] and len({pair["query_id"] for pair in both}) == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer("How does the pum", UNFINISHED), UNFINISHED),
        (Answer("", "longer than the model's context"), "longer than the model's context"),
        (Answer("Why E4013, of all codes?"), "unknown identifier"),
        (Answer("How long are backup snapshots kept, and how can I change that?"), "copy of an example"),
        (Answer("  \n"), "empty"),
    ],
)
def test_a_single_answer_is_dropped_for_its_problem_or_by_a_rule(answer, reason):
    assert [pair["dropped"] for pair in read_single(answer, 0)] == [reason]


@pytest.fixture(scope="module")
def model(memos):
    with LanguageModel(LanguageModelSettings(), memos) as model:
        yield model


STYLES = {"question": 3, "how_to": 1, "identifier_question": 1, "multi_hop": 1}
SINGLE = QuestionsSettings(styles=STYLES, max_questions=12)


@pytest.fixture(scope="module")
def written(chunks, model, encoder) -> pl.DataFrame:
    return write_questions(chunks, plan_jobs(chunks, prompts_of(*STYLES), encoder, SINGLE), model, SINGLE)


@pytest.mark.slow
def test_a_language_model_writes_questions_of_each_style(chunks, written):
    assert written.schema == PAIR_SCHEMA
    queries = written.unique("query_id")
    assert dict(queries.group_by("style").len().iter_rows()) == {
        "question": 6,
        "how_to": 2,
        "identifier_question": 2,
        "multi_hop": 2,
    }
    rows = dict(written.group_by("query_id").len().iter_rows())
    assert {style: rows[query_id] for query_id, style in queries.select("query_id", "style").iter_rows()} == {
        "question": 1, "how_to": 1, "identifier_question": 1, "multi_hop": 2
    }  # fmt: skip
    assert set(written.select("document_id", "start", "end").iter_rows()) <= set(
        chunks.select("document_id", "start", "end").iter_rows()
    )
    assert dict(written.select("style", "prompt").iter_rows()) == {
        prompt.name: prompt.fingerprint for prompt in prompts_of(*STYLES)
    }
    assert set(written["writer"]) == {LanguageModelSettings().name}
    kept = written.filter(pl.col("dropped").is_null())
    assert len(kept) >= 6 and all(len(query.split()) >= 3 and "\n" not in query for query in kept["query"])


@pytest.mark.slow
def test_a_second_run_asks_nothing_and_starts_no_model_whatever_the_order_of_the_chunks(chunks, written, encoder, memos, caplog):
    with caplog.at_level("INFO"), LanguageModel(LanguageModelSettings(), memos) as second:
        again = write_questions(
            chunks.reverse(), plan_jobs(chunks.reverse(), prompts_of(*STYLES), encoder, SINGLE), second, SINGLE
        )
    assert again.equals(written)
    assert second.usage.reused == second.usage.asked == 12 and "starting vLLM" not in caplog.text


@pytest.mark.slow
def test_another_seed_or_sample_gives_another_question(chunks, model, written, encoder):
    pump = chunks.filter(pl.col("document_id") == "pump.md")
    settings = QuestionsSettings(styles={"question": 1}, questions_per_chunk=3, writer=LanguageModelSettings(temperature=1.0))
    samples = write_questions(pump, plan_jobs(pump, [QUESTION], encoder, settings), model, settings)
    others = write_questions(
        pump,
        plan_jobs(pump, [QUESTION], encoder, settings.model_copy(update={"seed": 14})),
        model,
        settings.model_copy(update={"seed": 14}),
    )
    assert len(samples) == len(others) == 3 and len({*samples["query"], *others["query"]}) > 2


@pytest.mark.slow
def test_nothing_to_ask_gives_no_question(chunks, model, encoder):
    asked = model.usage.asked
    settings = QuestionsSettings(styles={"multi_hop": 1})
    assert write_questions(
        chunks.head(1), plan_jobs(chunks.head(1), prompts_of("multi_hop"), encoder, settings), model, settings
    ).is_empty()
    assert model.usage.asked == asked


@pytest.mark.slow
def test_a_small_model_writes_json_in_batch_mode(chunks, model, encoder):
    settings = QuestionsSettings(
        mode="batch",
        styles={"question": 1, "multi_hop": 1},
        questions_per_chunk=2,
        max_questions=4,
        reasoning_types=("factual", "causal"),
        writer=LanguageModelSettings(max_new_tokens=300),
    )
    table = write_questions(chunks, plan_jobs(chunks, [BATCH], encoder, settings), model, settings)
    assert set(table["prompt"]) == {BATCH.fingerprint}
    assert not set(table["dropped"]) & {"not the JSON that was asked for", "longer than the model's context"}
    answered = table.filter(pl.col("style") != "batch")
    assert len(answered) >= 1 and set(answered["style"]) <= {"question", "multi_hop"}
    assert set(answered["reasoning_type"]) <= {"factual", "causal"} and set(answered["complexity"]) <= {1, 2, 3, 4, 5}


@pytest.mark.slow
def test_artifacts_are_listed_for_the_chunks_of_the_jobs(chunks, model, encoder):
    rows = {chunks["document_id"][row]: row for row in range(len(chunks))}
    jobs = [Job(QUESTION, (rows["pump.md"],), 0), Job(QUESTION, (rows["printer.md"], rows["pump.md"]), 0)]
    settings = LanguageModelSettings(temperature=0.0, max_new_tokens=500)
    asked = model.usage.asked
    artifacts = extract_artifacts(chunks, jobs, load_prompt("artifacts.jinja", []), model, settings)
    assert model.usage.asked == asked + 2 and set(artifacts) <= {rows["pump.md"], rows["printer.md"]}
    lines = [line for text in artifacts.values() for line in text.splitlines()]
    assert lines and {line.partition(": ")[0] for line in lines} <= set(Artifacts.model_fields)
    assert extract_artifacts(chunks, [], load_prompt("artifacts.jinja", []), model, settings) == {}
