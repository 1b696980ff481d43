"""The re-ranker of a collection: how it is trained on triplets, and on which queries it is scored."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import polars as pl

from embed_assets.models.hardware import Compute, release_memory
from embed_assets.models.rerankers import load_cross_encoder
from embed_assets.models.settings import BaseModelSettings
from embed_assets.training.false_negatives import KnownAnswers
from embed_assets.training.log import log_callback
from embed_assets.training.settings import RerankerSettings
from embed_assets.training.trainer import master_weights, save_model, set_dropout, train, training_arguments

WEIGHT_DECAY = 0.01
# So many are drawn for each random negative, since some answer the query.
DRAWS = 4
REMEDY = "lower reranker.batch_size, reranker.max_tokens or the number of its negatives"


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

    disable_progress_bars()
    examples = triplets.filter(pl.col("split") == "train").sample(fraction=1.0, shuffle=True, seed=settings.seed)
    examples = examples.head(settings.max_examples)
    dev = triplets.filter(pl.col("split") == "dev").head(8 * settings.batch_size)
    if examples.height < 2:
        raise ValueError(f"{examples.height} triplets are too few to train on; more documents or questions are needed")
    lists = labelled_passages(examples, settings)
    set_seed(settings.seed)
    name, revision = (settings.name, settings.revision) if settings.name else (base_model.name, base_model.revision)
    model = load_cross_encoder(
        name, compute.torch_device(), settings.max_tokens, settings.trust_remote_code, new_head=True, revision=revision
    )
    master_weights(model)
    set_dropout(model, settings.dropout)
    trainer = CrossEncoderTrainer(
        model=model,
        args=training_arguments(
            CrossEncoderTrainingArguments, scratch, lists.height, settings, compute, WEIGHT_DECAY, evaluate=dev.height > 0
        ),
        train_dataset=Dataset.from_polars(lists),
        eval_dataset=Dataset.from_polars(labelled_passages(dev, settings)) if dev.height else None,
        loss=losses.LambdaLoss(model, weighting_scheme=losses.NDCGLoss2PPScheme(), mini_batch_size=-1),
        callbacks=[log_callback("reranker", settings)],
    )
    curve = train(trainer, scratch, REMEDY)
    save_model(model, folder)
    del trainer, model
    release_memory()
    return curve


def labelled_passages(triplets: pl.DataFrame, settings: RerankerSettings) -> pl.DataFrame:
    """Each query with its positives (label 1), its hard negatives and some passages of other queries (label 0).

    What answers the query is none of the latter, by the rules that hold in a batch of the embedding model (KnownAnswers).

    Args:
        triplets: ``anchor``, ``positive`` and ``negative_1`` … ``negative_n``; with the other columns of
            mine_hard_negatives, what answers a query is known by more than its text.
        settings: how many negatives.

    Returns:
        One row for each query: ``query``, and the lists ``passage`` and ``label``. No passage stands twice for a query.
    """
    names = [name for i in range(settings.hard_negatives) if (name := f"negative_{i + 1}") in triplets.columns]
    answers: dict[str, list[str]] = defaultdict(list)
    negatives: dict[str, list[str]] = defaultdict(list)
    first: dict[str, int] = {}
    for row, (anchor, positive, *hard) in enumerate(triplets.select("anchor", "positive", *names).iter_rows()):
        first.setdefault(anchor, row)
        answers[anchor].append(positive)
        negatives[anchor] += hard
    everything, rng = triplets["positive"].to_list(), np.random.default_rng(settings.seed)
    known, rows = KnownAnswers(triplets, 0), []
    for query, positives in answers.items():
        others = rng.integers(len(everything), size=DRAWS * settings.random_negatives)
        answered = known.mask(np.array([first[query], *others]), range(1))[0, 1:]
        drawn = [everything[i] for i in others[~answered][: settings.random_negatives].tolist()]
        labels = dict.fromkeys(negatives[query] + drawn, 0)
        labels = dict.fromkeys(positives, 1) | {passage: 0 for passage in labels if passage not in positives}
        rows.append((query, list(labels), list(labels.values())))
    schema = {"query": pl.String, "passage": pl.List(pl.String), "label": pl.List(pl.Int64)}
    return pl.DataFrame(rows, schema=schema, orient="row")
