"""Contrastive fine-tuning of the base model on triplets."""

import json
import logging
import math
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from embed_assets.models.encoders import load_sentence_transformer
from embed_assets.models.hardware import Compute
from embed_assets.models.settings import BaseModelSettings
from embed_assets.training.batches import SlicedBatches
from embed_assets.training.log import early_stopping_callback, log_callback, logger_callbacks, loss_curve
from embed_assets.training.loss import contrastive_loss
from embed_assets.training.processes import fine_tune_in_processes
from embed_assets.training.settings import TrainingSettings

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder, SentenceTransformer, SentenceTransformerTrainingArguments


logger = logging.getLogger(__name__)
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
    from transformers.trainer_callback import PrinterCallback, ProgressCallback

    disable_progress_bars()
    train, dev = training_examples(triplets, settings)
    set_seed(settings.seed)
    arguments = _arguments(scratch / "trainer", train, dev, base_model, settings, compute)
    model = load_sentence_transformer(base_model, compute.torch_device())
    if settings.dropout is not None:
        set_dropout(model, settings.dropout)
    if settings.lora_rank:
        _add_adapters(model, settings.lora_rank)
    mini_batch_size = compute.mini_batch_size or settings.mini_batch_size
    terms = 1 + len(settings.matryoshka_dimensions)
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_polars(train),
        eval_dataset=Dataset.from_polars(dev) if dev.height >= 2 else None,
        loss=contrastive_loss(model, settings, mini_batch_size, arguments.world_size),
        callbacks=[log_callback("training", settings, terms), *logger_callbacks(compute.loggers, logs or scratch / "logs")],
    )
    if settings.early_stopping:
        trainer.add_callback(early_stopping_callback(settings.early_stopping))
    trainer.remove_callback(PrinterCallback)
    if arguments.disable_tqdm:
        trainer.remove_callback(ProgressCallback)
    last = last_state(scratch / "trainer")
    start = f", from {last.name}" if last else ""
    logger.info("training on %d triplets on %s%s", train.height, compute.torch_device(), start)
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    if trainer.is_world_process_zero():
        if settings.lora_rank:
            _merge_adapters(model, base_model, scratch / "adapters")
        save_model(model, folder)
    return loss_curve(trainer.state.log_history)


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
    folder: Path,
    train: pl.DataFrame,
    dev: pl.DataFrame,
    base_model: BaseModelSettings,
    settings: TrainingSettings,
    compute: Compute,
) -> "SentenceTransformerTrainingArguments":
    from sentence_transformers import SentenceTransformerTrainingArguments
    from sentence_transformers.base.sampler import BatchSamplers

    cpu = compute.torch_device() == "cpu"
    processes = int(os.environ.get("WORLD_SIZE", "1"))  # of torchrun
    batch_size = min(settings.batch_size, train.height)
    steps_per_epoch = math.ceil(train.height / batch_size)
    steps = max(1, math.ceil(train.height / batch_size * settings.epochs))
    if settings.early_stopping:
        every = max(1, steps_per_epoch // EVALUATIONS_PER_EPOCH)
        evaluation = {
            "save_steps": every,
            "eval_strategy": "steps",
            "eval_steps": every,
            "load_best_model_at_end": True,
            "metric_for_best_model": "eval_loss",
            "greater_is_better": False,
            "restore_callback_states_from_checkpoint": True,
        }
    else:
        every = max(1, steps // settings.checkpoints)
        evaluation = {"save_steps": every, "eval_strategy": "epoch" if dev.height >= 2 else "no"}
    if settings.gradient_checkpointing:
        evaluation |= {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}}
    if processes > 1:
        # The buffers are constants, and each process makes its forward passes at its own pace.
        evaluation |= {"ddp_broadcast_buffers": False}
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        use_cpu=cpu,
        bf16=str(compute.torch_dtype()) == "torch.bfloat16",
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=max(1, batch_size // processes),
        per_device_eval_batch_size=max(1, batch_size // processes),
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=math.ceil(settings.warmup_share * steps),
        lr_scheduler_type="cosine",
        batch_sampler=SlicedBatches(processes) if processes > 1 else BatchSamplers.NO_DUPLICATES,
        prompts={"anchor": base_model.query_prompt} | dict.fromkeys(train.columns[1:], base_model.passage_prompt),
        seed=settings.seed,
        data_seed=settings.seed,
        save_strategy="steps",
        save_total_limit=2,
        logging_steps=max(1, steps // 25),
        logging_nan_inf_filter=False,
        disable_tqdm=not sys.stderr.isatty(),
        dataloader_pin_memory=not cpu,
        report_to="none",
        **evaluation,
    )
    # Several processes drop uneven batches by default; SlicedBatches makes them even.
    arguments.dataloader_drop_last = False
    # One process has one GPU, however many there are: DataParallel would split its batches.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def set_dropout(model: "SentenceTransformer | CrossEncoder", rate: float) -> None:
    """Set the rate of all dropout layers of a model, and of the attention that has its own."""
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = rate
        elif hasattr(module, "dropout_prob"):
            module.dropout_prob = rate


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


def save_model(model: "SentenceTransformer | CrossEncoder", folder: Path) -> None:
    """Save a trained model; the same training gives the same files, however long it took and how often it was interrupted."""
    model.eval()
    model.save_pretrained(str(folder), safe_serialization=True)
    card = folder / "README.md"
    varying = re.compile(r"^### Training (Logs|Time)\n.*?(?=^##)", re.DOTALL | re.MULTILINE)
    card.write_text(varying.sub("", card.read_text(encoding="utf-8")), encoding="utf-8")


def last_state(folder: Path) -> Path | None:
    """The newest complete training state: trainer_state.json is what the trainer writes last."""
    complete = []
    for path in folder.glob("checkpoint-*/trainer_state.json"):
        try:
            complete.append((json.loads(path.read_text())["global_step"], path.parent))
        except (json.JSONDecodeError, KeyError):
            continue
    return max(complete)[1] if complete else None
