"""What asking the language models would take, told without asking."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from embed_assets.artifacts.inputs import Inputs
from embed_assets.models.language_models import unanswered
from embed_assets.models.settings import BaseModelSettings, LanguageModelSettings
from embed_assets.queries.jobs import Job, plan_jobs, writing_prompts
from embed_assets.queries.prompts import Prompt
from embed_assets.queries.questions import JobPrompts, question_sampling, render_job
from embed_assets.queries.settings import QuestionsSettings
from embed_assets.queries.shares import MULTI_HOP, exact_counts, questions_of_calls, shares_of_prompts
from embed_assets.queries.surroundings import CHARACTERS_OF_A_TOKEN

LETTERS_OF_A_TOKEN = 4  # of English text; other scripts take a token for one or two letters
LETTERS_OF_A_QUESTION = 80
ASKED_FOR = "asked for: "  # before a style


@dataclass(frozen=True)
class Task:
    """What one language model is asked.

    Args:
        model: its settings.
        prompts: how many.
        prompt_tokens: of all together, estimated.
        asked_for: of the writer, how many questions of which style, and with how many hops.
    """

    model: LanguageModelSettings
    prompts: int
    prompt_tokens: int
    asked_for: Mapping[str, int] = field(default_factory=dict)

    @property
    def answer_tokens(self) -> int:
        """The most that the answers can have."""
        return self.prompts * self.model.max_new_tokens

    @property
    def cost(self) -> float:
        """The most that it can cost, in the currency of the settings."""
        return self.model.cost(self.prompt_tokens, self.answer_tokens)


def price_of_pairs(inputs: Inputs, memos: Path) -> dict[str, float]:
    """Prompts of the writer that were never answered, and tokens and cost of all language models that are asked.

    Tokens of prompts are estimated from their letters; those of answers, and so the cost, are the most that there can be for
    calls that are made once. What is asked for again (``ask_again``, ``identifier_coverage``) comes on top.
    Where there are no chunks yet, and where a prompt shows what would first have to be computed (related chunks, artifacts),
    typical prompts are counted instead, as if none was ever answered.

    Args:
        inputs: of qa_pairs; corpus_chunks may be missing.
        memos: folder of the memos.

    Returns:
        ``prompts``, and where there is anything to ask ``prompt_tokens``, ``answer_tokens``, with prices ``cost``, and after
        ASKED_FOR how many questions of which style, and with how many hops, those that were answered before included.
    """
    settings = inputs.block(QuestionsSettings)
    prompts = {it.value.name: it.value for it in inputs.sources.values() if isinstance(it.value, Prompt)}
    if "writer" not in settings.language_models or not writing_prompts(prompts, settings):
        return {"prompts": 0}
    chunks = inputs.table("corpus_chunks", "chunks") if "corpus_chunks" in inputs.artifacts else None
    tasks = list(_tasks(settings, prompts, chunks, inputs.block(BaseModelSettings).max_tokens, memos))
    price: dict[str, float] = {"prompts": tasks[0].prompts}
    if asked := sum(task.prompts for task in tasks):
        price |= {
            "prompt_tokens": sum(task.prompt_tokens for task in tasks),
            "answer_tokens": sum(task.answer_tokens for task in tasks),
        }
    if asked and (cost := sum(task.cost for task in tasks)):
        price["cost"] = round(cost, 2)
    if asked:
        price |= {f"{ASKED_FOR}{what}": count for what, count in tasks[0].asked_for.items() if count}
    return price


def _tasks(
    settings: QuestionsSettings, prompts: Mapping[str, Prompt], chunks: pl.DataFrame | None, passage_tokens: int, memos: Path
) -> Iterator[Task]:
    """The writer first, then the extractor and the judge, as far as they are asked."""
    models, writing = settings.language_models, writing_prompts(prompts, settings)
    typical = "x" * LETTERS_OF_A_TOKEN * passage_tokens
    if chunks is not None and len(chunks):
        typical = chunks["passage"].to_list()[int(chunks["passage"].str.len_chars().arg_sort()[len(chunks) // 2])]
    certain = not settings.extract_artifacts and not any(several for _, _, several in shares_of_prompts(writing, settings))
    if chunks is not None and certain:
        jobs = plan_jobs(chunks, writing, None, settings)
        texts, seeds = JobPrompts(chunks, settings).of(jobs)
        new = unanswered(models["writer"], memos, texts, seeds, question_sampling(settings, settings.questions_per_chunk))
        asked_for: Counter[str] = Counter()
        for job in jobs:
            asked_for.update(dict(job.styles) or {job.prompt.name: 1})
        yield Task(models["writer"], len(new), sum(tokens_of(texts[number]) for number in new), asked_for)
        questions = sum(jobs[number].questions for number in new)
    else:
        calls, tokens, shows = 0, 0, 0
        asked_for = Counter()
        for prompt, count, several in shares_of_prompts(writing, settings):
            if chunks is not None:
                count = min(count, len(chunks) * (1 if settings.mode == "batch" else settings.questions_per_chunk))
            asked_for.update(dict(questions_of_calls(count, several, prompt.name, settings)))
            for hops, number in exact_counts(settings.hops if several else {1: 1}, count).items():
                styles = ((MULTI_HOP, 1),) if several else tuple((style, 1) for style in settings.styles)
                job = Job(prompt, tuple(range(hops)), 0, "identifier", styles)
                text = render_job(job, [{"passage": typical}] * hops, settings, {})
                calls, shows = calls + number, shows + number * hops
                tokens += number * (tokens_of(text) + _context_tokens(settings, typical))
        yield Task(models["writer"], calls, tokens, asked_for)
        questions = sum(asked_for.values())
        if "extractor" in models:
            shown = shows if chunks is None else min(shows, len(chunks))
            yield Task(models["extractor"], shown, shown * tokens_of(prompts["artifacts"].render({"passage": typical})))
    if "judge" in models:
        variables = {"passage": typical, "query": "x" * LETTERS_OF_A_QUESTION, "answer": ""}
        asking = [name for name in ("answerable", "judge") if name in prompts]
        tokens = sum(tokens_of(prompts[name].render(variables)) for name in asking)
        yield Task(models["judge"], questions * len(asking), questions * tokens)


def _context_tokens(settings: QuestionsSettings, typical: str) -> int:
    """What stands around a typical chunk: a section is taken for three chunks, a document for as many as there is room for."""
    if settings.mode == "single" or settings.context == "chunk":
        return 0
    room = settings.writer.max_model_tokens - settings.writer.max_new_tokens
    wanted = 2 * tokens_of(typical) if settings.context == "section" else room
    return max(0, min(room, wanted)) * CHARACTERS_OF_A_TOKEN // LETTERS_OF_A_TOKEN


def tokens_of(text: str) -> int:
    """About how many tokens a text has, whatever the tokenizer."""
    ascii_letters = len(text.encode("ascii", errors="ignore"))
    return math.ceil(ascii_letters / LETTERS_OF_A_TOKEN + (len(text) - ascii_letters) / 1.5)
