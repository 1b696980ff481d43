"""Two processes that share a computation, here on the CPU, give what one gives."""

from pathlib import Path

import numpy as np
import psutil
import pytest

from embed_assets.cluster.ray_cluster import Cluster
from embed_assets.models.device_pool import texts_at_once
from embed_assets.models.encoders import Encoder
from embed_assets.models.hardware import Compute
from embed_assets.models.rerankers import Reranker, load_cross_encoder
from embed_assets.models.settings import BaseModelSettings
from embed_assets_tests.tiny_models import TEXTS, write_model

pytestmark = pytest.mark.long

CPU = Compute("cpu", dtype="float32", batch_size=2)
MANY = [f"{text} {number}" for number in range(8) for text in TEXTS]


class TwoDevices(Compute):
    def devices(self) -> tuple[str, ...]:
        return ("cpu", "cpu")


def test_two_devices_encode_and_re_rank_what_one_does_and_end_with_the_encoder(tmp_path: Path):
    base = BaseModelSettings(name=str(write_model(tmp_path / "bert", "bert")), max_tokens=40, query_max_tokens=12)
    together = TwoDevices("cpu", dtype="float32", batch_size=2)
    encoder, alone = Encoder(base, tmp_path / "two", compute=together), Encoder(base, tmp_path / "one", compute=CPU)
    assert np.allclose(encoder.encode_passages(MANY), alone.encode_passages(MANY), atol=1e-6)
    assert np.allclose(encoder.encode_queries(MANY), alone.encode_queries(MANY), atol=1e-6)
    started = psutil.Process().children(recursive=True)
    assert len([it for it in started if "spawn_main" in " ".join(it.cmdline())]) == 2
    del encoder
    psutil.wait_procs(started, timeout=20)
    assert not [it for it in started if it.is_running() and "spawn_main" in " ".join(it.cmdline())]
    load_cross_encoder(base.name, "cpu", 40, new_head=True).save_pretrained(str(tmp_path / "cross"))
    pairs = [(text, MANY[-1]) for text in MANY]
    cross, ways = str(tmp_path / "cross"), {"two": together, "one": CPU}
    scores = [Reranker(cross, tmp_path / name, compute).score(pairs) for name, compute in ways.items()]
    assert np.allclose(*scores, atol=1e-5)


def test_a_gpu_encodes_more_texts_between_two_looks_at_what_to_keep():
    cpu, gpu = Compute("cpu"), Compute("cuda:0")
    assert texts_at_once(cpu) == 512 and texts_at_once(gpu) == 4096
    assert texts_at_once(Compute("cuda", cluster=Cluster(worker_gpus=1))) == 512, "the workers of a cluster share them"
