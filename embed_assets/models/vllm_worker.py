"""The process in which vLLM runs: JSON lines in, JSON lines out, until its input is closed.

The first line names the model and its settings; every other line is a batch of prompts. vLLM's own
output goes to standard error.
"""

import json
import os
import shutil
import sys
from pathlib import Path


def main() -> None:
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    start = json.loads(sys.stdin.readline())
    os.environ.update(VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_NO_USAGE_STATS="1", DO_NOT_TRACK="1")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    engine = _load_engine(start["model"], Path(start["converted_models"]), start["settings"], start["memory_share"])
    _reply(replies, {"ready": True})
    for line in sys.stdin:
        _reply(replies, {"answers": _answer(engine, json.loads(line), start["settings"])})


def _load_engine(model: str, converted_models: Path, settings: dict, memory_share: float):
    import torch

    if model.endswith(".gguf"):
        model = str(_convert_gguf(Path(model), converted_models))
    from vllm import LLM

    options = {"gpu_memory_utilization": memory_share}
    if not torch.cuda.is_available():
        # Sampling with a seed for each prompt needs whole prompts on the CPU; compiling costs more than it saves.
        options = {
            "enforce_eager": True,
            "enable_chunked_prefill": False,
            "max_num_batched_tokens": 2 * settings["max_model_tokens"],
        }
    return LLM(
        model=model,
        max_model_len=settings["max_model_tokens"],
        enable_prefix_caching=True,
        trust_remote_code=settings["trust_remote_code"],
        seed=0,
        **options,
    )


def _answer(engine, batch: dict, settings: dict) -> list[str]:
    from vllm import SamplingParams

    sampling = [
        SamplingParams(
            temperature=settings["temperature"],
            top_p=settings["top_p"],
            max_tokens=settings["max_new_tokens"],
            stop=batch["stop"],
            seed=seed,
        )
        for seed in batch["seeds"]
    ]
    outputs = engine.generate(batch["prompts"], sampling, use_tqdm=False)
    return [output.outputs[0].text.strip() if output.outputs[0].finish_reason == "stop" else "" for output in outputs]


def _convert_gguf(path: Path, folder: Path) -> Path:
    """Save a GGUF model once as a safetensors folder, which vLLM loads faster and on every platform."""
    if folder.is_dir():
        return folder
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    building = folder.with_name(f"{folder.name}.building.{os.getpid()}")
    model = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    model.save_pretrained(building)
    AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name).save_pretrained(building)
    try:
        building.rename(folder)
    except OSError:  # another process was faster
        shutil.rmtree(building)
    return folder


def _reply(stream, message: dict) -> None:
    stream.write(json.dumps(message) + "\n")
    stream.flush()


if __name__ == "__main__":
    main()
