"""What a step asks of the machine that it runs on, where an executor places it: on Ray, or on Kubernetes."""

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from embed_assets.defs.resources import options_of_environment
from embed_assets.graph import STAGES
from embed_assets.sweep.stages import TRIAL
from embed_assets.training.stages import CHECKPOINT, TRIPLETS

# Names the environment variable that says what steps need.
STEPS = "EMBED_ASSETS_STEPS"
GIB = 2**30
# Those train the embedding model, for which ``processes`` of the resource gpu wants a GPU each; triplets may train a draft.
FINE_TUNING = (CHECKPOINT.name, TRIAL.name, TRIPLETS.name)


@dataclass(frozen=True)
class Needs:
    """What a step needs.

    Args:
        gpus: GPUs.
        cpus: CPU cores.
        memory: GiB of memory.
    """

    gpus: float
    cpus: float
    memory: float


def op_tags(stage: str, gpu: bool) -> dict[str, Any]:
    """The tags of a step by which dagster-ray's and Dagster's Kubernetes executors place it.

    Args:
        stage: name of the stage.
        gpu: whether it computes with models.
    """
    needs = needs_of(stage, gpu, os.environ.get(STEPS, "").split())
    requests: dict[str, str] = {"cpu": f"{needs.cpus:g}", "memory": f"{needs.memory:g}Gi"}
    limits = {"nvidia.com/gpu": f"{needs.gpus:g}"} if needs.gpus else {}
    return {
        "dagster-ray/config": {"num_gpus": needs.gpus, "num_cpus": needs.cpus, "memory": int(needs.memory * GIB)},
        "dagster-k8s/config": {"container_config": {"resources": {"requests": requests, "limits": limits}}},
    }


def needs_of(stage: str, gpu: bool, words: Iterable[str]) -> Needs:
    """What a step needs: a GPU if it computes with models itself, or for each process that trains; words may say otherwise.

    Args:
        stage: name of the stage.
        gpu: whether it computes with models.
        words: such as "cpus=4" for all steps that compute with models, and "checkpoint.memory=32" for one step.

    Raises:
        ValueError: a word names no step, or nothing that a step can need, or no number.
    """
    compute = options_of_environment()
    # Where workers of a cluster compute, or a CPU does, the step itself has no use for a GPU.
    itself = compute.get("cluster") != "ray" and compute.get("device") != "cpu"
    processes = int(compute.get("processes", 1)) if stage in FINE_TUNING else 1
    needs = Needs(processes, 1, 8) if gpu else Needs(0, 1, 4)
    needs = needs if itself else replace(needs, gpus=0)
    asked: dict[str, dict[str, float]] = {"": {}, stage: {}}
    for word in words:
        name, _, number = word.partition("=")
        of, _, what = name.rpartition(".")
        if what not in asdict(needs) or (of and of not in STAGES):
            names = ", ".join(field.name for field in fields(Needs))
            raise ValueError(f"${STEPS}: {word!r}: a step needs {names}, as in 'cpus=4' or 'checkpoint.memory=32'")
        try:
            asked.setdefault(of, {})[what] = float(number)
        except ValueError:
            raise ValueError(f"${STEPS}: {word!r}: {number!r} is no number") from None
    return replace(needs, **((asked[""] if gpu else {}) | asked[stage]))
