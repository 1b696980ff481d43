"""How many tokens a training can compute at once on a device."""

import logging
from typing import TYPE_CHECKING

from embed_assets.models.hardware import Compute, OutOfMemoryError
from embed_assets.training.settings import TrainingSettings

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)
# Of each weight that is trained: its gradient and the two moments of AdamW, in float32.
BYTES_OF_A_TRAINED_WEIGHT = 12


def mini_batch_tokens(model: "SentenceTransformer", settings: TrainingSettings, compute: Compute, texts: int) -> int:
    """Tokens of a GradCache mini-batch: what the settings say, or what the memory has room for.

    Args:
        model: the model, as it is trained.
        settings: batch size and mini-batches.
        compute: device, dtype, and mini-batches that override those of the settings.
        texts: texts in a batch of one process: queries, positives and negatives.

    Returns:
        The number of tokens; 0 if a whole batch of the longest texts has room, which takes no GradCache.

    Raises:
        OutOfMemoryError: a GPU has no room for what training the weights takes, however few texts it computes at once.
    """
    chosen = compute.mini_batch_tokens or settings.mini_batch_tokens
    if chosen or model.transformers_model is None:
        return chosen
    trained = sum(_own(weight).numel() for weight in model.parameters() if weight.requires_grad)
    free, needed = compute.free_memory(), BYTES_OF_A_TRAINED_WEIGHT * trained
    if free <= needed and compute.torch_device().startswith("cuda"):
        raise OutOfMemoryError(
            f"the gradients of {trained / 1e9:.1f} billion weights and the optimizer's state take {needed / 1e9:.0f} GB, and "
            f"{compute.torch_device()} has {free / 1e9:.0f} GB for them. To need less: train adapters alone, with "
            "training.lora_rank, divide the weights over several GPUs, with processes and sharded of the resource 'gpu', or take "
            "a smaller base model"
        )
    each, of_all = bytes_per_token(model, compute)
    fitting = max(1, int((free - needed - of_all) / each))
    fitting = least_of_all(fitting, model.device)
    if fitting >= texts * model.max_seq_length:
        return 0
    tokens = max(model.max_seq_length, fitting)
    logger.info("mini-batches of %d tokens, each of which takes %d kB while it is trained on", tokens, each / 1000)
    return tokens


def least_of_all(number: int, device: "torch.device") -> int:
    """The least number that any of the processes that train together has, so that all compute in as many parts."""
    import torch

    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return number
    least = torch.tensor(number, dtype=torch.int64, device=device)
    torch.distributed.all_reduce(least, torch.distributed.ReduceOp.MIN)
    return int(least.item())


def bytes_per_token(model: "SentenceTransformer", compute: Compute) -> tuple[float, int]:
    """What the backward pass keeps of a token in the longest texts, and of a batch whatever its size, in bytes.

    The tensors that autograd saves of one text and of two are counted, each storage once, without the weights themselves. What
    both have is no token's: autocast keeps a copy of each weight in its dtype.
    """
    one, two = (_kept(model, compute, texts) for texts in (1, 2))
    return (two - one) / model.max_seq_length, max(0, 2 * one - two)


def _kept(model: "SentenceTransformer", compute: Compute, texts: int) -> int:
    """What autograd saves of so many texts of the greatest length, in bytes."""
    import torch

    model.train()  # as it will be: a model that was just loaded is not, and keeps all in spite of gradient checkpointing
    device = torch.device(compute.torch_device())
    inputs = model.preprocess(["word " * 2 * model.max_seq_length] * texts)
    inputs = {name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in inputs.items()}
    weights = {_own(weight).untyped_storage()._cdata for weight in model.parameters()}
    saved: dict[int, torch.UntypedStorage] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            saved[storage._cdata] = storage
        return tensor

    with torch.enable_grad(), compute.autocast(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        embedding = model(inputs)["sentence_embedding"]
        # Only now: the weights of a divided layer are given back after it, and take nothing.
        found = sum(storage.nbytes() for storage in saved.values())
        del embedding
    return found


def _own(weight: "torch.Tensor") -> "torch.Tensor":
    """A weight, or what this process has of it where it is divided over several."""
    from torch.distributed.tensor import DTensor

    return weight.to_local() if isinstance(weight, DTensor) else weight
