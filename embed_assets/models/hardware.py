"""What the machine can do, and how to let it."""

import contextlib
import ctypes
import functools
import gc
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import psutil

from embed_assets.cluster.ray_cluster import Cluster

if TYPE_CHECKING:
    import torch


# Of the memory that is free, what a training may plan with: on a CPU others need some, too.
GPU_SHARE, CPU_SHARE = 0.85, 0.5
DTYPE_NAMES = ("bfloat16", "float32", "float16", "auto")


class OutOfMemoryError(RuntimeError):
    """The memory of the device is too small; the message names the setting to lower."""


@dataclass(frozen=True)
class Compute:
    """Where and how to compute. None of it changes what is computed, but for rounding.

    Args:
        device: "cpu", "cuda", "cuda:1" …, or "auto": a GPU if there is one.
        dtype: of encoding and of the products in training, whose weights are float32; "auto" is bfloat16 where the hardware
            multiplies it, float16 on older GPUs, else float32.
        batch_size: texts encoded at once.
        mini_batch_tokens: overrides training.mini_batch_tokens if it is not 0.
        memory_share: share of the GPU's memory that the language model may take.
        processes: how many train together, each on a GPU of its own; so many GPUs also encode and re-rank together.
        sharded: divide weights, gradients and optimizer states over the processes of a training.
        loggers: where the loss curve of a training also goes: tensorboard, mlflow, wandb.
        cluster: workers on a Ray cluster that compute; None: this process does.
    """

    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    batch_size: int = 64
    mini_batch_tokens: int = 0
    memory_share: float = 0.85
    processes: int = 1
    sharded: bool = False
    loggers: tuple[str, ...] = ("tensorboard",)
    cluster: Cluster | None = None

    def of_a_worker(self) -> "Compute":
        """That of a worker on the cluster, which sees only GPUs of its own."""
        return replace(self, cluster=None, processes=1, device="cuda" if self.device.startswith("cuda") else self.device)

    def of_a_process(self, number: int) -> "Compute":
        """That of one of the processes on this machine that train together; without its number all would load onto the first GPU.

        Args:
            number: of the process on its machine, LOCAL_RANK of torchrun.
        """
        device = self.torch_device()
        return replace(self, cluster=None, processes=1, device=f"cuda:{number}" if device == "cuda" else device)

    def devices(self) -> tuple[str, ...]:
        """The devices that encode and re-rank together: several GPUs where ``processes`` asks for them and they are there."""
        import torch

        return devices_together(self.torch_device(), self.processes, torch.cuda.device_count())

    def torch_device(self) -> str:
        """The device as torch names it."""
        import torch

        if self.device != "auto":
            return self.device
        return "cuda" if torch.cuda.is_available() else "cpu"

    def torch_dtype(self) -> "torch.dtype":
        """bfloat16 on a GPU or CPU that multiplies it, else what gpu_dtype says or float32 on a CPU, unless dtype says otherwise.

        On a CPU with AVX512-BF16 it encodes about twice as fast; cosines stay within 1e-4 of float32.
        """
        import torch

        if self.dtype != "auto":
            return getattr(torch, self.dtype)
        if self.torch_device().startswith("cuda"):
            return getattr(torch, gpu_dtype(torch.cuda.get_device_capability(self.torch_device())))
        capabilities = torch.cpu.get_capabilities()
        able = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
        return torch.bfloat16 if able else torch.float32

    def autocast(self) -> "torch.autocast":
        """Computes products in torch_dtype, whatever the dtype of the weights."""
        import torch

        dtype = self.torch_dtype()
        return torch.autocast(torch.device(self.torch_device()).type, dtype, enabled=dtype != torch.float32)

    def dtype_name(self) -> str:
        """What tells results that are kept from those of another dtype; "auto" where only the workers know theirs."""
        if self.dtype == "auto" and self.cluster is not None and self.cluster.worker_gpus:
            return "auto"
        return str(self.torch_dtype()).removeprefix("torch.")

    def free_memory(self) -> int:
        """Bytes of the device's memory that a training may plan with."""
        import torch

        device = torch.device(self.torch_device())
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            # What torch has reserved and does not use is free for torch.
            free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
            return int(GPU_SHARE * free)
        return int(CPU_SHARE * psutil.virtual_memory().available)


def gpu_dtype(capability: tuple[int, int]) -> str:
    """The fastest dtype of a GPU that is exact enough, by its compute capability.

    bfloat16 is multiplied from Ampere on (8.0: A100, L4, H100); before, torch only imitates it. Volta and Turing (7.0, 7.5:
    V100, T4) have tensor cores for float16, which trains with a scaler of the gradients. Older GPUs have none, and most of
    them multiply float16 at a 64th of the speed of float32 (CUDA C++ Programming Guide, arithmetic instructions).
    """
    return "bfloat16" if capability >= (8, 0) else "float16" if capability >= (7, 0) else "float32"


def devices_together(device: str, processes: int, gpus: int) -> tuple[str, ...]:
    """The devices that compute the same together: GPUs, as many as are wanted and there, or the one device.

    A step that does not train may be placed where it has a single GPU (defs/placement.py).

    Args:
        device: as torch names it.
        processes: how many GPUs are wanted.
        gpus: how many there are.
    """
    count = min(processes, gpus) if device == "cuda" else 1  # processes on a CPU would take each other's cores
    return (device,) if count <= 1 else tuple(f"cuda:{number}" for number in range(count))


def require_gpus(device: str, processes: int, gpus: int) -> None:
    """Look whether each process of a training has a GPU of its own; arguments as of devices_together.

    Raises:
        ValueError: there are not so many GPUs, or the device is one of them.
    """
    if device == "cuda" and processes > gpus:
        raise ValueError(f"processes of the resource 'gpu' is {processes}, but there are {gpus} GPUs: set it to {gpus} or less")
    if device.startswith("cuda:"):
        raise ValueError(
            f"the resource 'gpu' has device {device} and processes {processes}: set device to cuda, or processes to 1"
        )


def visible_gpus(device: str, count: int, visible: str | None) -> str | None:
    """CUDA_VISIBLE_DEVICES of a process that takes the first GPUs that it sees, so that it takes this device and those after it.

    Args:
        device: as torch names it here.
        count: GPUs that the process takes.
        visible: CUDA_VISIBLE_DEVICES of this process; None: not set.

    Returns:
        None where it is to stay as it is.

    Raises:
        ValueError: there are not so many after the device.
    """
    name, _, index = device.partition(":")
    if name != "cuda" or not index:
        return None
    first = int(index)
    names = [str(number) for number in range(first + count)] if visible is None else visible.split(",")
    if len(names) < first + count:
        raise ValueError(
            f"device of the resource 'gpu' is {device}, and {count} GPUs from there on are needed, but CUDA_VISIBLE_DEVICES is "
            f"{visible!r}: name an earlier device, or lower tensor_parallel_size"
        )
    return ",".join(names[first : first + count])


@contextlib.contextmanager
def explain_out_of_memory(remedy: str) -> Iterator[None]:
    """Turn the error of a device without memory into an OutOfMemoryError that ends with a remedy."""
    import torch

    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "DefaultCPUAllocator" not in str(error):
            raise
        raise OutOfMemoryError(f"{str(error).splitlines()[0]} To need less: {remedy}") from error


def require_finite(vectors: "torch.Tensor", model: str, compute: Compute) -> None:
    """Make sure that what a model computed are numbers.

    Raises:
        ValueError: some are not: the dtype is too narrow for the model, or its weights are damaged.
    """
    if not vectors.isfinite().all():
        raise ValueError(
            f"{model}: vectors in {compute.torch_dtype()} are not finite: set dtype of the resource 'gpu' to float32; "
            "if that is what it is, its weights are damaged"
        )


def release_memory() -> None:
    """Give back what models that are not needed any more have left on the GPU, so that other processes find it free."""
    if "torch" not in sys.modules:
        return
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def keep_freed_memory(device: str) -> None:
    """Let glibc keep freed memory instead of giving it back to the kernel after every tensor, if it is computed on the CPU.

    By default each large tensor is mapped and unmapped anew, and the page faults take a third of a
    training step. Does nothing where there is no glibc.
    """
    if device == "cpu" and platform.libc_ver()[0] == "glibc":
        _set_up_malloc()


@functools.cache
def _set_up_malloc() -> None:
    libc = ctypes.CDLL("libc.so.6")
    m_trim_threshold, m_top_pad, m_mmap_max = -1, -2, -4
    libc.mallopt(m_mmap_max, 0)
    libc.mallopt(m_trim_threshold, 2**31 - 1)
    libc.mallopt(m_top_pad, 64 * 2**20)
