"""Language models that judge whether a passage answers a question."""

import json
import math
import re
from typing import Annotated, Any

import polars as pl
from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema

from embed_assets.models.answers import Sampling
from embed_assets.models.language_models import LanguageModel
from embed_assets.models.settings import LanguageModelSettings
from embed_assets.queries.answers import read_json
from embed_assets.queries.pairs import TEXT_WRITER, with_column_of_chunks
from embed_assets.queries.prompts import Prompt

YES, NO = (" yes", "yes", " Yes", "Yes"), (" no", "no", " No", "No")
# Behind the mark there may be words; "4/5" and "4 out of 5" are of another scale.
_OF_TEN = re.compile(r"\s*+(\d++(?:\.\d++)?)(?:\s*+(?:/|(?:out )?of)\s*+10(?!\.?\d))?(?!\s*+(?:/|(?:out )?of)\s*+\d)")


def _mark(value: Any) -> Any:
    """The mark in ``8``, ``"8/10"`` or ``{"score": 8, "reason": "…"}``."""
    if isinstance(value, dict):
        value = next((value[name] for name in ("score", "mark", "rating", "value") if name in value), value)
    if isinstance(value, str) and (found := _OF_TEN.match(value)):
        return found[1]
    return value


# Whole numbers are asked for; what is answered may have a half.
Mark = Annotated[
    float, BeforeValidator(_mark), Field(ge=1, le=10), WithJsonSchema({"maximum": 10, "minimum": 1, "type": "integer"})
]


class Judgement(BaseModel):
    """The four criteria, 1 (bad) to 10 (good)."""

    relevance: Mark
    accuracy: Mark
    context_support: Mark
    clarity: Mark


def drop_unanswerable(
    pairs: pl.DataFrame, chunks: pl.DataFrame, prompt: Prompt, model: LanguageModel, threshold: float
) -> pl.DataFrame:
    """Drop written questions that their passage does not answer, by the log-probabilities of yes and no.

    Args:
        pairs: in PAIR_SCHEMA.
        chunks: the collection's chunks.
        prompt: answerable.jinja, which ends where the answer yes or no follows.
        model: the judge.
        threshold: least probability of yes, of yes and no together.

    Returns:
        The pairs with the reason of each drop, and ``answerability``, the probability of yes (null where it was
        not asked for).
    """
    query_ids, texts = _questions_to_judge(pairs, chunks, prompt)
    answers = model.generate(texts, [0] * len(texts), Sampling(choices=YES + NO), "judging answerability")
    scores = {}
    for query_id, answer in zip(query_ids, answers, strict=True):
        if not answer.problem:
            found = json.loads(answer.text)
            yes, no = (sum(math.exp(found[word]) for word in words if word in found) for words in (YES, NO))
            if yes + no:
                scores[query_id] = yes / (yes + no)
    return _drop_below(pairs, query_ids, scores, "answerability", threshold)


def drop_badly_judged(
    pairs: pl.DataFrame,
    chunks: pl.DataFrame,
    prompt: Prompt,
    model: LanguageModel,
    settings: LanguageModelSettings,
    threshold: float,
) -> pl.DataFrame:
    """Drop written questions by the verdict of a language model.

    Args:
        pairs: in PAIR_SCHEMA.
        chunks: the collection's chunks.
        prompt: judge.jinja.
        model: the judge.
        settings: its sampling.
        threshold: least mean of the four criteria, 1 to 10.

    Returns:
        The pairs with the reason of each drop, and ``judge_score``, the mean (null where it was not asked for).
    """
    query_ids, texts = _questions_to_judge(pairs, chunks, prompt)
    sampling = Sampling.of(settings, json_schema=json.dumps(Judgement.model_json_schema()))
    answers = model.generate(texts, [0] * len(texts), sampling, "judging")
    scores = {}
    for query_id, answer in zip(query_ids, answers, strict=True):
        verdict = None if answer.problem else read_json(answer.text, Judgement)
        if verdict is not None:
            scores[query_id] = sum(dict(verdict).values()) / len(Judgement.model_fields)
    return _drop_below(pairs, query_ids, scores, "judge_score", threshold)


def _questions_to_judge(pairs: pl.DataFrame, chunks: pl.DataFrame, prompt: Prompt) -> tuple[list[str], list[str]]:
    """The ids of the written queries that are left, and the prompt for each with its answer and all its passages."""
    written = pairs.filter(pl.col("dropped").is_null() & (pl.col("writer") != TEXT_WRITER))
    grouped = (
        with_column_of_chunks(written, chunks, "passage")
        .group_by("query_id", maintain_order=True)
        .agg(pl.col("query").first(), pl.col("answer").first(), pl.col("passage").str.join("\n\n"))
    )
    rows = grouped.select("query", "passage", pl.col("answer").fill_null("")).iter_rows(named=True)
    return grouped["query_id"].to_list(), [prompt.render(row) for row in rows]


def _drop_below(pairs: pl.DataFrame, asked: list[str], scores: dict[str, float], column: str, threshold: float) -> pl.DataFrame:
    score = pairs["query_id"].replace_strict(scores, default=None, return_dtype=pl.Float64)
    open_rows = pl.col("dropped").is_null() & pl.col("query_id").is_in(asked)
    reason = (
        pl.when(score.is_null()).then(pl.lit("no verdict")).otherwise(pl.lit(f"{column.replace('_', ' ')} below {threshold:g}"))
    )
    dropped = pl.when(open_rows & (score.is_null() | (score < threshold))).then(reason).otherwise(pl.col("dropped"))
    return pairs.with_columns(score.alias(column), dropped=dropped)
