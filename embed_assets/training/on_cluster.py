"""Fine-tuning by workers on a Ray cluster, under Ray Train.

The driver keeps what a training on one machine keeps in its scratch folder. Workers have it in temporary folders of their
own, and send it through a desk beside the driver, so that no folder has to be shared.
"""

import io
import logging
import shutil
import tempfile
import threading
import traceback
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from embed_assets.artifacts.files import files_below
from embed_assets.cluster.desk import Desk
from embed_assets.cluster.files import DriverFiles
from embed_assets.cluster.ray_cluster import Cluster, connect
from embed_assets.evaluation.dev_set import DevSet
from embed_assets.models.hardware import Compute
from embed_assets.models.locations import files_of_model
from embed_assets.models.settings import BaseModelSettings
from embed_assets.training.one_process import fine_tune_here
from embed_assets.training.processes import LASTING, TrainingProcessError, check_batch_size, error_of
from embed_assets.training.settings import TrainingSettings
from embed_assets.training.states import STATE, fetch_states, find_best_in, keep_states, last_state
from embed_assets.training.task import Training, TrainingTask

logger = logging.getLogger(__name__)
# Folders of the driver beside that of the states, below the one that the desk is for.
LOGS, RESULT, RAY = "logs", "result", "ray"
# How often a training goes on after workers or nodes were lost.
MOST_LOSSES = 5
SECONDS_BETWEEN_LOOKS = 1.0


@dataclass(frozen=True)
class Failure:
    """An error of a worker, and whether another try would end with it, too."""

    kind: str
    message: str
    traceback: str
    lasting: bool


@dataclass(frozen=True)
class WorkerTask:
    """What every worker gets.

    Args:
        desk: of the driver's scratch folder.
        triplets: as a Parquet file.
        base_model: the model to start from.
        model: the same model for workers, as files_of_model gives it.
        settings: how to train.
        compute: of a worker.
        dev: as of TrainingTask.
    """

    desk: Desk
    triplets: bytes
    base_model: BaseModelSettings
    model: DriverFiles | str
    settings: TrainingSettings
    compute: Compute
    dev: DevSet | None


def fine_tune_on_cluster(task: TrainingTask, cluster: Cluster) -> Training:
    """As fine_tune, in the workers of the cluster, all on the same batches.

    Raises:
        ValueError: as fine_tune, the batch size is not a multiple of the number of workers, or the weights are to be divided.
        TrainingDivergedError: as fine_tune.
        ClusterError: the cluster is not there, or the workers do not fit.
        TrainingProcessError: workers failed in another way, or were lost too often.
    """
    if task.compute.sharded:
        raise ValueError(
            "sharded of the resource 'gpu' divides over the GPUs of one machine, not over workers of a cluster: unset one of them"
        )
    check_batch_size(task.settings, cluster.workers)
    connect(cluster)
    scratch = task.scratch.resolve()
    for left in (scratch / RESULT, scratch / RAY):
        shutil.rmtree(left, ignore_errors=True)
    scratch.mkdir(parents=True, exist_ok=True)
    model, table = files_of_model(task.base_model.name, task.base_model.revision), io.BytesIO()
    task.triplets.write_parquet(table)
    desk = Desk.open(scratch)
    sent = WorkerTask(desk, table.getvalue(), task.base_model, model, task.settings, task.compute.of_a_worker(), task.dev)
    try:
        _run(sent, cluster, scratch)
    finally:
        desk.close()
        shutil.rmtree(scratch / RAY, ignore_errors=True)
    if task.logs is not None and (scratch / LOGS).is_dir():
        shutil.copytree(scratch / LOGS, task.logs, dirs_exist_ok=True)
    result = scratch / RESULT
    done = Training.read(result)
    shutil.copytree(result / "model", task.folder, dirs_exist_ok=True)
    return done


def _run(task: WorkerTask, cluster: Cluster, scratch: Path) -> None:
    """Train to the end; Ray Train starts all workers again when some were lost."""
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    def loop() -> None:
        train_in_worker(task)

    resources = {"CPU": cluster.worker_cpus} | ({"GPU": cluster.worker_gpus} if cluster.worker_gpus else {})
    trainer = TorchTrainer(
        loop,
        scaling_config=ScalingConfig(
            num_workers=cluster.workers, use_gpu=cluster.worker_gpus > 0, resources_per_worker=resources
        ),
        # Nothing is kept there, so it need not be shared: states go through the desk.
        run_config=RunConfig(
            name="training", storage_path=str(scratch / RAY), failure_config=FailureConfig(max_failures=MOST_LOSSES)
        ),
    )
    ended: list[BaseException] = []
    failures: list[Failure] = []
    fetch_states(scratch)
    kept = last_state(scratch / STATE)

    def fit() -> None:
        try:
            trainer.fit()
        except BaseException as error:
            ended.append(error)

    # In a thread of its own: in the main one, Ray Train takes SIGINT for itself and does not give it back.
    thread = threading.Thread(target=fit, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(SECONDS_BETWEEN_LOOKS)
            _read_news(task.desk, failures)
            if (last := last_state(scratch / STATE)) != kept:
                keep_states(scratch)
                kept = last
    except BaseException:
        ray.shutdown()  # which ends all that this process has started on the cluster
        raise
    if ended or any(it.lasting for it in failures):
        raise _error(failures, ended)


def _read_news(desk: Desk, failures: list[Failure]) -> None:
    for news in desk.ask("take_news"):
        if isinstance(news, Failure):
            failures.append(news)
        else:
            logger.info("%s", news)


def _error(failures: list[Failure], ended: list[BaseException]) -> Exception:
    """The first error that another try would not mend; without one, the last that a worker told of, or what Ray Train says."""
    for failure in failures:
        if failure.lasting and (error := error_of(failure.kind, failure.message)):
            return error
    told = f"\n{failures[-1].traceback}" if failures else ""
    return TrainingProcessError(f"the training in workers of the cluster failed: {ended[0]}{told}")


def train_in_worker(task: WorkerTask) -> None:
    """What each worker does. The first one sends the model, curve.parquet and merges.parquet."""
    import ray.train

    if task.desk.ask("is_closed"):  # started again after an error that would come again
        return
    rank, place = ray.train.get_context().get_world_rank(), Path(tempfile.mkdtemp(prefix="embed-assets-training-"))
    news = _News(task.desk)
    if rank == 0:
        logging.getLogger("embed_assets").addHandler(news)
        logging.getLogger("embed_assets").setLevel(logging.INFO)
    try:
        task.desk.fetch(STATE, place / STATE)
        find_best_in(place / STATE, place / STATE)
        own = TrainingTask(
            pl.read_parquet(io.BytesIO(task.triplets)),
            place / RESULT / "model",
            place,
            task.base_model.model_copy(update={"name": _locate(task)}),
            task.settings,
            _compute(task),
            place / LOGS,
            task.dev,
        )
        done = fine_tune_here(own, [send_states_callback(task.desk, place)])
        if rank == 0:
            done.write(place / RESULT)
            for folder in (LOGS, RESULT):
                _send_all(task.desk, place / folder, folder)
    except Exception as error:
        lasting = isinstance(error, LASTING)
        task.desk.ask("tell", Failure(type(error).__name__, str(error), traceback.format_exc(), lasting))
        if lasting:
            task.desk.ask("close")
        raise
    finally:
        logging.getLogger("embed_assets").removeHandler(news)
        shutil.rmtree(place, ignore_errors=True)


def _compute(task: WorkerTask) -> Compute:
    """That of this worker: of several on a node, each sees the GPUs of all."""
    import ray.train.torch

    on_gpu = task.compute.torch_device() == "cuda"
    return replace(task.compute, device=str(ray.train.torch.get_device())) if on_gpu else task.compute


def send_states_callback(desk: Desk, place: Path):
    """A trainer callback that sends each state to the driver, as soon as all workers have written their part of it.

    Args:
        desk: of the driver.
        place: the folder of this worker.
    """
    import torch
    from transformers import TrainerCallback

    class SendStates(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            name = f"checkpoint-{state.global_step}"
            states = Path(args.output_dir)
            _send(desk, states / name, f"{STATE}/{name}")
            torch.distributed.barrier()
            if state.is_world_process_zero:
                desk.ask("commit", f"{STATE}/{name}", [path.name for path in states.iterdir()])
                _send_all(desk, place / LOGS, LOGS)

    return SendStates()


def _send(desk: Desk, source: Path, folder: str) -> None:
    desk.send(source, folder, sorted(path.relative_to(source).as_posix() for path in files_below(source)))


def _send_all(desk: Desk, source: Path, folder: str) -> None:
    if source.is_dir() and any(source.iterdir()):
        _send(desk, source, folder)
        desk.ask("commit", folder)


def _locate(task: WorkerTask) -> str:
    if isinstance(task.model, str):
        return task.model
    found = task.model.on_this_node() or task.model.receive(task.desk.parts(str(task.model.path)))
    return str(found)


class _News(logging.Handler):
    """Tells the driver what the first worker logs."""

    def __init__(self, desk: Desk):
        super().__init__()
        self._desk = desk

    def emit(self, record: logging.LogRecord) -> None:
        self._desk.ask("tell", record.getMessage())
