"""The process in which vLLM runs: JSON lines in, JSON lines out, until its input is closed.

The first line names the model and its settings; every other line is a batch of prompts, whose answers are
sent as they are finished. A batch that comes while others are answered joins them. vLLM's own output goes to
standard error.
"""

import json
import os
import queue
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from embed_assets.artifacts.files import lock
from embed_assets.models.answers import ENDS, LIKELIEST_TOKENS, TOO_LONG, problem_of
from embed_assets.models.hardware import Compute


def main() -> None:
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    start = json.loads(sys.stdin.readline())
    engine = load_engine(start["model"], Path(start["converted_models"]), start["settings"], start["memory_share"])
    _reply(replies, {"ready": True})
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()

    def batches(wait: bool) -> dict | None:
        try:
            line = lines.get(wait)
        except queue.Empty:
            return None
        if not line:
            lines.put(line)  # for whoever looks again
        return json.loads(line) if line else None

    for answers in answer_prompts(engine, batches, start["settings"]):
        _reply(replies, {"answers": answers})


def _read(lines: "queue.SimpleQueue[str]") -> None:
    for line in sys.stdin:
        lines.put(line)
    lines.put("")


def _end_with_parent(parent: int) -> None:
    """A process whose parent was killed has another one: it would go on beside the run that comes next."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def load_engine(model: str, converted_models: Path, settings: dict, memory_share: float):
    """A vLLM engine for whole batches.

    Args:
        model: folder, .gguf file or name of the model.
        converted_models: where a .gguf file is kept as safetensors.
        settings: LanguageModelSettings as JSON values.
        memory_share: share of the GPU's memory.
    """
    os.environ.update(VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_NO_USAGE_STATS="1", DO_NOT_TRACK="1")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    import torch

    if model.endswith(".gguf"):
        model = str(convert_gguf(Path(model), converted_models))
    from vllm import LLM

    options = {"gpu_memory_utilization": memory_share, "tensor_parallel_size": settings["tensor_parallel_size"]}
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
        dtype=engine_dtype(settings["dtype"]),
        quantization=settings["quantization"] or None,
        enable_prefix_caching=True,
        trust_remote_code=settings["trust_remote_code"],
        revision=settings["revision"] or None,
        code_revision=settings["revision"] or None,
        seed=0,
        structured_outputs_config={
            "backend": "xgrammar",
            "disable_any_whitespace": True,
            "reasoning_parser": settings["reasoning_parser"],
        },
        **options,
    )


def engine_dtype(dtype: str) -> str:
    """The dtype that vLLM computes in: where "auto" would imitate bfloat16 on the CPU, it is float32.

    A CPU without instructions for it takes minutes for a token in bfloat16.
    """
    import torch

    imitated = not torch.cuda.is_available() and Compute("cpu").torch_dtype() == torch.float32
    return "float32" if dtype == "auto" and imitated else dtype


def answer_prompts(engine, batches: Callable[[bool], dict | None], settings: dict) -> Iterator[list[list]]:
    """Answer batches of prompts, as models.answers.Engine does.

    Args:
        engine: from load_engine.
        batches: gives the next batch, with ``batch`` (what tells it from others), ``prompts``, ``seeds`` and ``sampling``, or
            None where there is none; is told whether to wait for one. The end is None where it was to wait.
        settings: LanguageModelSettings as JSON values.

    Yields:
        Of each answer the batch, the number of the prompt and the fields of its Answer; those that are finished together.
    """
    without_reasoning, core = _reasoning_remover(engine, settings), engine.llm_engine
    asked: dict[str, tuple[Any, int, list[str]]] = {}
    while True:
        finished: list[list] = []
        while batch := batches(not asked and not finished):
            finished += _add_requests(engine, batch, settings, asked)
        if not asked and not finished:
            return
        for output in core.step() if asked else ():
            if output.finished:
                name, number, choices = asked.pop(output.request_id)
                finished.append([name, number, *_answer(output, choices, without_reasoning)])
        if finished:
            yield finished


def _add_requests(engine, batch: dict, settings: dict, asked: dict[str, tuple[Any, int, list[str]]]) -> list[list]:
    """Ask the prompts of a batch; returns what is answered already, because it is too long."""
    from vllm.exceptions import VLLMValidationError

    chat, too_long = settings["chat"], []
    for number, (prompt, seed) in enumerate(zip(batch["prompts"], batch["seeds"], strict=True)):
        text, name = _as_chat(engine, prompt, settings) if chat else prompt, f"{batch['batch']}.{number}"
        try:
            engine.llm_engine.add_request(name, text, sampling_params(batch["sampling"], seed, chat))
        except (ValueError, VLLMValidationError) as error:
            if "maximum" not in str(error):
                raise
            too_long.append([batch["batch"], number, "", TOO_LONG])
        else:
            asked[name] = (batch["batch"], number, batch["sampling"]["choices"])
    return too_long


def sampling_params(sampling: dict, seed: int, chat: bool = False):
    """vLLM's sampling parameters for one prompt; of a chat model the special tokens stay, which mark its reasoning."""
    from vllm import SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    if sampling["choices"]:
        return SamplingParams(temperature=0, max_tokens=1, logprobs=LIKELIEST_TOKENS, seed=seed)
    return SamplingParams(
        temperature=sampling["temperature"],
        top_p=sampling["top_p"],
        max_tokens=sampling["max_new_tokens"],
        stop=list(sampling["stop"]),
        seed=seed,
        skip_special_tokens=not chat,
        structured_outputs=StructuredOutputsParams(json=sampling["json_schema"]) if sampling["json_schema"] else None,
    )


def _answer(output, choices: list[str], without_reasoning: Callable[[str], str] = str) -> tuple[str, str, bool, int, int]:
    """The fields of an Answer."""
    completion = output.outputs[0]
    counts = (len(output.prompt_token_ids), len(completion.token_ids))
    if completion.finish_reason not in ENDS:
        return "", f"ended by {completion.finish_reason}", False, *counts
    if choices:
        likely = {item.decoded_token: item.logprob for item in completion.logprobs[0].values()}
        return json.dumps({choice: likely[choice] for choice in choices if choice in likely}), "", True, *counts
    text = without_reasoning(completion.text).strip()
    return text, problem_of(text, completion.finish_reason), True, *counts


def _as_chat(engine, prompt: str, settings: dict) -> dict:
    messages = [{"role": "user", "content": prompt}]
    tokens = engine.get_tokenizer().apply_chat_template(
        messages, add_generation_prompt=True, return_dict=False, **template_arguments(settings)
    )
    return {"prompt_token_ids": tokens}


def template_arguments(settings: dict) -> dict:
    """What the chat template is given besides the messages."""
    effort = {"reasoning_effort": settings["reasoning_effort"]} if settings["reasoning_effort"] else {}
    return effort | settings["chat_template_arguments"]


def _reasoning_remover(engine, settings: dict) -> Callable[[str], str]:
    """What vLLM's reasoning parser leaves of a text; all of it where no parser is named, or the parser finds no answer."""
    if not settings["reasoning_parser"]:
        return str
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.reasoning import ReasoningParserManager

    kind = ReasoningParserManager.get_reasoning_parser(settings["reasoning_parser"])
    parser = kind(engine.get_tokenizer(), chat_template_kwargs=template_arguments(settings))
    request = ChatCompletionRequest(messages=[], model="", skip_special_tokens=False)

    def remove(text: str) -> str:
        try:
            return parser.extract_reasoning(text, request)[1] or ""
        except NotImplementedError:  # some parsers read token ids alone; the markers are read with the answer
            return text

    return remove


def convert_gguf(path: Path, folder: Path) -> Path:
    """Save a GGUF model once as a safetensors folder, which vLLM loads faster and on every platform."""
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with lock(folder.with_name(f"{folder.name}.lock")):
        if not folder.is_dir():
            building = folder.with_name(f"{folder.name}.building")
            shutil.rmtree(building, ignore_errors=True)  # of a process that was killed
            _save_as_safetensors(path, building)
            building.rename(folder)
    return folder


def _save_as_safetensors(path: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    model = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name).save_pretrained(folder)


def _reply(stream, message: dict) -> None:
    stream.write(json.dumps(message) + "\n")
    stream.flush()


if __name__ == "__main__":
    main()
