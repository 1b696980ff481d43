"""QA pairs from all sources, filtered: written questions, look-ups and the user's own pairs."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from embed_assets.artifacts.workspace import CollectionError
from embed_assets.models.encoders import Encoder
from embed_assets.models.language_models import LanguageModel, Usage
from embed_assets.models.settings import LanguageModelSettings
from embed_assets.queries.artifacts import extract_artifacts
from embed_assets.queries.filters import drop_refused, filter_pairs
from embed_assets.queries.jobs import jobs_about_identifiers, plan_jobs, writing_prompts
from embed_assets.queries.judges import drop_badly_judged, drop_unanswerable
from embed_assets.queries.lookups import identifier_coverage, take_lookups
from embed_assets.queries.own_pairs import read_own_pairs
from embed_assets.queries.pairs import PAIR_SCHEMA, with_column_of_chunks
from embed_assets.queries.prompts import ABOUT_IDENTIFIERS, Prompt
from embed_assets.queries.questions import write_questions
from embed_assets.queries.settings import QuestionsSettings
from embed_assets.queries.shares import MULTI_HOP, multi_hop_questions

MOST_ATTEMPTS = 3  # of asking about an identifier
FEWEST_MARKS, MOST_EQUAL = 20, 0.95


@dataclass(frozen=True)
class QaPairs:
    """The result of make_qa_pairs.

    Args:
        table: pairs in PAIR_SCHEMA with ``rank``, ``similarity``, ``answerability`` and ``judge_score``; those with a
            reason in ``dropped`` are not used.
        usage: task → what its language model was asked.
        notes: what is odd about the user's own pairs, in words.
    """

    table: pl.DataFrame
    usage: dict[str, Usage]
    notes: list[str]


def make_qa_pairs(
    folder: Path,
    documents: pl.DataFrame | pl.LazyFrame,
    chunks: pl.DataFrame,
    prompts: Mapping[str, Prompt],
    open_model: Callable[[LanguageModelSettings], LanguageModel],
    encoder: Encoder,
    settings: QuestionsSettings,
    held_out: Collection[str] = (),
    refused: Collection[str] = (),
) -> QaPairs:
    """Write questions, take look-ups, filter both, and add the user's own pairs.

    Repetitions and lost queries are dropped before any judge is asked, which costs most.

    Args:
        folder: the collection's folder, for the user's own pairs.
        documents: ``document_id``, ``title`` and ``text``.
        chunks: the collection's chunks.
        prompts: from load_question_prompts.
        open_model: makes a language model of its settings.
        encoder: the base model.
        settings: all about the pairs.
        held_out: documents whose queries are for dev and test; retrieval filters none of these.
        refused: normalized questions that people refused; the user's own pairs are not asked.

    Raises:
        CollectionError: the user's own pairs cannot be used, or are to replace the others and there are none.
        GenerationError: a language model cannot be asked any more; the answers given until then are kept.
    """
    own = pl.DataFrame(schema=PAIR_SCHEMA)
    notes: list[str] = []
    if settings.own_pairs != "ignore":
        own, notes = read_own_pairs(folder, documents, chunks, encoder)
    usage: dict[str, Usage] = {}
    if settings.own_pairs == "replace":
        if own.is_empty():
            files = "pairs.jsonl, pairs.parquet or qrels/train.tsv"
            raise CollectionError(f"{folder}: questions.own_pairs is 'replace', but there is no {files}")
        synthetic = pl.DataFrame(schema=PAIR_SCHEMA)
    else:
        written = _write(chunks, prompts, open_model, encoder, settings, usage)
        candidates = drop_refused(pl.concat([written, take_lookups(chunks, settings)]), refused)
        synthetic = filter_pairs(candidates, chunks, encoder, settings, held_out)
        if settings.identifier_coverage and "writer" in settings.language_models:
            with open_model(settings.language_models["writer"]) as writer:
                # A few prompts without an answer are many of this round, and few of all.
                writer.usage = usage["writer"]
                left = settings.max_questions
                for attempt in range(MOST_ATTEMPTS):
                    more = _ask_about_identifiers(synthetic, chunks, prompts[ABOUT_IDENTIFIERS], writer, settings, attempt, left)
                    if more.is_empty():
                        break
                    left -= len(more)
                    candidates = pl.concat([candidates, drop_refused(more, refused)])
                    synthetic = filter_pairs(candidates, chunks, encoder, settings, held_out)
        synthetic = _judge(synthetic, chunks, prompts, open_model, settings, usage)
        notes += _marks_without_meaning(synthetic)
    columns = {"rank": pl.Int64, "similarity": pl.Float64, "answerability": pl.Float64, "judge_score": pl.Float64}
    whole = pl.concat([synthetic, own, pl.DataFrame(schema=PAIR_SCHEMA | columns)], how="diagonal")
    return QaPairs(whole.select(*PAIR_SCHEMA, *columns), usage, notes)


def _marks_without_meaning(pairs: pl.DataFrame) -> list[str]:
    """A note where a judge gives nearly all questions the same mark: no threshold tells good ones from bad ones."""
    if "judge_score" not in pairs.columns:
        return []
    marks = pairs.unique("query_id")["judge_score"].drop_nulls()
    if len(marks) < FEWEST_MARKS:
        return []
    mark, count = marks.value_counts(sort=True).row(0)
    if count < MOST_EQUAL * len(marks):
        return []
    return [
        f"the judge gave {count} of {len(marks)} questions the same mark, {mark:g}: it does not judge; name an abler one (judge)"
    ]


def _ask_about_identifiers(
    pairs: pl.DataFrame,
    chunks: pl.DataFrame,
    prompt: Prompt,
    writer: LanguageModel,
    settings: QuestionsSettings,
    attempt: int,
    at_most: int,
) -> pl.DataFrame:
    """Questions about the identifiers that no kept query names, the rarest first; none where enough are named."""
    coverage = identifier_coverage(chunks, pairs.filter(pl.col("dropped").is_null()), settings)
    missing = coverage.filter(pl.col("queries") == 0)["identifier"].to_list()
    wanted = len(missing) - math.floor((1 - settings.identifier_coverage) * len(coverage))
    if wanted <= 0:
        return pl.DataFrame(schema=PAIR_SCHEMA)
    jobs = jobs_about_identifiers(chunks, missing[:at_most], prompt, attempt, settings)
    return write_questions(chunks, jobs, writer, settings.model_copy(update={"mode": "single"}))


def preview_questions(
    chunks: pl.DataFrame,
    prompts: Mapping[str, Prompt],
    open_model: Callable[[LanguageModelSettings], LanguageModel],
    encoder: Encoder,
    settings: QuestionsSettings,
    count: int,
) -> pl.DataFrame:
    """Let the writer write a few questions of each style, as make_qa_pairs would; the answers are kept for it.

    Args:
        chunks, prompts, open_model, encoder, settings: as in make_qa_pairs.
        count: questions of each style; in batch mode, calls.

    Returns:
        ``style``, ``query``, ``dropped`` (why the rules refuse it; null if they do not), ``hops`` (how many chunks it is
        about), and ``passage``, with a row for each of them. All numbers of hops that have a share are tried.
    """
    settings = settings.model_copy(update={"hops": {hops: 1.0 for hops, share in settings.hops.items() if share}})
    styles = {style: 1.0 for style, share in settings.styles.items() if share}
    if settings.mode == "single":
        parts = [{"styles": styles, "max_questions": count * len(styles)}]
    else:  # its prompts name the styles, by their shares, and those about several chunks have calls of their own
        others = {style: share for style, share in settings.styles.items() if share and style != MULTI_HOP}
        parts = [{"styles": others, "max_questions": count * settings.questions_per_chunk}] if others else []
        if MULTI_HOP in styles:
            parts.append({"styles": {MULTI_HOP: 1.0}, "max_questions": count * multi_hop_questions(settings)})
    written = pl.concat(_write(chunks, prompts, open_model, encoder, settings.model_copy(update=part), {}) for part in parts)
    joined = with_column_of_chunks(written, chunks, "passage")
    hops = pl.struct("document_id", "start").n_unique().over("query_id")
    return joined.select("style", "query", "dropped", hops.alias("hops"), "passage")


def _write(chunks, prompts, open_model, encoder, settings, usage) -> pl.DataFrame:
    if "writer" not in settings.language_models:
        return pl.DataFrame(schema=PAIR_SCHEMA)
    jobs = plan_jobs(chunks, writing_prompts(prompts, settings), encoder, settings)
    artifacts = {}
    if model_settings := settings.language_models.get("extractor"):
        with open_model(model_settings) as extractor:
            artifacts = extract_artifacts(chunks, jobs, prompts["artifacts"], extractor, model_settings)
            usage["extractor"] = extractor.usage
    with open_model(settings.language_models["writer"]) as writer:
        written = write_questions(chunks, jobs, writer, settings, artifacts)
        usage["writer"] = writer.usage
    return written


def _judge(pairs, chunks, prompts, open_model, settings, usage) -> pl.DataFrame:
    if model_settings := settings.language_models.get("judge"):
        with open_model(model_settings) as judge:
            if settings.min_answerability:
                pairs = drop_unanswerable(pairs, chunks, prompts["answerable"], judge, settings.min_answerability)
            if settings.min_judge_score:
                pairs = drop_badly_judged(pairs, chunks, prompts["judge"], judge, model_settings, settings.min_judge_score)
            usage["judge"] = judge.usage
    return pairs
