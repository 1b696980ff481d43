"""Training in two workers on two nodes: the model of one process, whatever dies meanwhile."""

import dataclasses
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from embed_assets.artifacts.remote_folder import RemoteFolder, share
from embed_assets.cluster.desk import Desk
from embed_assets.cluster.ray_cluster import Cluster
from embed_assets.models.settings import BaseModelSettings
from embed_assets.training import on_cluster
from embed_assets.training.states import COMPLETE
from embed_assets_tests.cluster.conftest import TwoNodes, processes, wait_until
from embed_assets_tests.training.test_fine_tuning import COMPUTE, TRIPLETS, base, differences, train

__all__ = ["base"]  # a fixture
pytestmark = pytest.mark.slow

ON_TWO = dataclasses.replace(COMPUTE, cluster=Cluster(2, 0, 1), loggers=("tensorboard",))
LONG = {"epochs": 17.0, "checkpoints": 8}
WORKER = "ray::RayTrainWorker"
BEGINS = "training on 32 examples"
DRIVER = """
import logging, sys
from pathlib import Path
from embed_assets.models.settings import BaseModelSettings
from embed_assets_tests.cluster.test_training import LONG, ON_TWO, TRIPLETS, train
logging.basicConfig(level="INFO", format="%(created)f %(message)s")
train(Path(sys.argv[1]), BaseModelSettings(name=sys.argv[2], max_tokens=32), TRIPLETS, ON_TWO, **LONG)
"""
# Two processes sum in another order; AdamW makes steps of the learning rate of the smallest differences.
ROUNDING = 2e-3


@pytest.fixture(scope="module")
def alone(base: BaseModelSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes of it."""
    folder = tmp_path_factory.mktemp("alone")
    train(folder, base, TRIPLETS, dataclasses.replace(ON_TWO, cluster=None), **LONG)
    return folder


def saved(folder: Path) -> list[str]:
    return [path.name for path in (folder / "scratch" / "trainer").glob("checkpoint-*")]


def test_two_workers_train_the_model_of_one_process_with_its_early_stop(nodes: TwoNodes, base: BaseModelSettings, tmp_path: Path):
    changes = {"epochs": 4.0, "early_stopping": 2}
    one = train(tmp_path / "one", base, **changes)
    two = train(tmp_path / "two", base, TRIPLETS, ON_TWO, **changes)
    assert differences(tmp_path / "one", tmp_path / "two") < 1e-4
    assert one["step"].to_list() == two["step"].to_list()
    assert list((tmp_path / "two" / "scratch" / "logs").glob("events.out.*"))
    wait_until(lambda: not processes(WORKER))


def start_driver(folder: Path, base: BaseModelSettings) -> subprocess.Popen[bytes]:
    """Train in a process of its own, which writes what it logs to a file."""
    folder.mkdir(exist_ok=True)
    with (folder / "log").open("w") as log:
        return subprocess.Popen([sys.executable, "-c", DRIVER, str(folder), base.name], stderr=log)


def kill_driver(driver: subprocess.Popen[bytes], when: Callable[[], object]) -> None:
    """Kill it as soon as something holds, and wait until no worker is left."""
    try:
        wait_until(lambda: driver.poll() is not None or when())
        driver.send_signal(signal.SIGKILL)
        assert driver.wait(10) == -signal.SIGKILL
    finally:
        driver.kill()
    wait_until(lambda: not processes(WORKER))
    time.sleep(1)


def test_after_a_killed_worker_it_goes_on_from_the_last_state(
    nodes: TwoNodes, base: BaseModelSettings, alone: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "embed_assets")

    def kill_a_worker() -> float:
        wait_until(lambda: saved(tmp_path))
        processes(WORKER)[0].kill()
        return time.time()

    with ThreadPoolExecutor(1) as pool:
        killed, started = pool.submit(kill_a_worker), time.time()
        train(tmp_path, base, TRIPLETS, ON_TWO, **LONG)
    began = [record.created for record in caplog.records if BEGINS in record.message]
    print(
        f"a worker was killed: training again after {began[1] - killed.result():.1f} s, at first after {began[0] - started:.1f} s"
    )
    assert len(began) == 2 and "from checkpoint-" in caplog.text
    assert differences(alone, tmp_path) < ROUNDING


def test_another_machine_goes_on_after_a_killed_driver_where_the_home_is_on_an_object_store(
    nodes: TwoNodes, base: BaseModelSettings, alone: Path, tmp_path: Path, remote_address: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "embed_assets")
    for machine in ("one", "two"):
        share(tmp_path / machine / "scratch", remote_address)
    remote = RemoteFolder(remote_address)
    driver = start_driver(tmp_path / "one", base)
    kill_driver(driver, lambda: any(it.name.endswith(COMPLETE) for it in remote.objects()))
    started = time.time()
    train(tmp_path / "two", base, TRIPLETS, ON_TWO, **LONG)
    (again,) = [record.created for record in caplog.records if BEGINS in record.message]
    print(f"the driver was killed: training again {again - started:.1f} s after the new run began")
    assert "fetching the training state checkpoint-" in caplog.text and "from checkpoint-" in caplog.text
    assert differences(alone, tmp_path / "two") < ROUNDING


def test_an_error_of_a_worker_is_the_error_of_the_training(
    nodes: TwoNodes, base: BaseModelSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(ValueError, match=r"batch_size is 7, .* make it a multiple of 2"):
        train(tmp_path, base, TRIPLETS, ON_TWO, batch_size=7)
    read, told = on_cluster._read_news, []

    def note(desk: Desk, failures: list[on_cluster.Failure]) -> None:
        read(desk, failures)
        told.append(len(failures))

    monkeypatch.setattr(on_cluster, "_read_news", note)
    with pytest.raises(ValueError, match=r"hard_negatives is 5, but 2 were mined"):
        train(tmp_path, base, TRIPLETS, ON_TWO, hard_negatives=5)
    assert 1 <= max(told) <= 2  # it is not tried again and again
