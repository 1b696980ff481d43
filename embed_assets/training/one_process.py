"""The training itself, in one process, which may be one of several that train together."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from embed_assets.artifacts.blocks import AUTO
from embed_assets.models.encoders import load_sentence_transformer
from embed_assets.models.hardware import release_memory
from embed_assets.models.prompts import with_prompts
from embed_assets.models.settings import BaseModelSettings
from embed_assets.training.batches import Batches, TokensOnce, collator
from embed_assets.training.evaluator import DEV_METRIC, ModelInTraining, dev_evaluator
from embed_assets.training.examples import Examples, draw_examples
from embed_assets.training.log import early_stopping_callback, log_callback, logger_callbacks
from embed_assets.training.loss import contrastive_loss
from embed_assets.training.memory import mini_batch_tokens
from embed_assets.training.merging import UNDECIDED, Merger, choose_merge
from embed_assets.training.query_tower import FrozenPassages, note_passages, query_loss
from embed_assets.training.settings import TrainingSettings
from embed_assets.training.sharding import Sharding, sharded_trainer
from embed_assets.training.task import Training, TrainingTask
from embed_assets.training.token_loss import token_loss
from embed_assets.training.tokens import add_projection, save_tokens, take_projection
from embed_assets.training.trainer import (
    master_weights,
    merge_adapters,
    resuming_trainer,
    save_model,
    set_dropout,
    steps_of_an_epoch,
    train,
    training_arguments,
)

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from transformers import TrainerCallback

EVALUATIONS_PER_EPOCH = 4
GRADIENT_CHECKPOINTING = {"use_reentrant": False}
REMEDY = "lower training.mini_batch_tokens or base_model.max_tokens, or turn on training.gradient_checkpointing"


@dataclass
class Prepared:
    """A model that is ready to be trained.

    Args:
        model: with its adapters and its projection of the tokens, if it has any.
        sharding: what has divided it over the processes; None where it is whole.
        frozen: the vectors of the passages, where queries alone are trained.
        projection: the weights of the projection as they are before training, by name.
    """

    model: "SentenceTransformer"
    sharding: Sharding | None
    frozen: FrozenPassages | None
    projection: "Mapping[str, torch.Tensor]"

    @property
    def passages(self) -> "Callable[[Sequence[str]], np.ndarray] | None":
        """What encodes passages in place of the model, as ModelInTraining has it."""
        return None if self.frozen is None else self.frozen.encode


def fine_tune_here(task: TrainingTask, callbacks: Sequence["TrainerCallback"] = ()) -> Training:
    """As fine_tune, in this process: the only one of the training, or one of several, each of which calls this.

    Args:
        task: what is trained; its ``processes`` and ``cluster`` do not count.
        callbacks: further ones of the trainer.
    """
    from transformers import set_seed

    task = replace(task, base_model=with_prompts(task.base_model))
    examples = draw_examples(task.triplets, task.settings)
    set_seed(task.settings.seed)
    arguments = _arguments(task, examples)
    prepared = _prepared(task, examples)
    trainer = _trainer(task, arguments, examples, prepared, callbacks)
    curve = train(trainer, task.scratch, REMEDY)
    first = trainer.is_world_process_zero()
    del trainer
    release_memory()
    if prepared.sharding is not None:
        prepared.sharding.unshard(lambda: _load(task.base_model, task.settings, task.compute.torch_device()))
    merges = _finish(task, prepared) if first else None
    del prepared
    release_memory()
    return Training(curve, merges)


def _prepared(task: TrainingTask, examples: Examples) -> Prepared:
    base_model, settings, compute = task.base_model, task.settings, task.compute
    # What is divided goes to the GPU layer by layer, which has no room for all of it.
    model = _load(base_model, settings, "cpu" if compute.sharded else compute.torch_device())
    set_dropout(model, settings.dropout)
    sharding = Sharding(model, compute) if compute.sharded else None
    in_training = ModelInTraining(model, base_model, compute)
    frozen = FrozenPassages(in_training, examples, task.dev) if settings.towers == "query" else None
    projection = {}
    if settings.token_dimensions:
        projection = add_projection(model, in_training, examples.train["positive"].to_list(), settings.token_dimensions)
        if sharding is not None:
            sharding.shard()
    if settings.gradient_checkpointing:
        model.gradient_checkpointing_enable(GRADIENT_CHECKPOINTING)
    return Prepared(model, sharding, frozen, projection)


def _trainer(
    task: TrainingTask,
    arguments: "SentenceTransformerTrainingArguments",
    examples: Examples,
    prepared: Prepared,
    callbacks: Sequence["TrainerCallback"],
) -> "SentenceTransformerTrainer":
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    settings, compute, model = task.settings, task.compute, prepared.model
    evaluator = None
    if task.dev is not None and settings.early_stopping:
        evaluator = dev_evaluator(task.dev, task.base_model, settings.kind, compute, prepared.passages)
    train_rows, dev_rows = examples.numbered()
    if prepared.frozen is not None:
        train_rows, dev_rows = (rows.select("anchor", "label") for rows in (train_rows, dev_rows))
    terms = 1 + len(settings.matryoshka_dimensions) + (settings.kind == "both")
    trainer = (resuming_trainer() if prepared.sharding is None else sharded_trainer())(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_polars(train_rows),
        eval_dataset=Dataset.from_polars(dev_rows) if dev_rows.height >= 2 else None,
        data_collator=collator(TokensOnce(model), task.base_model, arguments.prompts),
        evaluator=evaluator,
        loss=_loss(task, arguments, examples, prepared),
        callbacks=[
            log_callback("training", settings, terms),
            *logger_callbacks(compute.loggers, task.logs or task.scratch / "logs"),
            *callbacks,
        ],
    )
    if settings.early_stopping:
        trainer.add_callback(early_stopping_callback(settings.early_stopping))
    return trainer


def _finish(task: TrainingTask, prepared: Prepared) -> pl.DataFrame | None:
    """Merge the trained model and save it, with what its tokens need or who encodes its passages; returns what _merge does."""
    model, settings = prepared.model, task.settings
    if settings.lora_rank:
        _merge_adapters(model, task.base_model, task.scratch / "adapters")
    merges = _merge(task, prepared)
    projection = take_projection(model)
    save_model(model, task.folder)
    if settings.kind != "dense":
        save_tokens(projection, task.folder)
    if settings.towers == "query":
        note_passages(task.folder, task.base_model.name)
    return merges


def _load(base_model: BaseModelSettings, settings: TrainingSettings, device: str) -> "SentenceTransformer":
    """The model as it is before training, with its adapters if it has any."""
    model = load_sentence_transformer(base_model, device)
    master_weights(model)
    if settings.lora_rank:
        _add_adapters(model, settings.lora_rank)
    return model


def _loss(
    task: TrainingTask, arguments: "SentenceTransformerTrainingArguments", examples: Examples, prepared: Prepared
) -> "torch.nn.Module":
    model, settings, processes = prepared.model, task.settings, arguments.world_size
    if prepared.frozen is not None:
        return query_loss(model, settings, prepared.frozen, processes, examples.known)
    tokens = mini_batch_tokens(model, settings, task.compute, arguments.per_device_train_batch_size * examples.train.width)
    kind = contrastive_loss if settings.kind == "dense" else token_loss
    return kind(model, settings, tokens, processes, examples.known)


def _merge(task: TrainingTask, prepared: Prepared) -> pl.DataFrame | None:
    """Average the weights with those of the base model; returns what choose_merge does if the weight was chosen."""
    model, settings, dev = prepared.model, task.settings, task.dev
    if settings.merge == AUTO and dev is not None:
        model.eval()
        in_training = ModelInTraining(model, task.base_model, task.compute, prepared.passages)
        merger = Merger(model, task.base_model, prepared.projection)
        return choose_merge(merger, dev, lambda asked: in_training.dev_ndcg(asked, settings.kind))
    weight = UNDECIDED if settings.merge == AUTO else float(settings.merge)
    if weight != 1:
        Merger(model, task.base_model, prepared.projection).merge(weight)
    return None


def _arguments(task: TrainingTask, examples: Examples) -> "SentenceTransformerTrainingArguments":
    from sentence_transformers import SentenceTransformerTrainingArguments

    settings, base_model = task.settings, task.base_model
    processes = int(os.environ.get("WORLD_SIZE", "1"))  # of torchrun
    height = examples.train.height
    more: dict[str, Any] = {}
    if settings.early_stopping:
        every = max(1, steps_of_an_epoch(height, settings) // EVALUATIONS_PER_EPOCH)
        more |= {
            "save_steps": every,
            "eval_strategy": "steps",
            "eval_steps": every,
            "load_best_model_at_end": True,
            "metric_for_best_model": "eval_loss" if task.dev is None else f"eval_{DEV_METRIC}",
            "greater_is_better": task.dev is not None,
            "restore_callback_states_from_checkpoint": True,
        }
    if settings.gradient_checkpointing:
        more |= {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": GRADIENT_CHECKPOINTING}
    if processes > 1:
        # The buffers are constants, and each process makes its forward passes at its own pace.
        more |= {"ddp_broadcast_buffers": False}
    arguments = training_arguments(
        SentenceTransformerTrainingArguments,
        task.scratch,
        height,
        settings,
        task.compute,
        settings.weight_decay,
        evaluate=examples.dev.height >= 2,
        processes=processes,
        batch_sampler=Batches(examples.documents, processes),
        prompts={"anchor": base_model.query_prompt} | dict.fromkeys(examples.train.columns[1:], base_model.passage_prompt),
        **more,
    )
    # Several processes drop uneven batches by default; Batches makes them even.
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
    shutil.rmtree(scratch, ignore_errors=True)
    model.transformers_model.save_pretrained(str(scratch))
    whole = load_sentence_transformer(base_model, str(model.device))
    master_weights(whole)
    merge_adapters(model, whole.transformers_model, str(scratch))
