"""The resource gpu, from words as on the command line and in the environment."""

import pytest

from embed_assets.cluster.ray_cluster import Cluster
from embed_assets.defs.resources import GpuResource, options_of_environment, read_options
from embed_assets.models.hardware import Compute


def test_words_are_settings_of_the_resource(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EMBED_ASSETS_GPU", "cluster=ray  workers=4 worker_gpus=0.5 worker_cpus=2 loggers= device=cuda:1")
    compute = GpuResource.configured().compute()
    assert compute == Compute(device="cuda:1", loggers=(), cluster=Cluster(workers=4, worker_gpus=0.5, worker_cpus=2))
    assert compute.of_a_worker() == Compute(device="cuda", loggers=())  # a worker has a GPU of its own
    assert read_options(["loggers=mlflow,wandb", "cluster_grows=true"]) == {"loggers": ["mlflow", "wandb"], "cluster_grows": True}
    monkeypatch.delenv("EMBED_ASSETS_GPU")
    assert GpuResource.configured().compute() == Compute() and options_of_environment() == {}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("worker=4", "'worker=4': the settings of the resource 'gpu' are device, .*, workers"),
        ("workers", "'workers': the settings"),
        ("workers=many", "workers=many: .* valid integer"),
        ("workers=0", "workers=0: .* greater than or equal to 1"),
        ("cluster=slurm", "cluster=slurm: .* 'none' or 'ray'"),
    ],
)
def test_words_that_do_not_do_are_named(words: str, message: str, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ValueError, match=message):
        read_options([words])
    monkeypatch.setenv("EMBED_ASSETS_GPU", f"device=cpu {words}")
    with pytest.raises(ValueError, match=rf"^\$EMBED_ASSETS_GPU: {message}"):
        options_of_environment()
