"""Written questions per second against bare vLLM."""

import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

import polars as pl

from embed_assets.models.answers import Answer, Sampling
from embed_assets.models.encoders import Encoder
from embed_assets.models.hardware import Compute
from embed_assets.models.language_models import LanguageModel
from embed_assets.models.locations import locate_model, model_digest
from embed_assets.models.settings import LanguageModelSettings
from embed_assets.models.vllm_worker import answer_prompts, load_engine, sampling_params
from embed_assets.queries.jobs import plan_jobs, writing_prompts
from embed_assets.queries.prompts import Prompt
from embed_assets.queries.questions import JobPrompts, question_sampling
from embed_assets.queries.settings import QuestionsSettings


class _EngineHere:
    """The vLLM engine of this process, with the same messages as to vllm_worker.py."""

    def __init__(self, engine, settings: LanguageModelSettings):
        self._engine, self._settings = engine, settings.model_dump(mode="json")

    def answer(self, prompts: Sequence[str], seeds: Sequence[int], sampling: Sampling) -> Iterator[tuple[int, Answer]]:
        message = {"batch": 0, "prompts": list(prompts), "seeds": list(seeds), "sampling": asdict(sampling)}
        batches = iter([json.loads(json.dumps(message))])
        for answers in answer_prompts(self._engine, lambda wait: next(batches, None), self._settings):
            for _, number, *answer in json.loads(json.dumps(answers)):
                yield number, Answer(*answer)

    def close(self) -> None:
        pass


def asked(
    chunks: pl.DataFrame, prompts: Mapping[str, Prompt], settings: QuestionsSettings, encoder: Encoder
) -> tuple[list[str], list[int], Sampling]:
    """The prompts that the writer gets for a collection, the seed of each, and how answers are taken; as benchmark_questions."""
    jobs = plan_jobs(chunks, writing_prompts(prompts, settings), encoder, settings)
    if not jobs:
        raise ValueError("no chunk says enough to be asked about")
    return *JobPrompts(chunks, settings).of(jobs), question_sampling(settings, settings.questions_per_chunk)


def benchmark_questions(
    chunks: pl.DataFrame,
    prompts: Mapping[str, Prompt],
    settings: QuestionsSettings,
    encoder: Encoder,
    memos: Path,
    rounds: int = 3,
    compute: Compute = Compute(),
) -> pl.DataFrame:
    """Questions per second of the writer, against vLLM's own ``LLM.generate`` with the same prompts in the same process.

    The two take turns, and begin each time with an empty prefix cache and an empty memo.

    Args:
        chunks: the collection's chunks.
        prompts: from load_question_prompts.
        settings: the writer, how many prompts, the styles and their shares.
        encoder: the base model, for prompts that show several chunks.
        memos: folder of converted models.
        rounds: how often each is timed; the median counts.
        compute: share of the GPU's memory.

    Returns:
        One row each for bare vLLM and for the writer: questions, new tokens and prompt tokens per second, the share of
        the prompt tokens that came from the prefix cache, and the ratio of questions per second to bare vLLM.

    Raises:
        ValueError: nothing would be asked, or the writer is an endpoint.
    """
    writer = settings.writer
    if writer.engine != "vllm":
        raise ValueError("the writer is an endpoint, whose speed is not that of this machine")
    texts, seeds, sampling = asked(chunks, prompts, settings, encoder)
    digest = model_digest(writer.name, writer.revision).replace("/", "--")
    engine = load_engine(
        str(locate_model(writer.name)), memos / "models" / digest, writer.model_dump(mode="json"), compute.memory_share
    )
    seconds: dict[str, list[float]] = {"bare vLLM": [], "writer": []}
    for _ in range(rounds + 1):
        engine.reset_prefix_cache()
        started = time.perf_counter()
        outputs = engine.generate(texts, [sampling_params(asdict(sampling), seed, writer.chat) for seed in seeds], use_tqdm=False)
        seconds["bare vLLM"].append(time.perf_counter() - started)
        engine.reset_prefix_cache()
        with tempfile.TemporaryDirectory() as folder:
            model = LanguageModel(writer, Path(folder), engine=_EngineHere(engine, writer))
            started = time.perf_counter()
            model.generate(texts, seeds, sampling)
            seconds["writer"].append(time.perf_counter() - started)
    new_tokens = sum(len(output.outputs[0].token_ids) for output in outputs)
    prompt_tokens = sum(len(output.prompt_token_ids) for output in outputs)
    cached = sum(output.num_cached_tokens or 0 for output in outputs)
    # The first round of each warms up.
    taken = {system: median(values[1:]) for system, values in seconds.items()}
    return pl.DataFrame(
        [
            {
                "system": system,
                "questions_per_second": round(len(texts) / time_taken, 2),
                "new_tokens_per_second": round(new_tokens / time_taken, 1),
                "prompt_tokens_per_second": round(prompt_tokens / time_taken, 1),
                "prompt_tokens_from_cache": round(cached / prompt_tokens, 3),
                "ratio": round(taken["bare vLLM"] / time_taken, 3),
            }
            for system, time_taken in taken.items()
        ]
    )
