"""Fine-tuning against the trainer of sentence-transformers."""

import tempfile
import time
from pathlib import Path

import polars as pl

from embed_assets.models.hardware import Compute
from embed_assets.models.lengths import set_lengths
from embed_assets.models.locations import locate_model
from embed_assets.models.prompts import with_prompts
from embed_assets.models.settings import BaseModelSettings
from embed_assets.training.batches import collator
from embed_assets.training.examples import draw_examples
from embed_assets.training.fine_tuning import fine_tune
from embed_assets.training.settings import TrainingSettings
from embed_assets.training.task import TrainingTask


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
    train = draw_examples(triplets, settings).train
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        _train_plainly(train.head(2), Path(folder), base_model, settings, compute)  # warms up
        for system in ("sentence-transformers", "fine_tune"):
            started = time.perf_counter()
            if system == "fine_tune":
                folders = Path(folder, "model"), Path(folder, "scratch")
                loss = fine_tune(TrainingTask(triplets, *folders, base_model, settings, compute)).curve["loss"].mean()
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
    from transformers.trainer_callback import PrinterCallback

    device = compute.torch_device()
    base_model = with_prompts(base_model)
    model = SentenceTransformer(
        str(locate_model(base_model.name)),
        device=device,
        trust_remote_code=base_model.trust_remote_code,
        revision=base_model.revision or None,
    )
    set_lengths(model, base_model)
    prompts = {"anchor": base_model.query_prompt or ""} | dict.fromkeys(train.columns[1:], base_model.passage_prompt or "")
    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            output_dir=str(folder / "plain"),
            use_cpu=device == "cpu",
            num_train_epochs=1,
            per_device_train_batch_size=min(settings.batch_size, len(train)),
            learning_rate=settings.learning_rate,
            batch_sampler=BatchSamplers.NO_DUPLICATES,
            prompts=prompts,
            seed=settings.seed,
            disable_tqdm=True,
            report_to="none",
        ),
        train_dataset=Dataset.from_polars(train),
        data_collator=collator(model.preprocess, base_model, prompts),
        loss=MultipleNegativesRankingLoss(model, scale=1 / settings.temperature),
    )
    trainer.remove_callback(PrinterCallback)  # what it prints would stand among the rows that the command prints
    loss = trainer.train().training_loss
    model.save_pretrained(str(folder / "plain-model"))
    return loss
