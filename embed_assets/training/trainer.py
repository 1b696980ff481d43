"""What every training shares, whatever model it trains: arguments, callbacks, resuming and saving."""

import logging
import math
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from embed_assets.models.hardware import Compute, explain_out_of_memory
from embed_assets.training.log import loss_curve
from embed_assets.training.settings import RerankerSettings, TrainingSettings
from embed_assets.training.states import STATE, fetch_states, last_state, states_callback

if TYPE_CHECKING:
    import torch
    from sentence_transformers import CrossEncoder, SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers.base.trainer import BaseTrainer
    from sentence_transformers.base.training_args import BaseTrainingArguments
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)
LOGGED_LOSSES = 25
# Whole weights in a state of a training that was divided over processes, in the place of a model folder.
WEIGHTS = "weights.safetensors"
LENGTHS_CARD = """
## Lengths

Queries are cut at {query} tokens and passages at {passage}, prompts included, by `encode_query` and `encode_document`:

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("FOLDER")
cosines = model.similarity(model.encode_query(["a query"]), model.encode_document(["a passage"]))
```

`encode` cuts both at {longest}, unless it is told `task="query"` or `task="document"`.
"""


def training_arguments(
    kind: "type[BaseTrainingArguments]",
    scratch: Path,
    examples: int,
    settings: TrainingSettings | RerankerSettings,
    compute: Compute,
    weight_decay: float,
    evaluate: bool,
    processes: int = 1,
    **more: Any,
) -> "BaseTrainingArguments":
    """Arguments of a trainer: AdamW with a linear warm-up and a cosine decay, and a state to resume from.

    Args:
        kind: the class of the arguments.
        scratch: where the training state is kept.
        examples: how many are trained on.
        settings: how to train.
        compute: device and dtype.
        weight_decay: of AdamW.
        evaluate: compute the dev loss after each epoch.
        processes: how many train together; each takes its part of a batch.
        more: further arguments; they take the place of those made here.
    """
    import torch

    device, dtype = torch.device(compute.torch_device()), compute.torch_dtype()
    if dtype == torch.float16 and device.type == "cpu":
        raise ValueError("float16 trains on GPUs only: set dtype of the resource 'gpu' to auto")
    batch_size = min(settings.batch_size, examples)
    steps = training_steps(examples, settings)
    common = {
        "output_dir": str(scratch / STATE),
        "use_cpu": device.type == "cpu",
        "bf16": dtype == torch.bfloat16,
        "fp16": dtype == torch.float16,  # with a scaler of the gradients
        "num_train_epochs": settings.epochs,
        "per_device_train_batch_size": max(1, batch_size // processes),
        "per_device_eval_batch_size": max(1, batch_size // processes),
        "learning_rate": settings.learning_rate,
        "weight_decay": weight_decay,
        "warmup_steps": math.ceil(settings.warmup_share * steps),
        "lr_scheduler_type": "cosine",
        "seed": settings.seed,
        "data_seed": settings.seed,
        "save_strategy": "steps",
        "save_steps": max(1, steps // settings.checkpoints),
        "save_total_limit": 2,
        "eval_strategy": "epoch" if evaluate else "no",
        "logging_steps": max(1, steps // LOGGED_LOSSES),
        "logging_nan_inf_filter": False,
        "disable_tqdm": not sys.stderr.isatty(),
        "dataloader_pin_memory": device.type != "cpu",
        "report_to": "none",
    }
    arguments = kind(**common | more)
    # One process has one GPU, however many there are: DataParallel would split its batches.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    if device.index is not None and processes == 1:
        use_device(arguments, device)
    return arguments


def use_device(arguments: "BaseTrainingArguments", device: "torch.device") -> None:
    """Have a trainer use this device: by itself it takes the first GPU, whatever it is asked for."""
    import torch

    if device.type == "cuda":
        torch.cuda.set_device(device)
    arguments.__dict__["_setup_devices"] = device  # the cached property that arguments.device reads


def master_weights(model: "SentenceTransformer | CrossEncoder") -> None:
    """Keep the weights in float32 while they are trained, in whatever dtype they are stored.

    bfloat16 has 8 significant bits: a step of AdamW, about the learning rate, is lost on any weight that is more than some
    hundred times larger. Products are computed in the dtype of the arguments all the same (mixed precision, arXiv:1710.03740).
    """
    model.float()


def steps_of_an_epoch(examples: int, settings: TrainingSettings | RerankerSettings) -> int:
    """How often the weights change in an epoch; its last batch may be smaller than the others."""
    return math.ceil(examples / settings.batch_size)


def training_steps(examples: int, settings: TrainingSettings | RerankerSettings) -> int:
    """How often the weights change in all epochs."""
    return math.ceil(steps_of_an_epoch(examples, settings) * settings.epochs)


def train(trainer: "BaseTrainer", scratch: Path, remedy: str) -> pl.DataFrame:
    """Run a training to its end, from its newest complete state if it was interrupted.

    Args:
        trainer: with its arguments, data and loss.
        scratch: where the training state is kept.
        remedy: which settings to lower if memory is short.

    Returns:
        The loss curve, as loss_curve describes it.

    Raises:
        OutOfMemoryError: the memory of the device is too small.
    """
    from transformers.trainer_callback import PrinterCallback, ProgressCallback

    trainer.remove_callback(PrinterCallback)
    if trainer.args.disable_tqdm:
        trainer.remove_callback(ProgressCallback)
    trainer.add_callback(states_callback(scratch))
    with trainer.args.main_process_first(desc="the fetching of states"):
        if trainer.args.local_process_index == 0:
            fetch_states(scratch)
    last = last_state(scratch / STATE)
    start = f", from {last.name}" if last else ""
    logger.info("training on %d examples on %s%s", len(trainer.train_dataset), trainer.args.device, start)
    with explain_out_of_memory(
        f"{remedy}. What was trained up to the last saved state is kept, and a new run goes on from there"
    ):
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    return loss_curve(trainer.state.log_history)


def resuming_trainer() -> "type[SentenceTransformerTrainer]":
    """A trainer of sentence-transformers that goes on from each of its states, in one process or several."""
    from safetensors.torch import load_file
    from sentence_transformers import SentenceTransformerTrainer

    class ResumingTrainer(SentenceTransformerTrainer):
        def _load_from_checkpoint(self, checkpoint_path: str) -> None:
            weights = Path(checkpoint_path) / WEIGHTS
            if weights.is_file():
                self.model.load_state_dict(load_file(weights))
            else:
                super()._load_from_checkpoint(checkpoint_path)

        def _run_epoch(self, *, epoch: int, train_dataloader: Any, **options: Any) -> Any:
            # Where batches are skipped, the trainer does not reach the sampler of several processes, which has then the
            # order of the first epoch.
            sampler = train_dataloader.batch_sampler
            while sampler is not None:
                if hasattr(sampler, "set_epoch"):
                    sampler.set_epoch(epoch)
                sampler = getattr(sampler, "batch_sampler", None)
            return super()._run_epoch(epoch=epoch, train_dataloader=train_dataloader, **options)

    return ResumingTrainer


def set_dropout(model: "SentenceTransformer | CrossEncoder", rate: float | None) -> None:
    """Set the rate of all dropout layers of a model, and of the attention that has its own; None leaves them."""
    import torch

    if rate is None:
        return
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = rate
        elif hasattr(module, "dropout_prob"):
            module.dropout_prob = rate


def save_model(model: "SentenceTransformer | CrossEncoder", folder: Path) -> None:
    """Save a trained model; the same training gives the same files, however long it took and how often it was interrupted."""
    model.eval()
    model.save_pretrained(str(folder), safe_serialization=True)
    card = folder / "README.md"
    varying = re.compile(r"^### Training (Logs|Time)\n.*?(?=^##)", re.DOTALL | re.MULTILINE)
    words = varying.sub("", card.read_text(encoding="utf-8"))
    query, passage = (getattr(model[0], name, None) for name in ("query_length", "document_length"))
    if query and passage:
        words += LENGTHS_CARD.format(query=query, passage=passage, longest=model.max_seq_length)
    card.write_text(words, encoding="utf-8")


def merge_adapters(model: "SentenceTransformer", whole: "PreTrainedModel", adapters: str, revision: str = "") -> None:
    """Put weights into a model, with low-rank adapters added to them.

    Args:
        model: gets them.
        whole: the weights that the adapters are for.
        adapters: folder of the adapters, or their name on a hub.
        revision: their commit on a hub; empty: the newest.
    """
    from peft import PeftModel

    model[0].model = PeftModel.from_pretrained(whole, adapters, revision=revision or None).merge_and_unload()
