"""Answers in batch mode: several questions in one, as JSON, or as a list where a model gives no JSON."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, BeforeValidator, Field

from embed_assets.models.answers import UNFINISHED, Answer
from embed_assets.queries.answers import read_list, read_question, without_reasoning
from embed_assets.queries.filters import QuestionRules
from embed_assets.queries.jobs import Job
from embed_assets.queries.pairs import make_pairs
from embed_assets.queries.settings import QuestionsSettings
from embed_assets.queries.written_json import json_values, questions_in
from embed_assets.text.languages import ENGLISH

UNKNOWN_STYLE = "batch"
NO_JSON = "not the JSON that was asked for"
NOT_WRITTEN = "not written"


def _whole_numbers(value: Any) -> list[int]:
    """The numbers in ``[1, 2]``, ``"1, 2"``, ``1`` or ``["Passage 2"]``."""
    if isinstance(value, int | float):
        return [int(value)] if math.isfinite(value) else []
    return [int(number) for number in re.findall(r"\d{1,3}", value if isinstance(value, str) else json.dumps(value))]


def _complexity(value: Any) -> int | None:
    return next((number for number in _whole_numbers(value) if 1 <= number <= 5), None)


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


class WrittenQuestion(BaseModel):
    """One question of a batch answer; ``passages`` are the numbers, from 1, of those that answer it.

    Only the question itself has to be there: a wrong label does not spoil it.
    """

    query: str
    answer: Annotated[str, BeforeValidator(_text)] = ""
    style: Annotated[str, BeforeValidator(_text)] = ""
    reasoning_type: Annotated[str, BeforeValidator(_text)] = ""
    complexity: Annotated[int | None, BeforeValidator(_complexity)] = None
    passages: Annotated[list[int], BeforeValidator(_whole_numbers)] = Field(
        [], validation_alias=AliasChoices("passages", "passage", "passage_numbers", "passage_ids")
    )


def read_batch(answer: Answer, job: Job, settings: QuestionsSettings) -> list[WrittenQuestion]:
    """The questions in an answer, at most as many as were asked for.

    Their styles are among those of the job, or UNKNOWN_STYLE; a question to a single passage is about that. Of an answer that
    is unfinished, those are read that are finished.
    """
    if answer.problem not in ("", UNFINISHED):
        return []
    asked = [style for style, _ in job.styles]
    text = without_reasoning(answer.text)
    lines = text.rpartition("\n")[0] if answer.problem else text
    found = questions_in(json_values(text), asked) or [{"query": it} for it in read_list(lines)]
    questions = [WrittenQuestion.model_validate(it) for it in found]
    for question in questions:
        style = re.sub(r"\W+", "_", question.style.strip().lower())
        names = {name.lower().replace("-", "_"): name for name in asked}
        question.style = names.get(style) or (asked[0] if len(asked) == 1 else UNKNOWN_STYLE)
        if len(job.rows) == 1:
            question.passages = [1]
        if question.reasoning_type.lower() in settings.reasoning_types:
            question.reasoning_type = question.reasoning_type.lower()
    return questions[: job.questions]


def batch_pairs(
    questions: Sequence[WrittenQuestion],
    job: Job,
    rows: Sequence[dict],
    rules: QuestionRules,
    settings: QuestionsSettings,
    language: str = ENGLISH,
) -> Iterator[dict]:
    """Rows of the questions of an answer in PAIR_SCHEMA, those that cannot be used with the reason in ``dropped``.

    ``language`` is the ISO 639-1 code of the language that was asked for.
    """
    shown = [rows[row] for row in job.rows]
    for question in questions:
        named = [shown[number - 1] for number in dict.fromkeys(question.passages) if 1 <= number <= len(shown)]
        query = read_question(" ".join(question.query.split()))
        dropped: str | None
        if not named:
            dropped = "names no passage"
        elif question.complexity is not None and question.complexity < settings.min_complexity:
            dropped = f"complexity below {settings.min_complexity}"
        else:
            dropped = rules.refuse(query, [row["passage"] for row in named], job.prompt.examples, language)
        yield from make_pairs(
            query,
            question.style,
            named or shown[:1],
            settings.writer.name,
            job.prompt.fingerprint,
            question.reasoning_type or None,
            question.complexity,
            dropped or None,
            question.answer or None,
        )


def missing_styles(job: Job, questions: Sequence[WrittenQuestion]) -> tuple[tuple[str, int], ...]:
    """How many questions of each style a job was to write and did not; one of an unknown style stands for any other."""
    written = Counter(question.style for question in questions)
    missing = {style: max(0, count - written[style]) for style, count in job.styles}
    too_many = sum(missing.values()) - (job.questions - len(questions))
    for style in reversed(missing):
        less = max(0, min(too_many, missing[style]))
        missing[style] -= less
        too_many -= less
    return tuple((style, count) for style, count in missing.items() if count)


def batch_schema(settings: QuestionsSettings, count: int) -> str:
    """The JSON schema of an answer with so many questions and the allowed styles, reasoning types and numbers."""
    # The style comes first, so that what follows is written in it.
    question = {
        "style": {"enum": [style for style, share in settings.styles.items() if share]},
        "query": {"type": "string"},
        **({"answer": {"type": "string"}} if settings.answers else {}),
        "reasoning_type": {"enum": list(settings.reasoning_types)},
        "complexity": {"type": "integer", "minimum": 1, "maximum": 5},
        "passages": {
            "type": "array",
            "items": {"type": "integer", "minimum": 1, "maximum": settings.most_hops},
            "minItems": 1,
            "maxItems": settings.most_hops,
        },
    }
    item = {"type": "object", "properties": question, "required": list(question), "additionalProperties": False}
    items = {"type": "array", "items": item, "minItems": count, "maxItems": count}
    whole = {"type": "object", "properties": {"questions": items}, "required": ["questions"], "additionalProperties": False}
    return json.dumps(whole)
