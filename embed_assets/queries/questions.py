"""Questions about chunks, written by a language model."""

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from pydantic import BaseModel

from embed_assets.corpus.spans import language_of
from embed_assets.models.answers import Answer, Sampling
from embed_assets.models.encoders import Encoder
from embed_assets.models.language_models import LanguageModel
from embed_assets.models.settings import LanguageModelSettings
from embed_assets.queries.answers import read_json, read_question
from embed_assets.queries.filters import QuestionRules
from embed_assets.queries.lookups import spread_over_documents
from embed_assets.queries.pairs import PAIR_SCHEMA, make_pairs
from embed_assets.queries.prompts import Prompt
from embed_assets.queries.settings import TASK_PROMPTS, QuestionsSettings
from embed_assets.text.identifiers import find_identifiers
from embed_assets.text.languages import ENGLISH, name_of
from embed_assets.text.tokens import count_words

JOBS_IN_A_BLOCK = 4096
MOST_ALIKE = 0.95
HEADING = re.compile(r"^#+ .*$", re.MULTILINE)
FEWEST_WORDS = 12  # of a chunk beside its headings; about less, nothing sensible is asked


class WrittenQuestion(BaseModel):
    """One question of a batch answer; ``passages`` are the numbers, from 1, of those that answer it."""

    query: str
    style: str
    reasoning_type: str
    complexity: int
    passages: list[int]


class BatchAnswer(BaseModel):
    questions: list[WrittenQuestion]


class Artifacts(BaseModel):
    """What a chunk speaks of."""

    entities: list[str] = []
    terms: list[str] = []
    procedures: list[str] = []
    identifiers: list[str] = []


@dataclass(frozen=True)
class Job:
    """One call of the writer.

    Args:
        prompt: what it is asked.
        rows: the chunks that it is shown.
        sample: tells calls with the same prompt apart.
        identifier: what a style with the variable ``identifier`` is to ask about.
    """

    prompt: Prompt
    rows: tuple[int, ...]
    sample: int
    identifier: str = ""


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
        Pairs in PAIR_SCHEMA, those that the rules refuse with the reason in ``dropped``.
    """
    rows = chunks.select("passage", "document_id", "start", "end").rows(named=True)
    rules = QuestionRules(settings)
    sampling = question_sampling(settings)
    frames = [pl.DataFrame(schema=PAIR_SCHEMA)]
    for start in range(0, len(jobs), JOBS_IN_A_BLOCK):
        block = jobs[start : start + JOBS_IN_A_BLOCK]
        texts = [render_job(job, rows, settings, artifacts or {}, language_of(chunks)) for job in block]
        seeds = [seed_of(settings.seed, job.sample, text) for job, text in zip(block, texts, strict=True)]
        what = f"writing questions {start + 1} to {start + len(block)} of {len(jobs)}"
        answers = model.generate(texts, seeds, sampling, what)
        read = _read_batch if settings.mode == "batch" else _read_single
        pairs = [pair for job, answer in zip(block, answers, strict=True) for pair in read(job, answer, rows, rules, settings)]
        frames.append(pl.DataFrame(pairs, schema=PAIR_SCHEMA))
    return pl.concat(frames)


def plan_jobs(chunks: pl.DataFrame, prompts: Sequence[Prompt], encoder: Encoder | None, settings: QuestionsSettings) -> list[Job]:
    """The calls of the writer, so that every style has its share and the chunks are spread evenly over documents.

    Chunks that are hardly more than a heading are left out. Jobs of a style stand together: vLLM computes what
    their prompts have in common only once.

    Args:
        chunks: the collection's chunks.
        prompts: one for each style, or in batch mode the batch prompt.
        encoder: the base model, which finds related chunks for prompts that show several; None where no prompt does.
        settings: how many of which style.
    """
    identifiers = [find_identifiers(passage, settings.all_identifier_patterns) for passage in chunks["passage"]]
    frequency = Counter(identifier for found in identifiers for identifier in found)
    says_something = [count_words(HEADING.sub("", text)) >= FEWEST_WORDS for text in chunks["text"]]
    rarest = [sorted(found, key=lambda identifier: (frequency[identifier], identifier)) for found in identifiers]
    jobs = []
    for prompt, count in _shares(prompts, settings):
        order = [row for row in spread_over_documents(chunks, f"{settings.seed} {prompt.name}") if says_something[row]]
        samples = 1 if settings.mode == "batch" else settings.questions_per_chunk
        candidates = [
            (row, sample)
            for sample in range(samples)
            for row in order
            if "identifier" not in prompt.variables or sample < len(rarest[row])
        ][:count]
        several = shows_several(prompt, settings)
        if several and encoder is None:
            raise ValueError(f"the prompt {prompt.name!r} shows several passages: an encoder has to find them")
        related = (
            _related_chunks(chunks, {row for row, _ in candidates}, says_something, encoder, settings.bundle_chunks - 1)
            if several and encoder is not None
            else {}
        )
        for row, sample in candidates:
            identifier = rarest[row][sample] if "identifier" in prompt.variables else ""
            if not several or related[row] or settings.mode == "batch":
                jobs.append(Job(prompt, (row, *related.get(row, ())), sample, identifier))
    return jobs


def _shares(prompts: Sequence[Prompt], settings: QuestionsSettings) -> Iterator[tuple[Prompt, int]]:
    """How many calls each prompt gets."""
    if settings.mode == "batch":
        yield prompts[0], settings.max_questions // settings.questions_per_chunk
        return
    whole, share = sum(settings.styles.values()), 0.0
    for prompt in prompts:
        before, share = share, share + settings.styles[prompt.name] / whole
        yield prompt, round(settings.max_questions * share) - round(settings.max_questions * before)


def writing_prompts(prompts: Mapping[str, Prompt]) -> list[Prompt]:
    """Those of the prompts, by name, that the writer is asked with."""
    return [prompt for name, prompt in prompts.items() if name not in TASK_PROMPTS or name == "batch"]


def shows_several(prompt: Prompt, settings: QuestionsSettings) -> bool:
    """Whether a prompt shows a chunk together with related ones."""
    return "passages" in prompt.variables and (settings.mode == "single" or settings.styles.get("multi_hop", 0) > 0)


def _related_chunks(
    chunks: pl.DataFrame, rows: set[int], says_something: list[bool], encoder: Encoder, count: int
) -> dict[int, tuple[int, ...]]:
    """The chunks most similar to each row, but for near-duplicates."""
    vectors = encoder.encode_passages(chunks["passage"].to_list())
    related = {}
    for row in sorted(rows):
        similarity = vectors @ vectors[row]
        similarity[row] = -1
        chosen: list[int] = []
        for other in np.argsort(-similarity, kind="stable").tolist():
            if len(chosen) == count or similarity[other] <= 0:
                break
            if says_something[other] and (vectors[[row, *chosen]] @ vectors[other] < MOST_ALIKE).all():
                chosen.append(other)
        related[row] = tuple(chosen)
    return related


def extract_artifacts(
    chunks: pl.DataFrame, jobs: Sequence[Job], prompt: Prompt, model: LanguageModel, settings: LanguageModelSettings
) -> dict[int, str]:
    """Let a language model list the entities, terms, procedures and identifiers of the chunks that jobs show.

    Args:
        chunks: the collection's chunks.
        jobs: what is going to be asked.
        prompt: artifacts.jinja.
        model: the extractor.
        settings: its sampling.

    Returns:
        Row of a chunk → its artifacts in words. Chunks for which the model gave no valid JSON are left out.
    """
    rows = sorted({row for job in jobs for row in job.rows})
    texts = [prompt.render({"passage": chunks["passage"][row]}) for row in rows]
    sampling = Sampling.of(settings, json_schema=json.dumps(Artifacts.model_json_schema()))
    answers = model.generate(texts, [seed_of(0, 0, text) for text in texts], sampling, "extracting artifacts")
    artifacts = {}
    for row, answer in zip(rows, answers, strict=True):
        found = read_json(answer.text, Artifacts)
        if found is None:
            continue
        lines = [f"{kind}: {', '.join(dict.fromkeys(names))}" for kind, names in found if names]
        if lines:
            artifacts[row] = "\n".join(lines)
    return artifacts


def render_job(
    job: Job, rows: Sequence[dict], settings: QuestionsSettings, artifacts: Mapping[int, str], language: str = ENGLISH
) -> str:
    """The prompt of a job.

    Args:
        job: the call.
        rows: all chunks.
        settings: who asks, styles and reasoning types.
        artifacts: row of a chunk → its artifacts in words.
        language: of the collection, an ISO 639-1 code; prompts ask for it where it is not English, the language of the prompts.
    """
    passages = [rows[row]["passage"] for row in job.rows]
    return job.prompt.render(
        {
            "passage": passages[0],
            "passages": passages,
            "identifier": job.identifier,
            "reader": settings.reader,
            "language": _in_words(language),
            "artifacts": "\n".join(artifacts[row] for row in job.rows if row in artifacts),
            "styles": _draw_styles(job, passages, settings) if settings.mode == "batch" else {},
            "reasoning_types": settings.reasoning_types,
            "min_complexity": settings.min_complexity,
        }
    )


def _in_words(language: str) -> str:
    """What a prompt says of the language of its questions; nothing where it is that of the prompts."""
    name = name_of(language)
    return "" if language == ENGLISH else f"{name}, the language of the passages" if name else "the language of the passages"


def question_sampling(settings: QuestionsSettings) -> Sampling:
    """How the writer's answers are taken: one line in single mode, JSON in batch mode."""
    writer, batch = settings.writer, settings.mode == "batch"
    return Sampling.of(
        writer,
        stop=() if writer.chat or batch else ("\n",),
        json_schema=_batch_schema(settings) if batch else "",
    )


def _draw_styles(job: Job, passages: Sequence[str], settings: QuestionsSettings) -> dict[str, int]:
    """Style → how many questions of it one call in batch mode is to write."""
    usable = {style: share for style, share in settings.styles.items() if style != "multi_hop" or len(job.rows) > 1}
    draw = random.Random(f"{settings.seed} {passages}")
    return dict(Counter(draw.choices(list(usable), list(usable.values()), k=settings.questions_per_chunk)))


def _batch_schema(settings: QuestionsSettings) -> str:
    """The JSON schema of BatchAnswer with the allowed styles, reasoning types and numbers."""
    question = {
        "query": {"type": "string"},
        "style": {"enum": [style for style, share in settings.styles.items() if share]},
        "reasoning_type": {"enum": list(settings.reasoning_types)},
        "complexity": {"type": "integer", "minimum": 1, "maximum": 5},
        "passages": {
            "type": "array",
            "items": {"type": "integer", "minimum": 1, "maximum": settings.bundle_chunks},
            "minItems": 1,
            "maxItems": settings.bundle_chunks,
        },
    }
    item = {"type": "object", "properties": question, "required": list(question), "additionalProperties": False}
    items = {"type": "array", "items": item, "minItems": 1, "maxItems": settings.questions_per_chunk}
    whole = {"type": "object", "properties": {"questions": items}, "required": ["questions"], "additionalProperties": False}
    return json.dumps(whole)


def _read_single(job: Job, answer: Answer, rows: Sequence[dict], rules: QuestionRules, settings: QuestionsSettings) -> list[dict]:
    query = read_question(answer.text)
    shown = [rows[row] for row in job.rows]
    dropped = answer.problem or rules.refuse(query, [row["passage"] for row in shown], job.prompt.examples)
    return make_pairs(query, job.prompt.name, shown, settings.writer.name, job.prompt.fingerprint, dropped=dropped or None)


def _read_batch(
    job: Job, answer: Answer, rows: Sequence[dict], rules: QuestionRules, settings: QuestionsSettings
) -> Iterator[dict]:
    shown = [rows[row] for row in job.rows]
    found = read_json(answer.text, BatchAnswer)
    problem = answer.problem or ("" if found else "not the JSON that was asked for")
    questions = found.questions if found and not problem else []
    if problem:
        yield from make_pairs("", "batch", shown[:1], settings.writer.name, job.prompt.fingerprint, dropped=problem)
    for question in questions:
        named = [shown[number - 1] for number in dict.fromkeys(question.passages) if 1 <= number <= len(shown)]
        query = read_question(question.query)
        dropped: str | None
        if not named:
            dropped = "names no passage"
        elif question.complexity < settings.min_complexity:
            dropped = f"complexity below {settings.min_complexity}"
        else:
            dropped = rules.refuse(query, [row["passage"] for row in named], job.prompt.examples)
        yield from make_pairs(
            query,
            question.style,
            named or shown[:1],
            settings.writer.name,
            job.prompt.fingerprint,
            question.reasoning_type,
            question.complexity,
            dropped or None,
        )


def seed_of(seed: int, sample: int, prompt: str) -> int:
    """A seed of its own for each prompt: with one for all, every answer would begin alike."""
    return int.from_bytes(hashlib.sha256(f"{seed} {sample} {prompt}".encode()).digest()[:4], "big") >> 1
