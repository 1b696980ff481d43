"""One of the processes of a training, as torchrun starts it.

It reads request.json and triplets.parquet in the folder that it is given. The first process writes the model,
curve.parquet and merges.parquet; one that fails writes error-RANK.json.
"""

import contextlib
import json
import logging
import os
import sys
import threading
import traceback
from pathlib import Path

import polars as pl
import psutil

from embed_assets.artifacts.files import write_atomically
from embed_assets.evaluation.dev_set import read_dev_set
from embed_assets.models.hardware import Compute
from embed_assets.models.settings import BaseModelSettings
from embed_assets.training.one_process import fine_tune_here
from embed_assets.training.processes import NEWS
from embed_assets.training.settings import TrainingSettings
from embed_assets.training.task import TrainingTask


def main() -> None:
    work, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    request = json.loads((work / "request.json").read_text())
    threading.Thread(target=_end_with, args=(request["process"],), daemon=True).start()
    if rank == 0:
        news = logging.StreamHandler(sys.stderr)
        news.setFormatter(logging.Formatter(f"{NEWS}%(message)s"))
        logging.getLogger("embed_assets").addHandler(news)
        logging.getLogger("embed_assets").setLevel(logging.INFO)
    try:
        task = TrainingTask(
            pl.read_parquet(work / "triplets.parquet"),
            Path(request["folder"]),
            Path(request["scratch"]),
            BaseModelSettings.model_validate_json(json.dumps(request["base_model"])),
            TrainingSettings.model_validate_json(json.dumps(request["settings"])),
            Compute(**request["compute"]).of_a_process(int(os.environ["LOCAL_RANK"])),
            Path(request["logs"]) if request["logs"] else None,
            read_dev_set(work),
        )
        training = fine_tune_here(task)
    except Exception as error:
        failure = {"rank": rank, "kind": type(error).__name__, "message": str(error), "traceback": traceback.format_exc()}
        write_atomically(work / f"error-{rank}.json", json.dumps(failure))
        raise
    if rank == 0:
        training.write(work)


def _end_with(process: int) -> None:
    """torchrun outlives whoever started it and was killed; its workers would go on beside the next run."""
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(process).wait()
    os._exit(1)


if __name__ == "__main__":
    main()
