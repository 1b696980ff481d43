"""Sessions of onnxruntime, on CPUs and on GPUs.

On a GPU nothing of this ever ran here: see docs/gpu.md.
"""

import contextlib
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from embed_assets.artifacts.cache import cache_folder
from embed_assets.artifacts.files import digest_of_files

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

TENSORRT, CUDA, CPU = "TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"
# Fastest first; onnxruntime takes those that its build and the machine have.
PROVIDERS = (TENSORRT, CUDA, CPU)
# An engine of TensorRT is built for batches from one text to so many; larger ones are divided.
MOST_TEXTS = 32


def open_session(path: Path, tokens: int, threads: int = 0, providers: Sequence[str] = (CPU,)) -> "InferenceSession":
    """A session with an ONNX file.

    Args:
        path: the file.
        tokens: the longest input.
        threads: number of threads; 0 leaves the choice to onnxruntime.
        providers: where to compute, best first; those that onnxruntime has not are left out.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    there = [provider for provider in providers if provider in onnxruntime.get_available_providers()]
    if {TENSORRT, CUDA} & set(there):
        _load_libraries(TENSORRT in there)
    inputs = _inputs(path) if TENSORRT in there else []
    settings = [
        tensorrt_options(path, inputs, tokens, cache_folder("tensorrt")) if provider == TENSORRT else {} for provider in there
    ]
    for of_provider in settings:
        if of_provider:
            Path(of_provider["trt_engine_cache_path"]).mkdir(parents=True, exist_ok=True)
    return onnxruntime.InferenceSession(path, options, providers=there, provider_options=settings)


def tensorrt_options(path: Path, inputs: Sequence[str], tokens: int, engines: Path) -> dict[str, str]:
    """What TensorRT is told: to keep its engines, which take minutes to build, and for which shapes they are.

    An engine is for one range of shapes, and TensorRT's own names for engines know the layers of a model but not its weights.
    So they lie in a folder of this file's digest and this range.

    Args:
        path: the ONNX file; its weights may lie beside it.
        inputs: names of its inputs, of shape (texts, tokens).
        tokens: the longest input.
        engines: folder of all engines.
    """
    shapes = {"min": (1, 1), "opt": (MOST_TEXTS, tokens), "max": (MOST_TEXTS, tokens)}
    folder = engines / digest_of_files(path.parent, sorted(path.parent.glob(f"{path.name}*"))) / f"{MOST_TEXTS}x{tokens}"
    profile = {
        f"trt_profile_{name}_shapes": ",".join(f"{given}:{texts}x{length}" for given in inputs)
        for name, (texts, length) in shapes.items()
    }
    kept = {"trt_engine_cache_enable": "True", "trt_engine_cache_path": str(folder)}
    kept |= {"trt_timing_cache_enable": "True", "trt_timing_cache_path": str(engines)}
    # A model in float16 says so in its own types; without this, TensorRT would compute them in float32.
    half = {"trt_fp16_enable": "True"} if "fp16" in path.name else {}
    return kept | profile | half


def _inputs(path: Path) -> list[str]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return [given.name for given in onnxruntime.InferenceSession(path, options, providers=[CPU]).get_inputs()]


def _load_libraries(tensorrt: bool) -> None:
    """Load the libraries of CUDA, cuDNN and TensorRT that lie in Python packages, where onnxruntime would not look."""
    import onnxruntime

    onnxruntime.preload_dlls()
    if tensorrt:
        with contextlib.suppress(ImportError):
            importlib.import_module("tensorrt_libs")
