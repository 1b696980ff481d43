"""What chunks speak of, listed by a language model for the prompts of the writer."""

import json
from collections.abc import Sequence
from typing import Annotated, Any

import polars as pl
from pydantic import BaseModel, BeforeValidator, Field

from embed_assets.models.answers import Sampling
from embed_assets.models.language_models import LanguageModel
from embed_assets.models.settings import LanguageModelSettings
from embed_assets.queries.answers import read_json
from embed_assets.queries.jobs import Job, seed_of
from embed_assets.queries.prompts import Prompt

MOST_OF_A_KIND = 5


def _texts(value: Any) -> Any:
    """The texts of a list, be they in objects with a description, and no more than are of use."""
    if not isinstance(value, list):
        return [value] if isinstance(value, str) and value else []
    found = [item.get("text") or item.get("name") if isinstance(item, dict) else item for item in value]
    return [item for item in found if isinstance(item, str) and item][:MOST_OF_A_KIND]


Names = Annotated[list[str], BeforeValidator(_texts), Field(max_length=MOST_OF_A_KIND)]


class Artifacts(BaseModel):
    """What a chunk speaks of: the eight kinds of NVIDIA's recipe under plain names, and its identifiers."""

    concepts: Names = []
    relationships: Names = []
    themes: Names = []
    entities: Names = []
    processes: Names = []
    insights: Names = []
    terms: Names = []
    conditions: Names = []
    identifiers: Names = []


def extract_artifacts(
    chunks: pl.DataFrame, jobs: Sequence[Job], prompt: Prompt, model: LanguageModel, settings: LanguageModelSettings
) -> dict[int, str]:
    """Let a language model list what the chunks that jobs show speak of.

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
        found = None if answer.problem else read_json(answer.text, Artifacts)
        if lines := [f"{kind}: {', '.join(dict.fromkeys(names))}" for kind, names in found or () if names]:
            artifacts[row] = "\n".join(lines)
    return artifacts
