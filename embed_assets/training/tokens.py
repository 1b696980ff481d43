"""What a model whose tokens are trained has besides: a projection of their vectors, and words on how to load them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from embed_assets.models.token_projection import FOLDER, principal_projection, save_projection
from embed_assets.training.evaluator import ModelInTraining

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense

# While it is trained, it is one of the model's modules, so that it is saved and resumed with them.
MODULE = "token_projection"
# Texts whose tokens show in which directions vectors differ.
SAMPLE = 512
CARD = """
## Late interaction

The vectors of the tokens were trained too: `MultiVectorEncoder` gives them. The score of a query and a passage is the mean,
over the tokens of the query, of the best cosine to a token of the passage.

```python
from sentence_transformers import MultiVectorEncoder, SentenceTransformer
{imports}
model = SentenceTransformer("FOLDER")
{projection}tokens = MultiVectorEncoder(modules=[model[0], {modules}MultiVectorMask()], similarity_fn_name="meanmaxsim")
scores = tokens.similarity(
    tokens.encode(["a query"], task="query", prompt=model.prompts["query"], normalize_embeddings=True),
    tokens.encode(["a passage"], task="document", prompt=model.prompts["document"], normalize_embeddings=True),
)
```
"""
MASK = "from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask\n"
DENSE = "from sentence_transformers.base.modules import Dense\n"
PROJECTION = f"""projection = Dense.load("FOLDER/{FOLDER}")
projection.module_output_name = projection.module_input_name
"""


def add_projection(
    model: "SentenceTransformer", encoder: ModelInTraining, texts: Sequence[str], dimensions: int
) -> "dict[str, torch.Tensor]":
    """Give a model a projection of its tokens that keeps their products as they are, as well as it can.

    Args:
        model: the model.
        encoder: with this model.
        texts: real passages, SAMPLE of which are looked at.
        dimensions: of the projected vectors.

    Returns:
        The weights that were added, by name, as they are before training.

    Raises:
        ValueError: the tokens have no more dimensions than that.
    """
    _, vectors = encoder.tokens_of_passages(texts[:SAMPLE])
    model.add_module(MODULE, principal_projection(vectors, dimensions).to(model.device))
    added = {name: weight for name, weight in model.state_dict().items() if name.startswith(f"{MODULE}.")}
    return {name: weight.detach().to("cpu", copy=True) for name, weight in added.items()}


def take_projection(model: "SentenceTransformer") -> "Dense | None":
    """Take the projection out of a model's modules; None where it has none."""
    return model._modules.pop(MODULE, None)


def save_tokens(projection: "Dense | None", folder: Path) -> None:
    """Write what the tokens of a saved model need into its folder, and how to load them into its card."""
    if projection is not None:
        save_projection(projection, folder)
    projected = projection is not None
    words = CARD.format(
        imports=(DENSE if projected else "") + MASK,
        projection=PROJECTION if projected else "",
        modules="projection, " if projected else "",
    )
    with (folder / "README.md").open("a", encoding="utf-8") as card:
        card.write(words)
