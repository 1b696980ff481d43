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
PROBED_TEXTS = 2


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
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    free, needed = compute.free_memory(), BYTES_OF_A_TRAINED_WEIGHT * trained
    if free <= needed and compute.torch_device().startswith("cuda"):
        raise OutOfMemoryError(
            f"the gradients of {trained / 1e9:.1f} billion weights and the optimizer's state take {needed / 1e9:.0f} GB, and "
            f"{compute.torch_device()} has {free / 1e9:.0f} GB for them. To need less: train adapters alone, with "
            "training.lora_rank, or take a smaller base model"
        )
    free -= needed
    each = bytes_per_token(model, compute)
    fitting = max(1, int(free / each))
    fitting = least_of_all(fitting, model.device)
    if fitting >= texts * model.max_seq_length:
        return 0
    tokens = max(model.max_seq_length, fitting)
    logger.info("mini-batches of %d tokens, each of which takes %d kB while it is trained on", tokens, each / 1000)
    return tokens


def least_of_all(number: int, device: "torch.device") -> int:
    """The least number that any of the processes that train together has: all have to make mini-batches, or none."""
    import torch

    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return number
    least = torch.tensor(number, dtype=torch.int64, device=device)
    torch.distributed.all_reduce(least, torch.distributed.ReduceOp.MIN)
    return int(least.item())


def bytes_per_token(model: "SentenceTransformer", compute: Compute) -> float:
    """What the backward pass keeps of a token in the longest texts, in bytes, measured on a small batch.

    The tensors that autograd saves are counted, each storage once, without the weights themselves.
    """
    import torch

    length, device = model.max_seq_length, torch.device(compute.torch_device())
    inputs = model.preprocess(["word " * 2 * length] * PROBED_TEXTS)
    inputs = {name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in inputs.items()}
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    saved: dict[int, int] = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    mixed = torch.autocast(device.type, compute.torch_dtype(), enabled=compute.torch_dtype() != torch.float32)
    with torch.enable_grad(), mixed, torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        embedding = model(inputs)["sentence_embedding"]
        found = sum(saved.values())
        del embedding
    return found / inputs["input_ids"].numel()
