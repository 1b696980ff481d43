"""Text to a vector for each of its tokens, for late interaction."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from embed_assets.models.batches import batches_by_tokens
from embed_assets.models.encoders import load_sentence_transformer
from embed_assets.models.hardware import Compute, explain_out_of_memory, require_finite
from embed_assets.models.lengths import PASSAGE, QUERY, Task, tokens_of
from embed_assets.models.locations import locate_model
from embed_assets.models.prompts import prompt_of, with_prompts
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.token_projection import TOKENS, layers_for_tokens, load_projection

if TYPE_CHECKING:
    import torch
    from sentence_transformers import MultiVectorEncoder, SentenceTransformer
    from sentence_transformers.base.modules import Dense

# Of 1024 dimensions in float16: 128 MiB.
TOKENS_IN_A_BLOCK = 2**16


class TokenEncoder:
    """The vectors of the tokens of queries and passages, from an embedding model that need not be trained for that.

    Those that mark where a text begins and ends, such as [CLS] and [SEP], are among them: they hold what the whole text
    says, and in models that pool one token alone they are what was trained.

    Args:
        settings: the base model's settings (lengths in tokens and prompts hold for its fine-tuned versions too).
        name: folder of a fine-tuned model; the base model if None.
        compute: device, dtype and batch size.
    """

    def __init__(self, settings: BaseModelSettings, name: str | None = None, compute: Compute = Compute()):
        self.settings = with_prompts(settings, name)
        self.name = name or settings.name
        self.compute = compute
        self._model: MultiVectorEncoder | None = None

    def encode_queries(self, texts: Sequence[str]) -> "list[torch.Tensor]":
        """Unit vectors of the tokens of each query, float16, shape (tokens, dimensions)."""
        return self._encode(texts, QUERY)

    def encode_passages(self, texts: Sequence[str]) -> "list[torch.Tensor]":
        """Unit vectors of the tokens of each passage; as encode_queries."""
        return self._encode(texts, PASSAGE)

    def blocks(self, texts: Sequence[str], tokens: int = TOKENS_IN_A_BLOCK) -> Iterator[list[str]]:
        """The passages in blocks that have at most so many tokens together, longest first; a single text may have more."""
        # Mostly a token has a character at least, and the model reads no more than so many tokens of a passage.
        ordered, longest = sorted(texts, key=len, reverse=True), tokens_of(self.settings, PASSAGE)
        sizes = [min(len(text), longest) for text in ordered]
        starts, size = [], tokens
        for row, of_text in enumerate(sizes):
            if size + of_text > tokens:
                starts.append(row)
                size = 0
            size += of_text
        for start, end in pairwise([*starts, len(ordered)]):
            yield ordered[start:end]

    def _encode(self, texts: Sequence[str], task: Task) -> "list[torch.Tensor]":
        import torch

        model, prompt = self._load(), prompt_of(self.settings, task)
        found: dict[int, torch.Tensor] = {}
        with explain_out_of_memory("lower batch_size of the resource 'gpu', or base_model.max_tokens"):
            for batch in batches_by_tokens(model, texts, self.compute.batch_size, tokens_of(self.settings, task)):
                encoded = model.encode(
                    [texts[place] for place in batch], prompt=prompt, batch_size=len(batch), task=task, show_progress_bar=False
                )
                found |= dict(zip(batch.tolist(), encoded, strict=True))
        # In bfloat16 they would be normalized within 1% only.
        vectors = [torch.nn.functional.normalize(found[place].float(), dim=1) for place in range(len(texts))]
        if vectors:  # all at once: each look makes a GPU wait
            require_finite(torch.cat(vectors), self.name, self.compute)
        return [of_text.half() for of_text in vectors]

    def _load(self) -> "MultiVectorEncoder":
        if self._model is None:
            model = load_sentence_transformer(self.settings, self.compute.torch_device(), self.name)
            location = locate_model(self.name)
            projection = load_projection(location) if isinstance(location, Path) else None
            self._model = without_pooling(model, projection).to(self.compute.torch_dtype())
        return self._model


def pool_tokens(vectors: "torch.Tensor", factor: float) -> "torch.Tensor":
    """The unit vectors of the tokens of a passage, so many of them made one, its mean: those that are most alike.

    Hierarchical clustering, the first vector apart (Clavié, Chaffin and Adams, arXiv:2409.14683).

    Args:
        vectors: shape (tokens, dimensions).
        factor: how many become one; 1 changes nothing.
    """
    from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling

    return HierarchicalTokenPooling(factor).pool_one(vectors) if factor > 1 else vectors


def without_pooling(model: "SentenceTransformer", projection: "Dense | None" = None) -> "MultiVectorEncoder":
    """The model up to its pooling; what projects its one vector projects the tokens, unless they have their own projection.

    ``MultiVectorEncoder(FOLDER)`` would add a projection with random weights to a model of single vectors.

    Args:
        model: as it is saved.
        projection: of the tokens.

    Raises:
        ValueError: the model has no tokens with vectors of their own.
    """
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    if not isinstance(model[0], Transformer):
        raise ValueError(
            f"late interaction needs the tokens of a transformer, but this model begins with {type(model[0]).__name__}: "
            "set late_interaction.enabled to false"
        )
    projections = [projection] if projection is not None else layers_for_tokens(model)
    for module in projections:
        module.module_input_name = module.module_output_name = TOKENS
    return MultiVectorEncoder(modules=[model[0], *projections, MultiVectorMask()], device=str(model.device))
