"""What is seen of a training while it runs, and what stops it."""

import importlib.util
import logging
import math
import os
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import polars as pl

from embed_assets.artifacts.errors import UserError
from embed_assets.training.evaluator import DEV_METRIC
from embed_assets.training.settings import RerankerSettings, TrainingSettings

logger = logging.getLogger(__name__)
LOGGERS = ("tensorboard", "mlflow", "wandb")
# A loss is logged about 25 times in a training; so many of them are averaged.
SMOOTHED = 3
# In nats: the right passage is on average 1 / e as likely as at the start.
LARGEST_RISE = 1.0


class TrainingDivergedError(UserError, RuntimeError):
    """The loss is not a number any more, or far above its start; the message says what to try."""


def log_callback(block: str, settings: TrainingSettings | RerankerSettings, terms: int = 1):
    """A trainer callback that writes the loss to the log, and stops a training that diverges.

    Args:
        block: what the advice calls the settings.
        settings: how is trained.
        terms: number of losses that each logged one is the sum of.
    """
    from transformers import TrainerCallback

    class LogCallback(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            if "loss" not in (logs or {}):
                return
            losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
            complaint = divergence(losses, terms)
            if complaint:
                raise TrainingDivergedError(
                    f"{complaint} at step {state.global_step} of {state.max_steps}: lower {block}.learning_rate "
                    f"({settings.learning_rate:g}) or raise {block}.warmup_share ({settings.warmup_share:g})"
                )
            if state.is_world_process_zero:
                logger.info("step %d of %d: loss %.4f", state.global_step, state.max_steps, logs["loss"])

    return LogCallback()


def divergence(losses: Sequence[float], terms: int = 1) -> str:
    """What is wrong with a loss curve so far, in words; empty if nothing is.

    Args:
        losses: logged losses, oldest first.
        terms: number of losses that each is the sum of.
    """
    if losses and not math.isfinite(losses[-1]):
        return f"the loss is {losses[-1]}"
    if len(losses) < 2 * SMOOTHED:
        return ""
    first, last = mean(losses[:SMOOTHED]), mean(losses[-SMOOTHED:])
    return f"the loss rose from {first:.3f} to {last:.3f}" if last > first + LARGEST_RISE * terms else ""


def early_stopping_callback(patience: int):
    """A trainer callback that stops after so many evaluations without a better value of what the model is judged by."""
    from transformers import EarlyStoppingCallback

    class EarlyStopping(EarlyStoppingCallback):
        def on_step_end(self, args, state, control, **kwargs):
            # A run that was killed after its last evaluation goes on from there, to stop at once.
            if self.early_stopping_patience_counter >= self.early_stopping_patience:
                control.should_training_stop = True
                control.should_evaluate = control.should_save = control.should_log = False

    return EarlyStopping(patience)


def logger_callbacks(loggers: Sequence[str], folder: Path) -> list:
    """Trainer callbacks of the loggers.

    Keys and addresses come from the loggers' own environment variables (WANDB_API_KEY, MLFLOW_TRACKING_URI …).

    Args:
        loggers: which ones.
        folder: where those that write files do so.

    Raises:
        ValueError: a logger is unknown or not installed.
    """
    from transformers.integrations import MLflowCallback, TensorBoardCallback, WandbCallback

    for name in loggers:
        if name not in LOGGERS:
            raise ValueError(f"logger {name!r} is none of {', '.join(LOGGERS)}")
        if importlib.util.find_spec(name) is None:
            raise ValueError(f"logger {name!r} is not installed: pip install 'embed-assets[loggers]', or leave it out of loggers")
    callbacks = []
    for name in loggers:
        folder.mkdir(parents=True, exist_ok=True)
        if name == "tensorboard":
            from torch.utils.tensorboard import SummaryWriter

            writer = SummaryWriter(str(folder)) if int(os.environ.get("RANK", "0")) == 0 else None
            callbacks.append(TensorBoardCallback(writer))
        elif name == "mlflow":
            os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
            callbacks.append(MLflowCallback())
        else:
            os.environ.setdefault("WANDB_DIR", str(folder))
            callbacks.append(WandbCallback())
    return callbacks


def loss_curve(history: Sequence[dict]) -> pl.DataFrame:
    """``step``, ``epoch``, ``loss``, ``dev_loss``, ``dev_ndcg@10`` and ``learning_rate`` (null where not logged).

    Args:
        history: the trainer's log.
    """
    rows = [
        {
            "step": entry["step"],
            "epoch": entry["epoch"],
            "loss": entry.get("loss"),
            "dev_loss": entry.get("eval_loss"),
            DEV_METRIC: entry.get(f"eval_{DEV_METRIC}"),
            "learning_rate": entry.get("learning_rate"),
        }
        for entry in history
        if "loss" in entry or "eval_loss" in entry
    ]
    figures = dict.fromkeys(("epoch", "loss", "dev_loss", DEV_METRIC, "learning_rate"), pl.Float64)
    return pl.DataFrame(rows, schema={"step": pl.Int64} | figures)
