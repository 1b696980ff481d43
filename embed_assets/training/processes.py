"""Fine-tuning in several processes, one for each GPU."""

import json
import logging
import os
import subprocess
import sys
from collections import deque
from dataclasses import asdict
from pathlib import Path

from embed_assets.models.hardware import OutOfMemoryError, require_gpus
from embed_assets.training.log import TrainingDivergedError
from embed_assets.training.settings import TrainingSettings
from embed_assets.training.task import MERGES, Training, TrainingTask

logger = logging.getLogger(__name__)
LINES_KEPT = 30
# What people are told of as it is; another try would end as the first did.
LASTING = (ValueError, TrainingDivergedError, OutOfMemoryError)
# Lines of a worker that start so are news of the training.
NEWS = "training: "


class TrainingProcessError(RuntimeError):
    """A training process failed; the message ends with its traceback."""


def fine_tune_in_processes(task: TrainingTask) -> Training:
    """As fine_tune, under torchrun: worker.py in each process, all on the same batches.

    Raises:
        ValueError: as fine_tune, or there are not so many GPUs, or the batch size is not a multiple of their number.
        TrainingDivergedError: as fine_tune.
        TrainingProcessError: a process failed in another way.
    """
    compute = task.compute
    check_batch_size(task.settings, compute.processes)
    import torch

    require_gpus(compute.torch_device(), compute.processes, torch.cuda.device_count())
    work = (task.scratch / "processes").resolve()
    work.mkdir(parents=True, exist_ok=True)
    for name in ("error-*.json", "dev_*.parquet", MERGES):
        for path in work.glob(name):
            path.unlink()
    task.triplets.write_parquet(work / "triplets.parquet")
    if task.dev is not None:
        task.dev.write(work)
    request = {
        "process": os.getpid(),
        "folder": str(task.folder.resolve()),
        "scratch": str(task.scratch.resolve()),
        "base_model": task.base_model.model_dump(mode="json"),
        "settings": task.settings.model_dump(mode="json"),
        "compute": asdict(compute),
        "logs": str(task.logs.resolve()) if task.logs else None,
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
