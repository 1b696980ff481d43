"""Questions about chunks, written by a language model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import polars as pl

from embed_assets.models.answers import TOO_LONG, Answer, Sampling
from embed_assets.models.language_models import LanguageModel
from embed_assets.queries.answers import read_question
from embed_assets.queries.batch_answers import (
    NO_JSON,
    NOT_WRITTEN,
    WrittenQuestion,
    batch_pairs,
    batch_schema,
    missing_styles,
    read_batch,
)
from embed_assets.queries.filters import QuestionRules
from embed_assets.queries.jobs import Job, seed_of
from embed_assets.queries.pairs import PAIR_SCHEMA, make_pairs
from embed_assets.queries.passage_languages import PassageLanguages, in_words
from embed_assets.queries.settings import QuestionsSettings
from embed_assets.queries.shares import deal_reasoning_types
from embed_assets.queries.surroundings import surroundings
from embed_assets.text.columns import rows_of
from embed_assets.text.languages import ENGLISH

JOBS_IN_A_BLOCK = 4096


def write_questions(
    chunks: pl.DataFrame,
    jobs: Sequence[Job],
    model: LanguageModel,
    settings: QuestionsSettings,
    artifacts: Mapping[int, str] | None = None,
) -> pl.DataFrame:
    """Let the language model write queries about chunks.

    Args:
        chunks: the collection's chunks.
        jobs: what is asked, from plan_jobs.
        model: the writer.
        settings: its sampling, and the rules.
        artifacts: row of a chunk → its artifacts in words.

    Returns:
        Pairs in PAIR_SCHEMA, those that the rules refuse with the reason in ``dropped``. In batch mode a question that
        a call was to write and did not, however often it was asked again, has a row of its own with the reason.
    """
    writing = _Writing(chunks, model, settings, artifacts)
    write = writing.single if settings.mode == "single" else writing.batch
    frames = [pl.DataFrame(schema=PAIR_SCHEMA)]
    for start in range(0, len(jobs), JOBS_IN_A_BLOCK):
        block = jobs[start : start + JOBS_IN_A_BLOCK]
        what = f"writing questions {start + 1} to {start + len(block)} of {len(jobs)}"
        frames.append(pl.DataFrame(write(block, what), schema=PAIR_SCHEMA))
    return pl.concat(frames)


class _Writing:
    """Asks the writer, and makes pairs of what it answers; the arguments are those of write_questions."""

    def __init__(
        self, chunks: pl.DataFrame, model: LanguageModel, settings: QuestionsSettings, artifacts: Mapping[int, str] | None
    ):
        self._model, self._settings, self._rules = model, settings, QuestionRules(settings)
        self._prompts = JobPrompts(chunks, settings, artifacts)
        self._rows, self._languages = self._prompts.rows, self._prompts.languages

    def single(self, block: Sequence[Job], what: str) -> list[dict]:
        """The pairs of jobs that ask for one question each."""
        pairs: list[dict] = []
        for job, answer in zip(block, self._ask(block, what), strict=True):
            pairs += _read_single(job, answer, self._rows, self._rules, self._settings, self._languages.of(job.rows[0]))
        return pairs

    def batch(self, block: Sequence[Job], what: str) -> list[dict]:
        """The pairs of jobs that ask for several questions each, and are asked again for those that were not written."""
        pairs: list[dict] = []
        settings, rows, asking = self._settings, self._rows, what
        for left in reversed(range(settings.ask_again + 1)):
            short = []
            for job, answer in zip(block, self._ask(block, asking), strict=True):
                questions = read_batch(answer, job, settings)
                pairs += batch_pairs(questions, job, rows, self._rules, settings, self._languages.of(job.rows[0]))
                if missing := missing_styles(job, questions):
                    # What failed for a reason that may pass was sent again already.
                    if not left or answer.problem == TOO_LONG or not answer.final:
                        pairs += _not_written(job, missing, answer, questions, rows, settings)
                    else:
                        short.append(_rest_of(job, missing, questions))
            if not short:
                break
            block, asking = short, f"{what}: asking again for {sum(job.questions for job in short)}"
        return pairs

    def _ask(self, block: Sequence[Job], what: str) -> list[Answer]:
        texts, seeds = self._prompts.of(block)
        answers: dict[int, Answer] = {}
        for count, numbers in rows_of(job.questions for job in block).items():  # a schema holds for a whole batch of prompts
            sampling = question_sampling(self._settings, count)
            found = self._model.generate([texts[it] for it in numbers], [seeds[it] for it in numbers], sampling, what)
            answers |= dict(zip(numbers, found, strict=True))
        return [answers[number] for number in range(len(block))]


class JobPrompts:
    """What the writer is sent for jobs about a collection; the arguments are those of write_questions."""

    def __init__(self, chunks: pl.DataFrame, settings: QuestionsSettings, artifacts: Mapping[int, str] | None = None):
        self.rows = chunks.select("passage", "document_id", "start", "end").rows(named=True)
        self.languages = PassageLanguages(chunks)
        self._settings, self._artifacts, self._around = settings, artifacts or {}, surroundings(chunks, settings)

    def of(self, jobs: Sequence[Job]) -> tuple[list[str], list[int]]:
        """The prompt of each job, and its seed."""
        settings, languages = self._settings, self.languages
        texts = [
            render_job(job, self.rows, settings, self._artifacts, map(languages.of, job.rows), self._around(job)) for job in jobs
        ]
        return texts, [seed_of(settings.seed, job.sample, text) for job, text in zip(jobs, texts, strict=True)]


def _rest_of(job: Job, missing: tuple[tuple[str, int], ...], questions: Sequence[WrittenQuestion]) -> Job:
    """The job that asks again for what is missing."""
    written = (*job.written, *(question.query for question in questions))
    return replace(job, sample=job.sample + 1, styles=missing, written=written)


def _not_written(job, missing, answer: Answer, questions, rows, settings) -> list[dict]:
    """A row for each question that a job was to write and did not."""
    reason = answer.problem or (NOT_WRITTEN if questions else NO_JSON)
    shown, prompt = rows[job.rows[0]], job.prompt.fingerprint
    return [
        pair
        for style, count in missing
        for _ in range(count)
        for pair in make_pairs("", style, [shown], settings.writer.name, prompt, dropped=reason)
    ]


def render_job(
    job: Job,
    rows: Sequence[dict],
    settings: QuestionsSettings,
    artifacts: Mapping[int, str],
    languages: Iterable[str] = (ENGLISH,),
    context: str = "",
) -> str:
    """The prompt of a job.

    Args:
        job: the call.
        rows: all chunks.
        settings: who asks, and reasoning types.
        artifacts: row of a chunk → its artifacts in words.
        languages: of the passages of the job, as ISO 639-1 codes.
        context: what stands around the chunks, from surroundings.
    """
    passages = [rows[row]["passage"] for row in job.rows]
    described = dict(job.prompt.styles)
    types = deal_reasoning_types(job.questions, job.sample, passages, settings) if settings.mode == "batch" else ()
    return job.prompt.render(
        {
            "passage": passages[0],
            "passages": passages,
            "identifier": job.identifier,
            "reader": _reader_of(passages, settings),
            "language": in_words([*languages]),
            "artifacts": "\n".join(artifacts[row] for row in job.rows if row in artifacts),
            "styles": dict(job.styles),
            "descriptions": {style: described.get(style, "") for style, _ in job.styles},
            "written": job.written,
            "context": context,
            "answers": settings.answers,
            "reasoning_types": dict(types),
            "hops": job.hops,
            "min_complexity": settings.min_complexity,
        }
    )


def _reader_of(passages: Sequence[str], settings: QuestionsSettings) -> str:
    """Who asks about these passages: drawn from them, so that the prompts of others stay when there is a new document."""
    readers = (settings.reader, *settings.more_readers)
    return readers[seed_of(settings.seed, len(readers), passages[0]) % len(readers)]


def question_sampling(settings: QuestionsSettings, count: int = 1) -> Sampling:
    """How the writer's answers are taken: one line in single mode, JSON with so many questions in batch mode."""
    writer, batch = settings.writer, settings.mode == "batch"
    return Sampling.of(
        writer,
        stop=() if writer.chat or batch else ("\n",),
        json_schema=batch_schema(settings, count) if batch else "",
    )


def _read_single(
    job: Job, answer: Answer, rows: Sequence[dict], rules: QuestionRules, settings: QuestionsSettings, language: str = ENGLISH
) -> list[dict]:
    query = "" if answer.problem else read_question(answer.text)
    shown = [rows[row] for row in job.rows]
    dropped = answer.problem or rules.refuse(query, [row["passage"] for row in shown], job.prompt.examples, language)
    return make_pairs(query, job.prompt.name, shown, settings.writer.name, job.prompt.fingerprint, dropped=dropped or None)
