"""A linear layer that makes the vectors of tokens shorter, kept beside a model.

It lies in a folder of its own, out of the model's list of modules: servers that know that list would put the one vector of
a text through it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense

FOLDER = "token_projection"
# Of the features that a model computes: what the tokens have before and after the projection.
TOKENS, PROJECTED = "token_embeddings", "token_vectors"


def principal_projection(vectors: "Sequence[torch.Tensor]", dimensions: int) -> "Dense":
    """The projection onto the directions in which vectors differ most, which keeps their products best.

    Args:
        vectors: of the tokens of some texts, each of shape (tokens, hidden size).
        dimensions: how many directions.

    Raises:
        ValueError: the vectors have no more dimensions than that.
    """
    import torch

    tokens = torch.cat(list(vectors)).float().cpu()
    if dimensions >= tokens.shape[1]:
        raise ValueError(
            f"training.token_dimensions is {dimensions}, but the tokens of the base model have {tokens.shape[1]}: "
            "give a smaller number, or 0 to leave them as they are"
        )
    # Without centring: products are to be kept, not differences.
    _, directions = torch.linalg.eigh(tokens.T.double() @ tokens.double())
    return _linear(directions[:, -dimensions:].flip(1).T.float().contiguous())


def _linear(weight: "torch.Tensor") -> "Dense":
    import torch
    from sentence_transformers.base.modules import Dense

    outputs, inputs = weight.shape
    names = {"module_input_name": TOKENS, "module_output_name": PROJECTED}
    return Dense(inputs, outputs, bias=False, activation_function=torch.nn.Identity(), init_weight=weight, **names)


def layers_for_tokens(model: "SentenceTransformer") -> "list[Dense]":
    """What projects the one vector of a text, and so its tokens, unless they have a projection of their own."""
    from sentence_transformers.base.modules import Dense

    return [module for module in model if isinstance(module, Dense) and module.module_output_name != PROJECTED]


def token_vectors(features: "Mapping[str, torch.Tensor]", layers: "Sequence[Dense]") -> "torch.Tensor":
    """The vectors of the tokens for late interaction, not yet of length 1.

    Args:
        features: what a model computed, with a projection of its tokens if it has one.
        layers: of layers_for_tokens.
    """
    if PROJECTED in features:
        return features[PROJECTED]
    vectors = features[TOKENS]
    for layer in layers:
        vectors = layer({layer.module_input_name: vectors})[layer.module_output_name]
    return vectors


def save_projection(projection: "Dense", model_folder: Path) -> None:
    """Write the projection into the folder of its model."""
    folder = model_folder / FOLDER
    folder.mkdir()
    projection.save(str(folder), safe_serialization=True)


def load_projection(model_folder: Path) -> "Dense | None":
    """The projection in the folder of a model; None where it has none."""
    from sentence_transformers.base.modules import Dense

    return Dense.load(str(model_folder / FOLDER)) if (model_folder / FOLDER).is_dir() else None
