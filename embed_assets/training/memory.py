"""How many tokens a training can compute at once on a device."""

import logging
from typing import TYPE_CHECKING

from embed_assets.models.hardware import Compute
from embed_assets.training.settings import TrainingSettings

if TYPE_CHECKING:
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
    """
    chosen = compute.mini_batch_tokens or settings.mini_batch_tokens
    if chosen or model.transformers_model is None:
        return chosen
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    free = compute.free_memory() - BYTES_OF_A_TRAINED_WEIGHT * trained
    each = bytes_per_token(model, compute)
    fitting = max(1, int(free / each))
    if fitting >= texts * model.max_seq_length:
        return 0
    tokens = max(model.max_seq_length, fitting)
    logger.info("mini-batches of %d tokens, each of which takes %d kB while it is trained on", tokens, each / 1000)
    return tokens


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
