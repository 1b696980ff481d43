"""Shares by style and by hops that come out exactly, and what the plan and the report say of them."""

from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from embed_assets.artifacts.blocks import SettingsError
from embed_assets.corpus.documents import Document
from embed_assets.queries.bundles import Bundles
from embed_assets.queries.jobs import Job, plan_jobs
from embed_assets.queries.pairs import make_pairs
from embed_assets.queries.prompts import Prompt, load_prompt, load_question_prompts
from embed_assets.queries.questions import render_job
from embed_assets.queries.settings import QuestionsSettings
from embed_assets.queries.shares import exact_counts, questions_of_calls
from embed_assets.reports.queries import shares_of_questions
from embed_assets.settings import load_settings

HOPS = {1: 1, 2: 1, 3: 2}


def hops_of(chunks: pl.DataFrame, encoder, **settings) -> Counter[int]:
    """Number of multi-hop calls by the number of chunks that they show."""
    block = QuestionsSettings(**{"styles": {"multi_hop": 1}, "hops": HOPS} | settings)
    prompts = load_question_prompts(block, [])
    return Counter(len(job.rows) for job in plan_jobs(chunks, [*prompts.values()], encoder, block))


@pytest.mark.parametrize(
    ("shares", "whole", "counts"),
    [
        ({"a": 1, "b": 1}, 5, {"a": 2, "b": 3}),
        ({"a": 1, "b": 1, "c": 1}, 10, {"a": 3, "b": 4, "c": 3}),
        ({"a": 0.5, "b": 0, "c": 0.25}, 9, {"a": 6, "b": 0, "c": 3}),
        ({"a": 3}, 0, {"a": 0}),
    ],
)
def test_a_whole_number_is_cut_by_shares(shares, whole, counts):
    assert exact_counts(shares, whole) == counts


@pytest.mark.parametrize("seed", range(4))
def test_each_number_of_hops_has_its_share_exactly(chunks, encoder, seed):
    assert hops_of(chunks, encoder, max_questions=8, seed=seed) == {1: 2, 2: 2, 3: 4}
    assert hops_of(chunks, encoder, max_questions=12, hops={1: 1, 2: 1, 3: 1}, seed=seed) == {1: 4, 2: 4, 3: 4}
    # Two questions of each call in batch mode.
    batch = {"mode": "batch", "questions_per_chunk": 5, "max_questions": 16}
    assert hops_of(chunks, encoder, **batch, seed=seed) == {1: 2, 2: 2, 3: 4}


def test_hops_of_a_share_of_the_styles(chunks, encoder):
    styles = {"question": 1, "multi_hop": 2}
    assert hops_of(chunks, encoder, styles=styles, max_questions=12) == {1: 4 + 2, 2: 2, 3: 4}
    one = hops_of(chunks, encoder, styles={"multi_hop": 1}, hops={1: 1}, max_questions=5)
    assert one == {1: 5}


def test_chunks_without_relatives_give_way_to_others(cut, encoder):
    linked = Document("a.md", "A", "Herons stand in the shallow water and [wait](b.md) for fish all the long morning.")
    target = Document("b.md", "B", "Nothing here leads anywhere: of fish and what they do in the evening, and why.")
    alone = [
        Document(f"{number}.md", "N", f"Paragraph {number} of a long law about the taxes on salt, bread and leather.")
        for number in range(4)
    ]
    chunks = cut([*alone, linked, target])
    for seed in range(4):
        assert hops_of(chunks, encoder, hops={2: 1}, bundle_by=("link",), max_questions=2, seed=seed) == {2: 1}


def test_what_belongs_to_a_chunk_is_found_once_for_all_its_samples(chunks, encoder, monkeypatch):
    asked: list[int] = []
    find = Bundles._find
    monkeypatch.setattr(Bundles, "_find", lambda self, row: asked.append(row) or find(self, row))
    block = QuestionsSettings(styles={"multi_hop": 1}, hops=HOPS, max_questions=4 * len(chunks), questions_per_chunk=4)
    jobs = plan_jobs(chunks, [*load_question_prompts(block, []).values()], encoder, block)
    assert len(jobs) > len(chunks) and len(asked) == len(set(asked)) > 1


def test_a_new_document_hardly_changes_what_others_are_bundled_with(chunks, encoder):
    def jobs(table: pl.DataFrame) -> set[tuple]:
        settings = QuestionsSettings(styles={"multi_hop": 1}, hops=HOPS)
        found = plan_jobs(table, [load_prompt("multi_hop.jinja", [])], encoder, settings)
        return {tuple(table["chunk_id"].gather(job.rows)) for job in found}

    whole, less = jobs(chunks), jobs(chunks.filter(pl.col("document_id") != "chess.md"))
    assert len(whole & less) >= len(less) // 2


def test_prompts_say_how_many_passages_a_question_needs():
    settings = QuestionsSettings(mode="batch", styles={"question": 1, "multi_hop": 1}, hops=HOPS)
    batch = load_question_prompts(settings, [])["batch"]
    rows = [{"passage": f"Passage of {name}."} for name in ("herons", "tax", "salt")]

    def rendered(prompt: Prompt, hops: int, style: str = "multi_hop") -> str:
        return render_job(Job(prompt, tuple(range(hops)), 0, styles=((style, 1),)), rows, settings, {})

    assert "needs all 3 passages for its answer" in rendered(batch, 3) and "needs all 2 passages" in rendered(batch, 2)
    assert "puts two or more statements of the passage together" in rendered(batch, 1)
    assert "together" not in rendered(batch, 1, "question") and "needs all" not in rendered(batch, 1, "question")
    single = load_prompt("multi_hop.jinja", [])
    instruction = [rendered(single, hops).split("\n")[0] for hops in (1, 2)]
    assert "needs several statements of it for" in instruction[0] and "needs all of them for" in instruction[1]


def test_what_calls_ask_for_is_told_in_words():
    styles = {"question": 3, "how_to": 1, "multi_hop": 1}
    batch = QuestionsSettings(mode="batch", questions_per_chunk=4, styles=styles, hops=HOPS)
    assert dict(questions_of_calls(3, False, "batch", batch)) == {"question": 9, "how_to": 3}
    told = {"multi_hop with 1 hop": 2, "multi_hop with 2 hops": 2, "multi_hop with 3 hops": 4}
    assert dict(questions_of_calls(4, True, "batch", batch)) == told
    single = QuestionsSettings(styles=styles, hops=HOPS)
    assert dict(questions_of_calls(7, False, "how_to", single)) == {"how_to": 7}
    assert dict(questions_of_calls(4, True, "own", single))["own with 3 hops"] == 2


def test_hops_without_any_share_are_refused():
    with pytest.raises(ValueError, match="no number of hops has a share"):
        QuestionsSettings(hops={2: 0})
    with pytest.raises(ValueError, match="less than or equal to 5"):
        QuestionsSettings(hops={6: 1})


def test_numbers_of_hops_are_read_from_a_settings_file(tmp_path: Path):
    file = tmp_path / "settings.yaml"
    file.write_text("questions: {hops: {1: 1, 3: 2.5}}")
    assert load_settings(file).questions.hops == {1: 1.0, 3: 2.5}
    file.write_text("questions: {hops: {7: 1}}")
    with pytest.raises(SettingsError, match="hops"):
        load_settings(file)
    file.write_text("questions: {hops: {true: 1}}")
    with pytest.raises(SettingsError, match="the key True is not a text"):
        load_settings(file)


def test_the_report_compares_shares_with_what_was_written():
    places = [{"document_id": f"{name}.md", "start": 0, "end": 9} for name in "abc"]

    def asked(query: str, style: str, hops: int, kind: str, dropped: str | None = None) -> list[dict]:
        return make_pairs(query, style, places[:hops], "writer", "fingerprint", kind, 2, dropped)

    table = pl.DataFrame(
        [
            *asked("one", "question", 1, "factual"),
            *asked("two", "question", 1, "causal", "empty"),
            *asked("three", "multi_hop", 2, "causal"),
            *asked("four", "multi_hop", 3, "riddle"),
            *asked("", "multi_hop", 1, "", "not written"),
            *make_pairs("look-up", "keyword", places[:1], "text"),
        ]
    )
    settings = QuestionsSettings(
        mode="batch", styles={"question": 3, "multi_hop": 1}, hops={1: 1, 2: 1}, reasoning_types=("factual", "causal")
    )
    assert shares_of_questions(table, settings).rows() == [
        ("style", "question", 0.75, 2, 1, 0.5),
        ("style", "multi_hop", 0.25, 2, 2, 0.5),
        ("reasoning type", "factual", 0.5, 1, 1, 0.25),
        ("reasoning type", "causal", 0.5, 2, 1, 0.5),
        ("reasoning type", "riddle", None, 1, 1, 0.25),
        ("hops", "1", 0.5, 0, 0, 0.0),
        ("hops", "2", 0.5, 1, 1, 0.5),
        ("hops", "3", None, 1, 1, 0.5),
    ]
    lookups = table.filter(pl.col("prompt") == "")
    assert shares_of_questions(lookups, QuestionsSettings()).is_empty()
