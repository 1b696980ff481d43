"""Encoding and re-ranking on two nodes: the vectors and scores of one process, whatever dies meanwhile."""

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from embed_assets.cluster.ray_cluster import Cluster
from embed_assets.cluster.workers import BLOCKS_AT_ONCE
from embed_assets.models.device_pool import texts_at_once
from embed_assets.models.encoders import Encoder
from embed_assets.models.hardware import Compute
from embed_assets.models.locations import locate_model
from embed_assets.models.rerankers import Reranker, load_cross_encoder
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.token_encoder import TokenEncoder
from embed_assets.retrieval import late_interaction
from embed_assets.retrieval.late_interaction import LateInteraction
from embed_assets_tests.cluster.conftest import TwoNodes, processes, wait_until

pytestmark = pytest.mark.slow

SETTINGS = BaseModelSettings(max_tokens=64)
PLAIN = Compute(device="cpu", batch_size=4)
ON_TWO = Compute(device="cpu", batch_size=4, cluster=Cluster(2, 0, 1))
TEXTS = [
    f"Part {number} is made of brass and lies on shelf {number * 7}. " + "It is heavy. " * (number % 9) for number in range(800)
]
ACTOR = "ray::Actor"
SECONDS: list[float] = []
DRIVER = """
import sys
from pathlib import Path
from embed_assets_tests.cluster.test_encoding import ON_TWO, SETTINGS, TEXTS
from embed_assets.models.encoders import Encoder
Encoder(SETTINGS, Path(sys.argv[1]), compute=ON_TWO).encode_passages(TEXTS)
"""


@contextmanager
def one_thread() -> Iterator[None]:
    """As in the actors: sums come out the same."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    with one_thread():
        return Encoder(SETTINGS, tmp_path_factory.mktemp("plain"), compute=PLAIN).encode_passages(TEXTS)


@contextmanager
def cost_told(asked: list[int]) -> Iterator[None]:
    """Print how long it takes, beside what the first one took, which had no fault; and what two workers were asked."""
    started = time.monotonic()
    yield
    SECONDS.append(time.monotonic() - started)
    size = texts_at_once(ON_TWO)
    twice = sum(asked) - -(-len(TEXTS) // size)
    print(
        f"{SECONDS[-1]:.1f} s, {SECONDS[0]:.1f} s without a fault; {size * twice} of {len(TEXTS)} texts were asked of two workers"
    )
    assert (twice > 0) == (len(SECONDS) > 1) and twice <= BLOCKS_AT_ONCE


def after_blocks(encoder: Encoder | LateInteraction, count: int, act) -> None:
    """Act once, as soon as so many blocks are kept."""
    put, left = encoder.memo.put_many, [count]

    def put_and_act(rows) -> None:
        put(rows)
        left[0] -= 1
        if left[0] == 0:
            act()

    encoder.memo.put_many = put_and_act  # type: ignore[method-assign]


def test_two_workers_make_the_vectors_of_one_process(nodes: TwoNodes, plain: np.ndarray, tmp_path: Path, asked: list[int]):
    encoder, seen = Encoder(SETTINGS, tmp_path, compute=ON_TWO), []
    after_blocks(encoder, 15, lambda: seen.extend(processes(ACTOR)))
    with cost_told(asked):
        np.testing.assert_array_equal(encoder.encode_passages(TEXTS), plain)
    assert len(seen) == 2
    wait_until(lambda: not processes(ACTOR))
    again = Encoder(SETTINGS, tmp_path, compute=ON_TWO)
    np.testing.assert_array_equal(again.encode_passages(TEXTS), plain)
    assert again.saved_work == "800 of 800 texts encoded before" and not processes(ACTOR)


def test_a_worker_that_is_killed_is_replaced_and_nothing_is_lost(
    nodes: TwoNodes, plain: np.ndarray, tmp_path: Path, asked: list[int], caplog: pytest.LogCaptureFixture
):
    encoder = Encoder(SETTINGS, tmp_path, compute=ON_TWO)
    after_blocks(encoder, 6, lambda: processes(ACTOR)[0].kill())
    with cost_told(asked):
        np.testing.assert_array_equal(encoder.encode_passages(TEXTS), plain)
    assert "a worker was lost, another one takes its place" in caplog.text


def test_when_a_node_is_killed_the_other_one_does_its_part(
    nodes: TwoNodes, plain: np.ndarray, tmp_path: Path, asked: list[int], caplog: pytest.LogCaptureFixture
):
    encoder = Encoder(SETTINGS, tmp_path, compute=ON_TWO)
    after_blocks(encoder, 6, nodes.kill_second)
    with cost_told(asked):
        np.testing.assert_array_equal(encoder.encode_passages(TEXTS), plain)
    assert "a worker was lost, another one takes its place" in caplog.text


def test_after_an_interrupt_no_worker_is_left_and_a_new_run_goes_on(nodes: TwoNodes, plain: np.ndarray, tmp_path: Path):
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(tmp_path)], stderr=subprocess.PIPE)
    try:
        wait_until(lambda: driver.poll() is not None or _kept(tmp_path) >= 64)
        driver.send_signal(signal.SIGINT)
        driver.wait(30)
    finally:
        driver.kill()
    assert driver.returncode in (-signal.SIGINT, 1)
    wait_until(lambda: not processes(ACTOR))
    encoder = Encoder(SETTINGS, tmp_path, compute=ON_TWO)
    np.testing.assert_array_equal(encoder.encode_passages(TEXTS), plain)
    assert 64 <= int(encoder.saved_work.split()[0]) < len(TEXTS)


def _kept(memos: Path) -> int:
    try:
        (path,) = memos.rglob("*.sqlite")
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            (table,) = connection.execute("select name from sqlite_master where type = 'table'").fetchone()
            return connection.execute(f"select count(*) from {table}").fetchone()[0]
    except (ValueError, TypeError, sqlite3.OperationalError):
        return 0


def test_what_a_worker_complains_of_is_told_as_in_this_process(nodes: TwoNodes, tmp_path: Path):
    folder = tmp_path / "model"
    folder.mkdir()
    for path in Path(str(locate_model(SETTINGS.name))).iterdir():
        if path.name != "model.safetensors":
            (folder / path.name).symlink_to(path)
    with pytest.raises(OSError, match=r"model\.safetensors"):
        Encoder(SETTINGS, tmp_path / "memos", str(folder), ON_TWO).encode_passages(TEXTS[:1])
    wait_until(lambda: not processes(ACTOR))


def test_two_workers_give_the_scores_of_one_process(nodes: TwoNodes, tmp_path: Path):
    import torch

    folder = tmp_path / "model"
    torch.manual_seed(0)
    model = load_cross_encoder(SETTINGS.name, "cpu", 64, new_head=True)
    model.save_pretrained(str(folder))
    pairs = [(f"part {number}", text) for number, text in enumerate(TEXTS[:200])]
    with one_thread():
        alone = Reranker(str(folder), tmp_path / "alone", PLAIN, 64).score(pairs)
    reranker = Reranker(str(folder), tmp_path / "two", ON_TWO, 64)
    np.testing.assert_allclose(reranker.score(pairs), alone, atol=1e-4)
    assert len(np.unique(alone)) > 100
    wait_until(lambda: not processes(ACTOR))


def test_two_workers_compare_tokens_as_one_process_does(
    nodes: TwoNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(late_interaction, "QUERIES_AT_ONCE", 3)
    monkeypatch.setattr(TokenEncoder.blocks, "__defaults__", (512,))
    pairs = [(f"part {number % 10} of brass", text) for number, text in enumerate(TEXTS[:200])]
    pairs += [(f"part {number}", TEXTS[0]) for number in range(7)]
    with one_thread():
        alone = LateInteraction(TokenEncoder(SETTINGS, compute=PLAIN), tmp_path / "alone").score(pairs)
    late = LateInteraction(TokenEncoder(SETTINGS, compute=ON_TWO), tmp_path / "two")
    after_blocks(late, 4, lambda: processes(ACTOR)[0].kill())
    np.testing.assert_array_equal(late.score(pairs), alone)
    assert "a worker was lost, another one takes its place" in caplog.text and len(np.unique(alone)) > 100
    wait_until(lambda: not processes(ACTOR))
    np.testing.assert_array_equal(LateInteraction(TokenEncoder(SETTINGS, compute=ON_TWO), tmp_path / "two").score(pairs), alone)
    assert not processes(ACTOR)
