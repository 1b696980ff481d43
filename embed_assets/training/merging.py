"""A fine-tuned model and its base model, made one."""

from typing import TYPE_CHECKING

from embed_assets.models.encoders import load_sentence_transformer
from embed_assets.models.settings import BaseModelSettings

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def merge_with_base(model: "SentenceTransformer", base_model: BaseModelSettings, weight: float) -> None:
    """Average the weights of a fine-tuned model with those of the model that it started from, in place.

    What the base model knew of other matters comes back, at little cost in what was learnt (LM-Cocktail, Xiao et al.,
    arXiv:2311.13534; model soups, Wortsman et al., arXiv:2203.05482).

    Args:
        model: the fine-tuned model.
        base_model: what it started from.
        weight: of the fine-tuned weights, above 0; 1 leaves them as they are.

    Raises:
        ValueError: the two do not have the same weights.
    """
    import torch

    if weight == 1:
        return
    before, after = load_sentence_transformer(base_model, "cpu").state_dict(), model.state_dict()
    shapes = ({name: tuple(tensor.shape) for name, tensor in state.items()} for state in (before, after))
    if next(shapes) != next(shapes):
        raise ValueError(f"training.merge: the fine-tuned model has other weights than {base_model.name}; set it to 1")
    with torch.no_grad():
        for name, tensor in after.items():
            if tensor.is_floating_point():
                base = before[name].to(device=tensor.device, dtype=torch.float32)
                tensor.copy_(torch.lerp(base, tensor.float(), weight))
