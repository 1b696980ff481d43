"""The stage that makes QA pairs."""

from functools import partial

from embed_assets.artifacts.inputs import Asked, Source, source_of_files
from embed_assets.artifacts.stages import Stage
from embed_assets.models.language_models import can_answer, language_model_digest
from embed_assets.models.sources import base_model
from embed_assets.queries.checks import PAIRS_CHECKS
from embed_assets.queries.own_pairs import own_pairs_digest
from embed_assets.queries.price import price_of_pairs
from embed_assets.queries.prompts import load_question_prompts
from embed_assets.queries.reviews import refused_questions
from embed_assets.queries.settings import QuestionsSettings

PROMPT = "prompt "
NOT_INSTALLED = "not installed"


def own_pairs(asked: Asked) -> dict[str, Source]:
    """The pairs that the user brings, if they are wanted and there are any."""
    wanted = asked.block(QuestionsSettings).own_pairs != "ignore"
    return source_of_files("own pairs", partial(own_pairs_digest, asked.folder)) if wanted else {}


def prompts(asked: Asked) -> dict[str, Source]:
    """The prompts that the settings need."""
    found = load_question_prompts(asked.block(QuestionsSettings), asked.workspace.prompt_folders(asked.collection))
    return {f"{PROMPT}{name}": Source(prompt.fingerprint, prompt) for name, prompt in found.items()}


def language_models(asked: Asked) -> dict[str, Source]:
    """The models that write, list artifacts and judge, by task."""
    settings = asked.block(QuestionsSettings)
    if settings.if_no_writer == "look_ups" and not can_answer(settings.writer):
        return {"writer": Source(NOT_INSTALLED)}
    return {task: Source(language_model_digest(model)) for task, model in settings.language_models.items()}


QA_PAIRS = Stage(
    name="qa_pairs",
    group="queries",
    code_version="27",
    settings=("base_model", "questions", "evaluation_set"),
    inputs=("corpus_chunks",),
    sources=(base_model, own_pairs, refused_questions, prompts, language_models),
    checks=PAIRS_CHECKS,
    price=price_of_pairs,
)
