"""A model that encodes on several GPUs at once, each with a process of its own."""

import weakref
from typing import TYPE_CHECKING, Any

from embed_assets.models.hardware import Compute

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder, SentenceTransformer

# Texts of a device at a time, in batches: few enough that all devices end together.
BATCHES_OF_A_DEVICE = 4
# A CPU encodes a batch in half a second, a GPU in less than the tenth that keeping one takes.
BATCHES_OF_A_BLOCK, BATCHES_OF_A_GPU_BLOCK = 8, 64


class DevicePool:
    """The devices of a computation, with a copy of a model on each; the processes end with this object.

    Args:
        model: on device_to_load_on.
        compute: names the devices.
    """

    def __init__(self, model: "SentenceTransformer | CrossEncoder", compute: Compute):
        devices = compute.devices()
        # What encode() or predict() of the model has to be told.
        self.options: dict[str, Any] = {}
        if len(devices) > 1:
            pool = model.start_multi_process_pool(list(devices))
            weakref.finalize(self, model.stop_multi_process_pool, pool)
            self.options = {"pool": pool, "chunk_size": BATCHES_OF_A_DEVICE * compute.batch_size}


def device_to_load_on(compute: Compute) -> str:
    """Where a model is loaded: on its device, or on the CPU, from where sentence-transformers shares it with several."""
    devices = compute.devices()
    return devices[0] if len(devices) == 1 else "cpu"


def texts_at_once(compute: Compute) -> int:
    """How many texts are encoded between two looks at what to keep of them: enough for all devices, and some seconds of work.

    Workers on a cluster share the blocks, so these stay small.
    """
    on_gpu = compute.cluster is None and compute.torch_device().startswith("cuda")
    return (BATCHES_OF_A_GPU_BLOCK if on_gpu else BATCHES_OF_A_BLOCK) * compute.batch_size * compute.processes
