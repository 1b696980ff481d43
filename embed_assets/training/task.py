"""What a training is given, and what is known of it afterwards."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from embed_assets.evaluation.dev_set import DevSet
from embed_assets.models.hardware import Compute
from embed_assets.models.settings import BaseModelSettings
from embed_assets.training.settings import TrainingSettings

CURVE, MERGES = "curve.parquet", "merges.parquet"


@dataclass(frozen=True)
class TrainingTask:
    """What is trained, how, and where the model goes.

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
    """

    triplets: pl.DataFrame
    folder: Path
    scratch: Path
    base_model: BaseModelSettings
    settings: TrainingSettings
    compute: Compute
    logs: Path | None = None
    dev: DevSet | None = None


@dataclass(frozen=True)
class Training:
    """What is known of a training.

    Args:
        curve: of the loss, as loss_curve describes it.
        merges: how good each average with the base model is on dev, as choose_merge describes it; None if none was chosen.
    """

    curve: pl.DataFrame
    merges: pl.DataFrame | None = None

    def write(self, folder: Path) -> None:
        """Write it for the process that asked for the training: curve.parquet, and merges.parquet if there are any."""
        if self.merges is not None:
            self.merges.write_parquet(folder / MERGES)
        self.curve.write_parquet(folder / CURVE)

    @classmethod
    def read(cls, folder: Path) -> "Training":
        """What write has written."""
        merges = folder / MERGES
        return cls(pl.read_parquet(folder / CURVE), pl.read_parquet(merges) if merges.is_file() else None)
