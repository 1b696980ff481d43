"""What chunks speak of, listed by a language model for the prompts of the writer."""

import json
from collections.abc import Sequence

import polars as pl
from pydantic import BaseModel

from embed_assets.models.answers import Sampling
from embed_assets.models.language_models import LanguageModel
from embed_assets.models.settings import LanguageModelSettings
from embed_assets.queries.answers import read_json
from embed_assets.queries.jobs import Job, seed_of
from embed_assets.queries.prompts import Prompt


class Artifacts(BaseModel):
    """What a chunk speaks of."""

    entities: list[str] = []
    terms: list[str] = []
    procedures: list[str] = []
    identifiers: list[str] = []


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
