"""Fine-tuning in several processes, one for each GPU."""

import json
import logging
import os
import subprocess
import sys
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from embed_assets.evaluation.dev_set import DevSet
from embed_assets.models.hardware import Compute, OutOfMemoryError, require_gpus
from embed_assets.models.settings import BaseModelSettings
from embed_assets.training.log import TrainingDivergedError
from embed_assets.training.settings import TrainingSettings

logger = logging.getLogger(__name__)
CURVE, MERGES = "curve.parquet", "merges.parquet"
LINES_KEPT = 30
# What people are told of as it is; another try would end as the first did.
LASTING = (ValueError, TrainingDivergedError, OutOfMemoryError)
# Lines of a worker that start so are news of the training.
NEWS = "training: "


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


class TrainingProcessError(RuntimeError):
    """A training process failed; the message ends with its traceback."""


def begins_processes(compute: Compute) -> bool:
    """Whether a training is to run in processes of its own: one of those does not start others."""
    import torch

    return compute.processes > 1 or (compute.sharded and not torch.distributed.is_torchelastic_launched())


def fine_tune_in_processes(
    triplets: pl.DataFrame,
    folder: Path,
    scratch: Path,
    base_model: BaseModelSettings,
    settings: TrainingSettings,
    compute: Compute,
    logs: Path | None = None,
    dev: DevSet | None = None,
) -> Training:
    """As fine_tune, under torchrun: worker.py in each process, all on the same batches.

    Raises:
        ValueError: as fine_tune, or there are not so many GPUs, or the batch size is not a multiple of their number.
        TrainingDivergedError: as fine_tune.
        TrainingProcessError: a process failed in another way.
    """
    check_batch_size(settings, compute.processes)
    import torch

    require_gpus(compute.torch_device(), compute.processes, torch.cuda.device_count())
    work = (scratch / "processes").resolve()
    work.mkdir(parents=True, exist_ok=True)
    for name in ("error-*.json", "dev_*.parquet", MERGES):
        for path in work.glob(name):
            path.unlink()
    triplets.write_parquet(work / "triplets.parquet")
    if dev is not None:
        dev.write(work)
    request = {
        "process": os.getpid(),
        "folder": str(folder.resolve()),
        "scratch": str(scratch.resolve()),
        "base_model": base_model.model_dump(mode="json"),
        "settings": settings.model_dump(mode="json"),
        "compute": asdict(compute) | {"processes": 1, "cluster": None},
        "logs": str(logs.resolve()) if logs else None,
    }
    (work / "request.json").write_text(json.dumps(request))
    last_lines = _torchrun(work, compute.processes)
    if last_lines is not None:
        raise _error(work, last_lines)
    return Training.read(work)


def _torchrun(work: Path, processes: int) -> list[str] | None:
    """Run the workers to their end; returns the last lines of their output if one failed."""
    from joblib import cpu_count

    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += ["-m", "embed_assets.training.worker", str(work)]
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, cpu_count() // processes))
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=os.environ | {"OMP_NUM_THREADS": threads},
    )
    lines: deque[str] = deque(maxlen=LINES_KEPT)
    try:
        for line in process.stdout:
            lines.append(line)
            if line.startswith(NEWS):
                logger.info("%s", line.removeprefix(NEWS).strip())
        return list(lines) if process.wait() else None
    finally:
        if process.poll() is None:
            process.terminate()  # torchrun ends its workers before itself
            process.wait()
        process.stdout.close()


def _error(work: Path, last_lines: list[str]) -> Exception:
    """The first error that a worker wrote down; if none did, the end of the output has to do."""
    failures = sorted(work.glob("error-*.json"), key=lambda path: path.stat().st_mtime_ns)
    if not failures:
        return TrainingProcessError("a training process ended without an error of its own:\n" + "".join(last_lines))
    failure = json.loads(failures[0].read_text())
    return error_of(failure["kind"], failure["message"]) or TrainingProcessError(
        f"training process {failure['rank']} failed:\n{failure['traceback']}"
    )


def check_batch_size(settings: TrainingSettings, processes: int) -> None:
    """Raise ValueError if not all of the processes that train together get the same part of a batch."""
    if settings.batch_size % processes:
        raise ValueError(
            f"training.batch_size is {settings.batch_size}, of which each of {processes} processes takes the same "
            f"part: make it a multiple of {processes}"
        )


def error_of(kind: str, message: str) -> Exception | None:
    """The error that another process met, if it is one of LASTING."""
    kinds = {it.__name__: it for it in LASTING}
    return kinds[kind](message) if kind in kinds else None
