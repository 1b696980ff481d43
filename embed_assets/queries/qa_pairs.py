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
        maker = _Maker(chunks, prompts, open_model, encoder, settings, usage)
        synthetic = maker.make(held_out, refused)
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
    makers = (_Maker(chunks, prompts, open_model, encoder, settings.model_copy(update=part), {}) for part in parts)
    written = pl.concat(maker.write() for maker in makers)
    joined = with_column_of_chunks(written, chunks, "passage")
    hops = pl.struct("document_id", "start").n_unique().over("query_id")
    return joined.select("style", "query", "dropped", hops.alias("hops"), "passage")


@dataclass(frozen=True)
class _Maker:
    """Makes the pairs that the user did not bring; arguments as of make_qa_pairs.

    Args:
        usage: is filled: task → what its language model was asked.
    """

    chunks: pl.DataFrame
    prompts: Mapping[str, Prompt]
    open_model: Callable[[LanguageModelSettings], LanguageModel]
    encoder: Encoder
    settings: QuestionsSettings
    usage: dict[str, Usage]

    def make(self, held_out: Collection[str], refused: Collection[str]) -> pl.DataFrame:
        """Written questions and look-ups, filtered and judged."""
        candidates = drop_refused(pl.concat([self.write(), take_lookups(self.chunks, self.settings)]), refused)
        pairs = filter_pairs(candidates, self.chunks, self.encoder, self.settings, held_out)
        if self.settings.identifier_coverage and "writer" in self.settings.language_models:
            pairs = self._cover_identifiers(candidates, pairs, held_out, refused)
        return self._judge(pairs)

    def write(self) -> pl.DataFrame:
        """What the writer writes, those pairs too that the rules refuse; none without a writer."""
        models = self.settings.language_models
        if "writer" not in models:
            return pl.DataFrame(schema=PAIR_SCHEMA)
        jobs = plan_jobs(self.chunks, writing_prompts(self.prompts, self.settings), self.encoder, self.settings)
        artifacts = {}
        if "extractor" in models:
            with self.open_model(models["extractor"]) as extractor:
                artifacts = extract_artifacts(self.chunks, jobs, self.prompts["artifacts"], extractor, models["extractor"])
                self.usage["extractor"] = extractor.usage
        with self.open_model(models["writer"]) as writer:
            written = write_questions(self.chunks, jobs, writer, self.settings, artifacts)
            self.usage["writer"] = writer.usage
        return written

    def _cover_identifiers(
        self, candidates: pl.DataFrame, pairs: pl.DataFrame, held_out: Collection[str], refused: Collection[str]
    ) -> pl.DataFrame:
        """Ask about identifiers that no kept query names, until enough are named; returns the pairs, filtered anew."""
        with self.open_model(self.settings.language_models["writer"]) as writer:
            # A few prompts without an answer are many of this round, and few of all.
            writer.usage = self.usage["writer"]
            left = self.settings.max_questions
            for attempt in range(MOST_ATTEMPTS):
                more = self._ask_about_identifiers(pairs, writer, attempt, left)
                if more.is_empty():
                    break
                left -= len(more)
                candidates = pl.concat([candidates, drop_refused(more, refused)])
                pairs = filter_pairs(candidates, self.chunks, self.encoder, self.settings, held_out)
        return pairs

    def _ask_about_identifiers(self, pairs: pl.DataFrame, writer: LanguageModel, attempt: int, at_most: int) -> pl.DataFrame:
        """Questions about the identifiers that no kept query names, the rarest first; none where enough are named."""
        settings = self.settings
        coverage = identifier_coverage(self.chunks, pairs.filter(pl.col("dropped").is_null()), settings)
        missing = coverage.filter(pl.col("queries") == 0)["identifier"].to_list()
        wanted = len(missing) - math.floor((1 - settings.identifier_coverage) * len(coverage))
        if wanted <= 0:
            return pl.DataFrame(schema=PAIR_SCHEMA)
        jobs = jobs_about_identifiers(self.chunks, missing[:at_most], self.prompts[ABOUT_IDENTIFIERS], attempt, settings)
        return write_questions(self.chunks, jobs, writer, settings.model_copy(update={"mode": "single"}))

    def _judge(self, pairs: pl.DataFrame) -> pl.DataFrame:
        settings = self.settings
        if model_settings := settings.language_models.get("judge"):
            with self.open_model(model_settings) as judge:
                if least := settings.min_answerability:
                    pairs = drop_unanswerable(pairs, self.chunks, self.prompts["answerable"], judge, least)
                if least := settings.min_judge_score:
                    pairs = drop_badly_judged(pairs, self.chunks, self.prompts["judge"], judge, model_settings, least)
                self.usage["judge"] = judge.usage
        return pairs
