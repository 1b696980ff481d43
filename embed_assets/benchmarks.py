"""Speed against the libraries underneath, as ratios of runs that follow each other: machines differ, and so do their hours."""

import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

import polars as pl

from embed_assets.chunking import SpanIndex
from embed_assets.models.encoders import Encoder, load_sentence_transformer
from embed_assets.models.hardware import Compute
from embed_assets.models.language_models import Answer, LanguageModel, Sampling
from embed_assets.models.locations import locate_model, model_digest
from embed_assets.models.vllm_worker import answer_prompts, load_engine, sampling_params
from embed_assets.negatives import mine_hard_negatives
from embed_assets.prompts import Prompt
from embed_assets.questions import plan_jobs, question_sampling, render_job, seed_of
from embed_assets.settings import BaseModelSettings, NegativesSettings, QuestionsSettings, TrainingSettings
from embed_assets.training import fine_tune, training_examples


class _EngineHere:
    """The vLLM engine of this process, with the same messages as to vllm_worker.py."""

    def __init__(self, engine, chat: bool):
        self._engine, self._chat = engine, chat

    def answer(self, prompts: Sequence[str], seeds: Sequence[int], sampling: Sampling) -> Iterator[tuple[int, Answer]]:
        message = json.dumps({"prompts": list(prompts), "seeds": list(seeds), "sampling": asdict(sampling)})
        for line in answer_prompts(self._engine, json.loads(message), self._chat):
            number, *answer = json.loads(json.dumps(line))
            yield number, Answer(*answer)

    def close(self) -> None:
        pass


def benchmark_questions(
    chunks: pl.DataFrame,
    prompts: Mapping[str, Prompt],
    settings: QuestionsSettings,
    encoder: Encoder,
    memos: Path,
    count: int = 200,
    rounds: int = 3,
    compute: Compute = Compute(),
) -> pl.DataFrame:
    """Questions per second of the writer, against vLLM's own ``LLM.generate`` with the same prompts in the same process.

    The two take turns, and begin each time with an empty prefix cache and an empty memo.

    Args:
        chunks: the collection's chunks.
        prompts: from load_question_prompts.
        settings: the writer, the styles and their shares.
        encoder: the base model, for prompts that show several chunks.
        memos: folder of converted models.
        count: how many prompts.
        rounds: how often each is timed; the median counts.
        compute: share of the GPU's memory.

    Returns:
        One row each for bare vLLM and for the writer: questions, new tokens and prompt tokens per second, the share of
        the prompt tokens that came from the prefix cache, and the ratio of questions per second to bare vLLM.
    """
    writer = settings.writer
    jobs = plan_jobs(chunks, list(prompts.values()), encoder, settings.model_copy(update={"max_questions": count}))
    rows = chunks.select("passage", "document_id", "start", "end").rows(named=True)
    texts = [render_job(job, rows, settings, {}) for job in jobs]
    seeds = [seed_of(settings.seed, job.sample, text) for job, text in zip(jobs, texts, strict=True)]
    sampling = question_sampling(settings)
    digest = model_digest(writer.name).replace("/", "--")
    engine = load_engine(
        str(locate_model(writer.name)), memos / "models" / digest, writer.model_dump(mode="json"), compute.memory_share
    )
    seconds: dict[str, list[float]] = {"bare vLLM": [], "writer": []}
    for _ in range(rounds + 1):
        engine.reset_prefix_cache()
        started = time.perf_counter()
        outputs = engine.generate(texts, [sampling_params(asdict(sampling), seed) for seed in seeds], use_tqdm=False)
        seconds["bare vLLM"].append(time.perf_counter() - started)
        engine.reset_prefix_cache()
        with tempfile.TemporaryDirectory() as folder:
            model = LanguageModel(writer, Path(folder), engine=_EngineHere(engine, writer.chat))
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


def benchmark_training(
    triplets: pl.DataFrame,
    base_model: BaseModelSettings,
    settings: TrainingSettings,
    examples: int = 256,
    compute: Compute = Compute(),
) -> pl.DataFrame:
    """Examples per second of fine_tune, against sentence-transformers' trainer as it is.

    Both have the same model, examples, batch size, negatives and loss, make one pass, and load and save the model. The
    trainer otherwise keeps its defaults, among them float32 and the dropout of the model. It goes first, because
    fine_tune changes how this process manages memory.

    Args:
        triplets: as for fine_tune; only the train split is used.
        base_model: the model to start from.
        settings: how to train.
        examples: how many triplets.
        compute: device, dtype and mini-batch size of fine_tune.

    Returns:
        One row each for the trainer and for fine_tune: examples, seconds, examples per second, the mean loss, and the
        ratio of examples per second to the trainer's.
    """
    settings = settings.model_copy(update={"epochs": 1.0, "max_examples": examples, "early_stopping": 0})
    triplets = triplets.filter(pl.col("split") == "train")
    train, _ = training_examples(triplets, settings)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        _train_plainly(train.head(2), Path(folder), base_model, settings, compute)  # warms up
        for system in ("sentence-transformers", "fine_tune"):
            started = time.perf_counter()
            if system == "fine_tune":
                ours = (Path(folder, "model"), Path(folder, "scratch"), base_model, settings, compute)
                loss = fine_tune(triplets, *ours)["loss"].mean()
            else:
                loss = _train_plainly(train, Path(folder), base_model, settings, compute)
            seconds = time.perf_counter() - started
            rows.append({"system": system, "examples": len(train), "seconds": seconds, "loss": loss})
    return pl.DataFrame(rows).select(
        "system",
        "examples",
        pl.col("seconds").round(1),
        examples_per_second=(pl.col("examples") / pl.col("seconds")).round(2),
        loss=pl.col("loss").round(3),
        ratio=(pl.col("seconds").first() / pl.col("seconds")).round(3),
    )


def _train_plainly(
    train: pl.DataFrame, folder: Path, base_model: BaseModelSettings, settings: TrainingSettings, compute: Compute
) -> float:
    """Train with the library's defaults; returns the mean loss."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.base.sampler import BatchSamplers
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    device = compute.torch_device()
    model = SentenceTransformer(str(locate_model(base_model.name)), device=device, trust_remote_code=base_model.trust_remote_code)
    model.max_seq_length = base_model.max_tokens
    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            output_dir=str(folder / "plain"),
            use_cpu=device == "cpu",
            num_train_epochs=1,
            per_device_train_batch_size=min(settings.batch_size, len(train)),
            learning_rate=settings.learning_rate,
            batch_sampler=BatchSamplers.NO_DUPLICATES,
            prompts={"anchor": base_model.query_prompt} | dict.fromkeys(train.columns[1:], base_model.passage_prompt),
            seed=settings.seed,
            disable_tqdm=True,
            report_to="none",
        ),
        train_dataset=Dataset.from_polars(train),
        loss=MultipleNegativesRankingLoss(model, scale=1 / settings.temperature),
    )
    loss = trainer.train().training_loss
    model.save_pretrained(str(folder / "plain-model"))
    return loss


@dataclass(frozen=True)
class Mining:
    """One task for all that mine hard negatives.

    Args:
        chunks: the collection's chunks.
        pairs: QA pairs with a split.
        base_model: encodes.
        settings: how many negatives, from how many candidates, with which margin.
        compute: device, dtype and batch size.
    """

    chunks: pl.DataFrame
    pairs: pl.DataFrame
    base_model: BaseModelSettings
    settings: NegativesSettings
    compute: Compute = field(default_factory=Compute)


def benchmark_mining(task: Mining) -> pl.DataFrame:
    """Time and memory of mine_hard_negatives, against sentence-transformers' function of the same name.

    Both have the same model, batch size, candidates, margin and number of negatives, and exact search. Ours also
    searches with BM25. Each runs in a fresh process; the time begins when the model is loaded.

    Args:
        task: what is mined.

    Returns:
        One row each for sentence-transformers, for this package with nothing encoded before, and for it with the
        embeddings of an earlier run: seconds on the clock and of all cores; the process's peak memory, and what of it
        came after the model was loaded, in MB (10^6 bytes); the share of the pairs that got all their negatives; and
        how many times faster than sentence-transformers it was on the clock.
    """
    rows = []
    with tempfile.TemporaryDirectory() as memos:
        for system, mine in {
            "sentence-transformers": _mine_with_sentence_transformers,
            "embed_assets": _mine_here,
            "embed_assets, encoded before": _mine_here,
        }.items():
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
                rows.append({"system": system} | process.submit(mine, task, Path(memos)).result())
    ratio = (pl.col("seconds").first() / pl.col("seconds")).round(2)
    return pl.DataFrame(rows).with_columns(pl.col("seconds").round(2), ratio=ratio)


def _mine_here(task: Mining, memos: Path) -> dict[str, float]:
    encoder = Encoder(task.base_model, memos, compute=task.compute)
    encoder.encode_queries([f"a text that warms up {time.time()}"])

    def mine() -> int:
        _, counts = mine_hard_negatives(task.pairs, task.chunks, encoder, task.settings)
        return len(task.pairs) - counts["drawn at random"] // task.settings.per_query

    return _measure(mine, len(task.pairs))


def _mine_with_sentence_transformers(task: Mining, memos: Path) -> dict[str, float]:
    from datasets import Dataset, disable_progress_bars
    from sentence_transformers.util import mine_hard_negatives as mine_with_sentence_transformers

    disable_progress_bars()
    model = load_sentence_transformer(task.base_model, task.compute.torch_device()).to(task.compute.torch_dtype())
    model.encode(["a text that warms up"])
    passages, spans = task.chunks["passage"].to_list(), SpanIndex(task.chunks)
    rows = task.pairs.select("query", "document_id", "start", "end").rows()
    positives = [(query, passages[best]) for query, *span in rows if (best := spans.best(*span)) is not None]
    dataset = Dataset.from_dict({"anchor": [row[0] for row in positives], "positive": [row[1] for row in positives]})

    def mine() -> int:
        return len(
            mine_with_sentence_transformers(
                dataset,
                model,
                corpus=passages,
                range_max=task.settings.top_k,
                relative_margin=1 - task.settings.margin,
                num_negatives=task.settings.per_query,
                output_format="n-tuple",
                batch_size=task.compute.batch_size,
                query_prompt=task.base_model.query_prompt,
                corpus_prompt=task.base_model.passage_prompt,
                use_faiss=False,
                verbose=False,
            )
        )

    return _measure(mine, len(task.pairs))


def _measure(mine: Callable[[], int], pairs: int) -> dict[str, float]:
    before = _peak_memory()
    started, worked = time.perf_counter(), time.process_time()
    complete = mine()
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - worked
    peak = _peak_memory()
    return {
        "seconds": seconds,
        "cpu_seconds": round(cpu_seconds, 2),
        "peak_memory_mb": round(peak),
        "memory_of_mining_mb": round(peak - before),
        "complete": round(complete / pairs, 3),
    }


def _peak_memory() -> float:
    """The largest memory that the process had, in MB; Linux tells it in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
