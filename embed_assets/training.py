"""Contrastive fine-tuning of the base model on triplets."""

import json
import logging
import math
import re
import sys
from pathlib import Path

import polars as pl

from embed_assets.models.encoders import load_sentence_transformer
from embed_assets.models.hardware import Compute
from embed_assets.settings import BaseModelSettings, TrainingSettings

logger = logging.getLogger(__name__)


class TrainingDivergedError(RuntimeError):
    """The loss is not a number any more; the message says what to try."""


def fine_tune(
    triplets: pl.DataFrame,
    folder: Path,
    scratch: Path,
    base_model: BaseModelSettings,
    settings: TrainingSettings,
    compute: Compute = Compute(),
) -> pl.DataFrame:
    """Fine-tune the base model and save it as a sentence-transformers folder.

    The loss is InfoNCE over in-batch and hard negatives (van den Oord et al., arXiv:1807.03748;
    MultipleNegativesRankingLoss), with a linear warm-up and a cosine decay of the learning rate.

    Args:
        triplets: ``anchor``, ``positive``, ``negative_1`` … ``negative_n`` and ``split`` (train or dev).
        folder: where the model is saved.
        scratch: where the training state is kept; a run that was interrupted goes on from there.
        base_model: the model to start from.
        settings: how to train.
        compute: device, dtype and mini-batch size.

    Returns:
        The loss curve: ``step``, ``epoch``, ``loss``, ``dev_loss``, ``learning_rate`` (null where not logged).

    Raises:
        ValueError: there are fewer triplets to train on than a batch of two.
        TrainingDivergedError: the loss became NaN or infinite.
    """
    from datasets import Dataset, disable_progress_bars
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments, losses
    from sentence_transformers.base.sampler import BatchSamplers
    from transformers.trainer_callback import PrinterCallback, ProgressCallback

    disable_progress_bars()
    names = [
        "anchor",
        "positive",
        *sorted(name for name in triplets.columns if name.startswith("negative_") and name != "negative_chunks"),
    ]
    train = training_examples(triplets, settings)
    dev = triplets.filter(pl.col("split") == "dev").head(4 * settings.batch_size)
    if train.height < 2:
        raise ValueError(f"{train.height} triplets are too few to train on; more documents or questions are needed")
    batch_size = min(settings.batch_size, train.height)
    steps = max(1, math.ceil(train.height / batch_size * settings.epochs))

    device = compute.torch_device()
    model = load_sentence_transformer(base_model, device)
    if settings.dropout is not None:
        _set_dropout(model, settings.dropout)
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(scratch / "trainer"),
        use_cpu=device == "cpu",
        bf16=str(compute.torch_dtype()) == "torch.bfloat16",
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=batch_size,
        per_device_eval_batch_size=batch_size,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=math.ceil(settings.warmup_share * steps),
        lr_scheduler_type="cosine",
        batch_sampler=BatchSamplers.NO_DUPLICATES,
        prompts={"anchor": base_model.query_prompt} | dict.fromkeys(names[1:], base_model.passage_prompt),
        seed=settings.seed,
        data_seed=settings.seed,
        save_strategy="steps",
        save_steps=max(1, steps // settings.checkpoints),
        save_total_limit=2,
        eval_strategy="epoch" if dev.height >= 2 else "no",
        logging_steps=max(1, steps // 25),
        logging_nan_inf_filter=False,
        disable_tqdm=not sys.stderr.isatty(),
        dataloader_pin_memory=device != "cpu",
        report_to="none",
    )
    scale = 1.0 / settings.temperature
    mini_batch_size = compute.mini_batch_size or settings.mini_batch_size
    loss = (
        losses.CachedMultipleNegativesRankingLoss(model, scale=scale, mini_batch_size=mini_batch_size)
        if mini_batch_size
        else losses.MultipleNegativesRankingLoss(model, scale=scale)
    )
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_polars(train.select(names)),
        eval_dataset=Dataset.from_polars(dev.select(names)) if dev.height >= 2 else None,
        loss=loss,
        callbacks=[_log_callback()],
    )
    trainer.remove_callback(PrinterCallback)
    if arguments.disable_tqdm:
        trainer.remove_callback(ProgressCallback)
    last = _last_state(scratch / "trainer")
    logger.info(
        "training on %d triplets for %d steps on %s%s", train.height, steps, device, f", from {last.name}" if last else ""
    )
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    model.eval()
    model.save_pretrained(str(folder), safe_serialization=True)
    card = folder / "README.md"
    # The same training gives the same files, however long it took.
    card.write_text(re.sub(r"### Training Time\n(- .*\n)*", "", card.read_text(encoding="utf-8")), encoding="utf-8")
    return _loss_curve(trainer.state.log_history)


def training_examples(triplets: pl.DataFrame, settings: TrainingSettings) -> pl.DataFrame:
    """The triplets that are trained on."""
    train = triplets.filter(pl.col("split") == "train").sample(fraction=1.0, shuffle=True, seed=settings.seed)
    return train.head(settings.max_examples).head(math.ceil(settings.data_share * min(len(train), settings.max_examples)))


def _set_dropout(model, rate: float) -> None:
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = rate
        elif hasattr(module, "dropout_prob"):
            module.dropout_prob = rate


def _log_callback():
    from transformers import TrainerCallback

    class LogCallback(TrainerCallback):
        """Writes the loss to the log, and stops when it is not a number."""

        def on_log(self, args, state, control, logs=None, **kwargs):
            if logs is None or "loss" not in logs:
                return
            loss = float(logs["loss"])
            if not math.isfinite(loss):
                raise TrainingDivergedError(
                    f"the loss is {loss} at step {state.global_step}: lower training.learning_rate or raise training.warmup_share"
                )
            logger.info("step %d of %d: loss %.4f", state.global_step, state.max_steps, loss)

    return LogCallback()


def _last_state(folder: Path) -> Path | None:
    """The newest complete training state: trainer_state.json is what the trainer writes last."""
    complete = []
    for path in folder.glob("checkpoint-*/trainer_state.json"):
        try:
            complete.append((json.loads(path.read_text())["global_step"], path.parent))
        except (json.JSONDecodeError, KeyError):
            continue
    return max(complete)[1] if complete else None


def _loss_curve(history: list[dict]) -> pl.DataFrame:
    rows = [
        {
            "step": entry["step"],
            "epoch": entry["epoch"],
            "loss": entry.get("loss"),
            "dev_loss": entry.get("eval_loss"),
            "learning_rate": entry.get("learning_rate"),
        }
        for entry in history
        if "loss" in entry or "eval_loss" in entry
    ]
    schema = {"step": pl.Int64, "epoch": pl.Float64, "loss": pl.Float64, "dev_loss": pl.Float64, "learning_rate": pl.Float64}
    return pl.DataFrame(rows, schema=schema)
