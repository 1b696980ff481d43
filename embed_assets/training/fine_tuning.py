"""Contrastive fine-tuning of the base model on triplets."""

import math
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from embed_assets.models.encoders import load_sentence_transformer
from embed_assets.models.hardware import Compute
from embed_assets.models.prompts import with_prompts
from embed_assets.models.settings import BaseModelSettings
from embed_assets.training.batches import SlicedBatches
from embed_assets.training.log import early_stopping_callback, log_callback, logger_callbacks
from embed_assets.training.loss import contrastive_loss
from embed_assets.training.processes import fine_tune_in_processes
from embed_assets.training.settings import TrainingSettings
from embed_assets.training.trainer import save_model, set_dropout, train, training_arguments

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainingArguments

EVALUATIONS_PER_EPOCH = 4


def fine_tune(
    triplets: pl.DataFrame,
    folder: Path,
    scratch: Path,
    base_model: BaseModelSettings,
    settings: TrainingSettings,
    compute: Compute = Compute(),
    logs: Path | None = None,
) -> pl.DataFrame:
    """Fine-tune the base model and save it as a sentence-transformers folder.

    The loss is InfoNCE over in-batch and hard negatives (see contrastive_loss), with a linear warm-up and a cosine
    decay of the learning rate. With ``lora_rank``, low-rank adapters are trained (arXiv:2106.09685) and merged into
    the weights that are saved.

    Args:
        triplets: ``anchor``, ``positive``, ``negative_1`` … ``negative_n`` and ``split`` (train or dev).
        folder: where the model is saved.
        scratch: where the training state is kept; a run that was interrupted goes on from there.
        base_model: the model to start from.
        settings: how to train.
        compute: device, dtype, mini-batch size, processes and loggers.
        logs: where loggers write their files; a folder in scratch if None.

    Returns:
        The loss curve, as loss_curve describes it.

    Raises:
        ValueError: triplets or hard negatives are too few, or a setting does not fit the base model, the number of
            processes or what is installed.
        TrainingDivergedError: the loss became NaN or infinite, or rose far above its start.
    """
    if compute.processes > 1:
        return fine_tune_in_processes(triplets, folder, scratch, base_model, settings, compute, logs)
    from datasets import Dataset, disable_progress_bars
    from sentence_transformers import SentenceTransformerTrainer
    from transformers import set_seed

    disable_progress_bars()
    base_model = with_prompts(base_model)
    examples, dev = training_examples(triplets, settings)
    set_seed(settings.seed)
    arguments = _arguments(scratch, examples, dev, base_model, settings, compute)
    model = load_sentence_transformer(base_model, compute.torch_device())
    set_dropout(model, settings.dropout)
    if settings.lora_rank:
        _add_adapters(model, settings.lora_rank)
    mini_batch_size = compute.mini_batch_size or settings.mini_batch_size
    terms = 1 + len(settings.matryoshka_dimensions)
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_polars(examples),
        eval_dataset=Dataset.from_polars(dev) if dev.height >= 2 else None,
        loss=contrastive_loss(model, settings, mini_batch_size, arguments.world_size),
        callbacks=[log_callback("training", settings, terms), *logger_callbacks(compute.loggers, logs or scratch / "logs")],
    )
    if settings.early_stopping:
        trainer.add_callback(early_stopping_callback(settings.early_stopping))
    curve = train(trainer, scratch)
    if trainer.is_world_process_zero():
        if settings.lora_rank:
            _merge_adapters(model, base_model, scratch / "adapters")
        save_model(model, folder)
    return curve


def training_examples(triplets: pl.DataFrame, settings: TrainingSettings) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What is trained on, in random order, and the dev split: ``anchor``, ``positive`` and the hard negatives.

    A smaller ``data_share`` is part of a larger one with the same seed; the dev split is the same for all.

    Raises:
        ValueError: there are fewer triplets than two, fewer hard negatives than asked for, or early stopping is
            asked for and there is nothing to evaluate on.
    """
    mined = sum(re.fullmatch(r"negative_\d+", name) is not None for name in triplets.columns)
    wanted = mined if settings.hard_negatives is None else settings.hard_negatives
    if wanted > mined:
        raise ValueError(
            f"training.hard_negatives is {wanted}, but {mined} were mined for each query: "
            "raise negatives.per_query, or lower training.hard_negatives"
        )
    names = ["anchor", "positive", *(f"negative_{number + 1}" for number in range(wanted))]
    train = triplets.filter(pl.col("split") == "train").sample(fraction=1.0, shuffle=True, seed=settings.seed)
    train = train.head(settings.max_examples)
    train = train.head(math.ceil(settings.data_share * train.height))
    dev = triplets.filter(pl.col("split") == "dev").head(4 * settings.batch_size)
    if train.height < 2:
        raise ValueError(f"{train.height} triplets are too few to train on; more documents or questions are needed")
    if settings.early_stopping and dev.height < 2:
        raise ValueError(
            f"training.early_stopping needs dev triplets, and there are {dev.height}: raise evaluation_set.dev_share, "
            "or set training.early_stopping to 0"
        )
    return train.select(names), dev.select(names)


def _arguments(
    scratch: Path,
    train: pl.DataFrame,
    dev: pl.DataFrame,
    base_model: BaseModelSettings,
    settings: TrainingSettings,
    compute: Compute,
) -> "SentenceTransformerTrainingArguments":
    from sentence_transformers import SentenceTransformerTrainingArguments
    from sentence_transformers.base.sampler import BatchSamplers

    processes = int(os.environ.get("WORLD_SIZE", "1"))  # of torchrun
    more: dict[str, Any] = {}
    if settings.early_stopping:
        steps_per_epoch = math.ceil(train.height / min(settings.batch_size, train.height))
        every = max(1, steps_per_epoch // EVALUATIONS_PER_EPOCH)
        more |= {
            "save_steps": every,
            "eval_strategy": "steps",
            "eval_steps": every,
            "load_best_model_at_end": True,
            "metric_for_best_model": "eval_loss",
            "greater_is_better": False,
            "restore_callback_states_from_checkpoint": True,
        }
    if settings.gradient_checkpointing:
        more |= {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}}
    if processes > 1:
        # The buffers are constants, and each process makes its forward passes at its own pace.
        more |= {"ddp_broadcast_buffers": False}
    arguments = training_arguments(
        SentenceTransformerTrainingArguments,
        scratch,
        train.height,
        settings,
        compute,
        settings.weight_decay,
        evaluate=dev.height >= 2,
        processes=processes,
        batch_sampler=SlicedBatches(processes) if processes > 1 else BatchSamplers.NO_DUPLICATES,
        prompts={"anchor": base_model.query_prompt} | dict.fromkeys(train.columns[1:], base_model.passage_prompt),
        **more,
    )
    # Several processes drop uneven batches by default; SlicedBatches makes them even.
    arguments.dataloader_drop_last = False
    return arguments


def _add_adapters(model: "SentenceTransformer", rank: int) -> None:
    """Train low-rank adapters of all linear layers in place of the weights."""
    from peft import LoraConfig

    if model.transformers_model is None:
        raise ValueError("training.lora_rank needs a transformer as the base model: set it to 0")
    # A scale of 2, whatever the rank.
    model.add_adapter(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear"))


def _merge_adapters(model: "SentenceTransformer", base_model: BaseModelSettings, scratch: Path) -> None:
    """Add the adapters to the weights of the base model, and put those into the model."""
    from peft import PeftModel

    shutil.rmtree(scratch, ignore_errors=True)
    model.transformers_model.save_pretrained(str(scratch))
    whole = load_sentence_transformer(base_model, str(model.device))
    model[0].model = PeftModel.from_pretrained(whole.transformers_model, str(scratch)).merge_and_unload()
