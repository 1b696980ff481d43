"""The re-ranker of a collection: how it is trained on triplets, and on which queries it is scored."""

import logging
import math
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import polars as pl

from embed_assets.models.hardware import Compute
from embed_assets.models.rerankers import load_cross_encoder
from embed_assets.models.settings import BaseModelSettings
from embed_assets.training.fine_tuning import last_state, save_model, set_dropout
from embed_assets.training.log import log_callback, loss_curve
from embed_assets.training.settings import RerankerSettings

logger = logging.getLogger(__name__)


def fine_tune_reranker(
    triplets: pl.DataFrame,
    folder: Path,
    scratch: Path,
    base_model: BaseModelSettings,
    settings: RerankerSettings,
    compute: Compute = Compute(),
) -> pl.DataFrame:
    """Fine-tune a cross-encoder and save it as a sentence-transformers CrossEncoder folder.

    The loss is LambdaLoss with the weights of NDCG-Loss2++ (Wang et al., CIKM 2018), which looks at all passages of a
    query together, with a linear warm-up and a cosine decay of the learning rate.

    Args:
        triplets: ``anchor``, ``positive``, ``negative_1`` … ``negative_n`` and ``split`` (train or dev).
        folder: where the model is saved.
        scratch: where the training state is kept; a run that was interrupted goes on from there.
        base_model: the model to start from if the settings name none: its transformer with a new head of one output.
        settings: how to train.
        compute: device and dtype.

    Returns:
        The loss curve: ``step``, ``epoch``, ``loss``, ``dev_loss``, ``learning_rate`` (null where not logged).

    Raises:
        ValueError: there are fewer than two triplets to train on.
        TrainingDivergedError: the loss became NaN or infinite, or rose far above its start.
    """
    from datasets import Dataset, disable_progress_bars
    from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments, losses
    from transformers import set_seed
    from transformers.trainer_callback import PrinterCallback, ProgressCallback

    disable_progress_bars()
    train = triplets.filter(pl.col("split") == "train").sample(fraction=1.0, shuffle=True, seed=settings.seed)
    train = train.head(settings.max_examples)
    dev = triplets.filter(pl.col("split") == "dev").head(8 * settings.batch_size)
    if train.height < 2:
        raise ValueError(f"{train.height} triplets are too few to train on; more documents or questions are needed")
    lists = labelled_passages(train, settings)
    batch_size = min(settings.batch_size, lists.height)
    steps = max(1, math.ceil(lists.height / batch_size * settings.epochs))

    device = compute.torch_device()
    set_seed(settings.seed)
    start = settings.name or base_model.name
    model = load_cross_encoder(start, device, settings.max_tokens, settings.trust_remote_code, new_head=True)
    if settings.dropout is not None:
        set_dropout(model, settings.dropout)
    arguments = CrossEncoderTrainingArguments(
        output_dir=str(scratch / "trainer"),
        use_cpu=device == "cpu",
        bf16=str(compute.torch_dtype()) == "torch.bfloat16",
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=batch_size,
        per_device_eval_batch_size=batch_size,
        learning_rate=settings.learning_rate,
        weight_decay=0.01,
        warmup_steps=math.ceil(settings.warmup_share * steps),
        lr_scheduler_type="cosine",
        seed=settings.seed,
        data_seed=settings.seed,
        save_strategy="steps",
        save_steps=max(1, steps // settings.checkpoints),
        save_total_limit=2,
        eval_strategy="epoch" if dev.height else "no",
        logging_steps=max(1, steps // 25),
        logging_nan_inf_filter=False,
        disable_tqdm=not sys.stderr.isatty(),
        dataloader_pin_memory=device != "cpu",
        report_to="none",
    )
    # One process has one GPU, however many there are: DataParallel would split its batches.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    trainer = CrossEncoderTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_polars(lists),
        eval_dataset=Dataset.from_polars(labelled_passages(dev, settings)) if dev.height else None,
        loss=losses.LambdaLoss(model, weighting_scheme=losses.NDCGLoss2PPScheme(), mini_batch_size=-1),
        callbacks=[log_callback("reranker", settings)],
    )
    trainer.remove_callback(PrinterCallback)
    if arguments.disable_tqdm:
        trainer.remove_callback(ProgressCallback)
    last = last_state(scratch / "trainer")
    logger.info("training on %d queries for %d steps on %s%s", lists.height, steps, device, f", from {last.name}" if last else "")
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    save_model(model, folder)
    return loss_curve(trainer.state.log_history)


def labelled_passages(triplets: pl.DataFrame, settings: RerankerSettings) -> pl.DataFrame:
    """Each query with its positives (label 1), its hard negatives and some passages of other queries (label 0).

    Args:
        triplets: ``anchor``, ``positive`` and ``negative_1`` … ``negative_n``.
        settings: how many negatives.

    Returns:
        One row for each query: ``query``, and the lists ``passage`` and ``label``. No passage stands twice for a query.
    """
    names = [name for i in range(settings.hard_negatives) if (name := f"negative_{i + 1}") in triplets.columns]
    answers, negatives = defaultdict(list), defaultdict(list)
    for anchor, positive, *hard in triplets.select("anchor", "positive", *names).iter_rows():
        answers[anchor].append(positive)
        negatives[anchor] += hard
    everything, rng = triplets["positive"].to_list(), np.random.default_rng(settings.seed)
    rows = []
    for query, positives in answers.items():
        drawn = [everything[i] for i in rng.integers(len(everything), size=settings.random_negatives)]
        labels = dict.fromkeys(negatives[query] + drawn, 0)
        labels = dict.fromkeys(positives, 1) | {passage: 0 for passage in labels if passage not in positives}
        rows.append((query, list(labels), list(labels.values())))
    schema = {"query": pl.String, "passage": pl.List(pl.String), "label": pl.List(pl.Int64)}
    return pl.DataFrame(rows, schema=schema, orient="row")
