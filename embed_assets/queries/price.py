"""What asking the language models would take, told without asking."""

from pathlib import Path

from embed_assets.artifacts.inputs import Inputs
from embed_assets.corpus.spans import language_of
from embed_assets.models.language_models import count_unanswered
from embed_assets.queries.jobs import plan_jobs, seed_of, shows_several, writing_prompts
from embed_assets.queries.prompts import Prompt
from embed_assets.queries.questions import question_sampling, render_job
from embed_assets.queries.settings import QuestionsSettings
from embed_assets.queries.surroundings import surroundings


def prompts_to_answer(inputs: Inputs, memos: Path) -> dict[str, int]:
    """How many prompts of the writer were never answered.

    Nothing is told where a prompt shows what would first have to be computed: related chunks, or artifacts that the
    extractor lists. The judge is asked about what the writer answers, so its prompts are never counted.

    Args:
        inputs: of qa_pairs.
        memos: folder of the memos.
    """
    settings = inputs.block(QuestionsSettings)
    writer = settings.language_models.get("writer")
    prompts = writing_prompts({it.value.name: it.value for it in inputs.sources.values() if isinstance(it.value, Prompt)})
    if writer is None:
        return {"prompts": 0}
    if settings.extract_artifacts or any(shows_several(prompt, settings) for prompt in prompts):
        return {}
    chunks = inputs.table("corpus_chunks", "chunks")
    jobs, rows = plan_jobs(chunks, prompts, None, settings), chunks.select("passage").rows(named=True)
    around = surroundings(chunks, settings)
    texts = [render_job(job, rows, settings, {}, language_of(chunks), around(job)) for job in jobs]
    seeds = [seed_of(settings.seed, job.sample, text) for job, text in zip(jobs, texts, strict=True)]
    return {"prompts": count_unanswered(writer, memos, texts, seeds, question_sampling(settings))}
