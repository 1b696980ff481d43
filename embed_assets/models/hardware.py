"""What the machine can do, and how to let it."""

import ctypes
import functools
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Compute:
    """Where and how to compute. None of it changes what is computed, but for rounding.

    Args:
        device: "cpu", "cuda", "cuda:1" …, or "auto": a GPU if there is one.
        dtype: of encoding and training; "auto" is bfloat16 where the hardware multiplies it, else float32.
        batch_size: texts encoded at once.
        mini_batch_size: overrides training.mini_batch_size if it is not 0.
        memory_share: share of the GPU's memory that the language model may take.
        processes: how many train together, each on a GPU of its own.
        loggers: where the loss curve of a training also goes: tensorboard, mlflow, wandb.
    """

    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    batch_size: int = 64
    mini_batch_size: int = 0
    memory_share: float = 0.85
    processes: int = 1
    loggers: tuple[str, ...] = ("tensorboard",)

    def torch_device(self) -> str:
        """The device as torch names it."""
        import torch

        if self.device != "auto":
            return self.device
        return "cuda" if torch.cuda.is_available() else "cpu"

    def torch_dtype(self) -> "torch.dtype":
        """bfloat16 on a GPU or CPU that multiplies it, else float32, unless dtype says otherwise.

        On a CPU with AVX512-BF16 it encodes about twice as fast; cosines stay within 1e-4 of float32.
        """
        import torch

        if self.dtype != "auto":
            return getattr(torch, self.dtype)
        if self.torch_device().startswith("cuda"):
            able = torch.cuda.is_bf16_supported()
        else:
            capabilities = torch.cpu.get_capabilities()
            able = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
        return torch.bfloat16 if able else torch.float32


@functools.cache
def keep_freed_memory() -> None:
    """Let glibc keep freed memory instead of giving it back to the kernel after every tensor.

    By default each large tensor is mapped and unmapped anew, and the page faults take a third of a
    training step on the CPU. Does nothing where there is no glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL("libc.so.6")
    m_trim_threshold, m_top_pad, m_mmap_max = -1, -2, -4
    libc.mallopt(m_mmap_max, 0)
    libc.mallopt(m_trim_threshold, 2**31 - 1)
    libc.mallopt(m_top_pad, 64 * 2**20)
