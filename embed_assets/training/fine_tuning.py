"""Contrastive fine-tuning of the base model on triplets."""

import math
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from embed_assets.artifacts.blocks import AUTO
from embed_assets.evaluation.dev_set import DevSet
from embed_assets.models.encoders import load_sentence_transformer
from embed_assets.models.hardware import Compute, release_memory
from embed_assets.models.prompts import with_prompts
from embed_assets.models.settings import BaseModelSettings
from embed_assets.training.batches import Batches, collator
from embed_assets.training.evaluator import DEV_METRIC, ModelInTraining, dev_evaluator
from embed_assets.training.examples import Examples, draw_examples
from embed_assets.training.log import early_stopping_callback, log_callback, logger_callbacks
from embed_assets.training.loss import contrastive_loss
from embed_assets.training.memory import mini_batch_tokens
from embed_assets.training.merging import UNDECIDED, Merger, choose_merge
from embed_assets.training.on_cluster import fine_tune_on_cluster
from embed_assets.training.processes import Training, begins_processes, fine_tune_in_processes
from embed_assets.training.query_tower import FrozenPassages, note_passages, query_loss
from embed_assets.training.settings import TrainingSettings
from embed_assets.training.sharding import Sharding, sharded_trainer
from embed_assets.training.token_loss import token_loss
from embed_assets.training.tokens import add_projection, save_tokens, take_projection
from embed_assets.training.trainer import (
    master_weights,
    merge_adapters,
    resuming_trainer,
    save_model,
    set_dropout,
    train,
    training_arguments,
)

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainingArguments
    from transformers import TrainerCallback

EVALUATIONS_PER_EPOCH = 4
REMEDY = "lower training.mini_batch_tokens or base_model.max_tokens, or turn on training.gradient_checkpointing"


def fine_tune(
    triplets: pl.DataFrame,
    folder: Path,
    scratch: Path,
    base_model: BaseModelSettings,
    settings: TrainingSettings,
    compute: Compute = Compute(),
    logs: Path | None = None,
    dev: DevSet | None = None,
    callbacks: Sequence["TrainerCallback"] = (),
) -> Training:
    """Fine-tune the base model and save it as a sentence-transformers folder.

    The loss is InfoNCE over in-batch and hard negatives (see contrastive_loss), with a linear warm-up and a cosine
    decay of the learning rate. With ``towers: query``, passages keep the vectors of the base model (see query_loss). With
    ``lora_rank``, low-rank adapters are trained (arXiv:2106.09685) and merged into the weights that are saved. With ``kind``
    late or both, it is the tokens that are compared, or both (see token_loss).
    Then they are averaged with those of the base model, as ``merge`` says (see Merger).

    Args:
        triplets: ``anchor``, ``positive``, ``negative_1`` … ``negative_n`` and ``split`` (train or dev); with the other
            columns of mine_hard_negatives, what answers a query is no negative of it in a batch.
        folder: where the model is saved.
        scratch: where the training state is kept; a run that was interrupted goes on from there.
        base_model: the model to start from.
        settings: how to train.
        compute: device, dtype, mini-batch size, processes, cluster and loggers.
        logs: where loggers write their files; a folder in scratch if None.
        dev: what early stopping and the choice of ``merge`` go by; without it, the former goes by the dev loss.
        callbacks: further ones of the trainer.

    Raises:
        ValueError: triplets or hard negatives are too few, or a setting does not fit the base model, the number of
            processes or what is installed.
        TrainingDivergedError: the loss became NaN or infinite, or rose far above its start.
    """
    if compute.cluster is not None:
        return fine_tune_on_cluster(fine_tune, triplets, folder, scratch, base_model, settings, compute, logs, dev)
    if begins_processes(compute):
        return fine_tune_in_processes(triplets, folder, scratch, base_model, settings, compute, logs, dev)
    from datasets import Dataset, disable_progress_bars
    from transformers import set_seed

    disable_progress_bars()
    base_model = with_prompts(base_model)
    examples = draw_examples(triplets, settings)
    set_seed(settings.seed)
    judged = dev is not None and settings.early_stopping > 0
    arguments = _arguments(scratch, examples, base_model, settings, compute, f"eval_{DEV_METRIC}" if judged else "eval_loss")
    # What is divided goes to the GPU layer by layer, which has no room for all of it.
    device = "cpu" if compute.sharded else compute.torch_device()
    model = _load(base_model, settings, device)
    set_dropout(model, settings.dropout)
    sharding = Sharding(model, compute) if compute.sharded else None
    frozen, passages = None, None
    if settings.towers == "query":
        frozen = FrozenPassages(ModelInTraining(model, base_model, compute), examples, dev)
        passages = frozen.encode
    evaluator = dev_evaluator(dev, base_model, settings.kind, compute, passages) if dev is not None and judged else None
    projection = {}
    if settings.token_dimensions:
        in_training = ModelInTraining(model, base_model, compute)
        projection = add_projection(model, in_training, examples.train["positive"].to_list(), settings.token_dimensions)
        if sharding is not None:
            sharding.shard()
    if settings.gradient_checkpointing:
        model.gradient_checkpointing_enable(arguments.gradient_checkpointing_kwargs)
    terms = 1 + len(settings.matryoshka_dimensions) + (settings.kind == "both")
    train_rows, dev_rows = examples.numbered()
    if frozen is not None:
        train_rows, dev_rows = (rows.select("anchor", "label") for rows in (train_rows, dev_rows))
    loss = _loss(model, settings, compute, arguments, examples, frozen)
    trainer = (resuming_trainer() if sharding is None else sharded_trainer())(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_polars(train_rows),
        eval_dataset=Dataset.from_polars(dev_rows) if dev_rows.height >= 2 else None,
        data_collator=collator(model, base_model, arguments.prompts),
        evaluator=evaluator,
        loss=loss,
        callbacks=[
            log_callback("training", settings, terms),
            *logger_callbacks(compute.loggers, logs or scratch / "logs"),
            *callbacks,
        ],
    )
    if settings.early_stopping:
        trainer.add_callback(early_stopping_callback(settings.early_stopping))
    curve, merges = train(trainer, scratch, REMEDY), None
    first = trainer.is_world_process_zero()
    del trainer, loss
    release_memory()
    if sharding is not None:
        sharding.unshard(lambda: _load(base_model, settings, compute.torch_device()))
    if first:
        if settings.lora_rank:
            _merge_adapters(model, base_model, scratch / "adapters")
        merges = _merge(ModelInTraining(model, base_model, compute, passages), base_model, settings, dev, projection)
        _save(model, folder, base_model, settings)
    del model, sharding
    release_memory()
    return Training(curve, merges)


def _load(base_model: BaseModelSettings, settings: TrainingSettings, device: str) -> "SentenceTransformer":
    """The model as it is before training, with its adapters if it has any."""
    model = load_sentence_transformer(base_model, device)
    master_weights(model)
    if settings.lora_rank:
        _add_adapters(model, settings.lora_rank)
    return model


def _loss(
    model: "SentenceTransformer",
    settings: TrainingSettings,
    compute: Compute,
    arguments: "SentenceTransformerTrainingArguments",
    examples: Examples,
    frozen: FrozenPassages | None,
) -> "torch.nn.Module":
    processes = arguments.world_size
    if frozen is not None:
        return query_loss(model, settings, frozen, processes, examples.known)
    tokens = mini_batch_tokens(model, settings, compute, arguments.per_device_train_batch_size * examples.train.width)
    kind = contrastive_loss if settings.kind == "dense" else token_loss
    return kind(model, settings, tokens, processes, examples.known)


def _save(model: "SentenceTransformer", folder: Path, base_model: BaseModelSettings, settings: TrainingSettings) -> None:
    """Save the model, and beside it what it needs to compare tokens or to leave passages to the base model."""
    projected = take_projection(model)
    save_model(model, folder)
    if settings.kind != "dense":
        save_tokens(projected, folder)
    if settings.towers == "query":
        note_passages(folder, base_model.name)


def _merge(
    in_training: ModelInTraining,
    base_model: BaseModelSettings,
    settings: TrainingSettings,
    dev: DevSet | None,
    projection: "Mapping[str, torch.Tensor]",
) -> pl.DataFrame | None:
    """Average the weights with those of the base model; returns what choose_merge does if the weight was chosen."""
    model = in_training.model
    if settings.merge == AUTO and dev is not None:
        model.eval()
        return choose_merge(Merger(model, base_model, projection), dev, lambda asked: in_training.dev_ndcg(asked, settings.kind))
    weight = UNDECIDED if settings.merge == AUTO else float(settings.merge)
    if weight != 1:
        Merger(model, base_model, projection).merge(weight)
    return None


def _arguments(
    scratch: Path,
    examples: Examples,
    base_model: BaseModelSettings,
    settings: TrainingSettings,
    compute: Compute,
    judged_by: str,
) -> "SentenceTransformerTrainingArguments":
    from sentence_transformers import SentenceTransformerTrainingArguments

    processes = int(os.environ.get("WORLD_SIZE", "1"))  # of torchrun
    height = examples.train.height
    more: dict[str, Any] = {}
    if settings.early_stopping:
        steps_per_epoch = math.ceil(height / min(settings.batch_size, height))
        every = max(1, steps_per_epoch // EVALUATIONS_PER_EPOCH)
        more |= {
            "save_steps": every,
            "eval_strategy": "steps",
            "eval_steps": every,
            "load_best_model_at_end": True,
            "metric_for_best_model": judged_by,
            "greater_is_better": judged_by != "eval_loss",
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
        height,
        settings,
        compute,
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
