"""What the machine can do, and how to let it."""

import contextlib
import ctypes
import functools
import gc
import platform
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import psutil

from embed_assets.cluster.ray_cluster import Cluster

if TYPE_CHECKING:
    import torch


# Of the memory that is free, what a training may plan with: on a CPU others need some, too.
GPU_SHARE, CPU_SHARE = 0.85, 0.5


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
        processes: how many train together, each on a GPU of its own.
        loggers: where the loss curve of a training also goes: tensorboard, mlflow, wandb.
        cluster: workers on a Ray cluster that compute; None: this process does.
    """

    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    batch_size: int = 64
    mini_batch_tokens: int = 0
    memory_share: float = 0.85
    processes: int = 1
    loggers: tuple[str, ...] = ("tensorboard",)
    cluster: Cluster | None = None

    def of_a_worker(self) -> "Compute":
        """That of a worker on the cluster, which sees only GPUs of its own."""
        return replace(self, cluster=None, device="cuda" if self.device.startswith("cuda") else self.device)

    def torch_device(self) -> str:
        """The device as torch names it."""
        import torch

        if self.device != "auto":
            return self.device
        return "cuda" if torch.cuda.is_available() else "cpu"

    def torch_dtype(self) -> "torch.dtype":
        """bfloat16 on a GPU or CPU that multiplies it, else float16 on a GPU and float32 on a CPU, unless dtype says otherwise.

        On a CPU with AVX512-BF16 it encodes about twice as fast; cosines stay within 1e-4 of float32. GPUs before Ampere
        (T4, V100) only imitate bfloat16, but multiply float16.
        """
        import torch

        if self.dtype != "auto":
            return getattr(torch, self.dtype)
        if self.torch_device().startswith("cuda"):
            able = torch.cuda.is_bf16_supported(including_emulation=False)
            return torch.bfloat16 if able else torch.float16
        capabilities = torch.cpu.get_capabilities()
        able = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
        return torch.bfloat16 if able else torch.float32

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


def release_memory() -> None:
    """Give back what models that are not needed any more have left on the GPU."""
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
