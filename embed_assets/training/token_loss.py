"""The loss of fine-tuning the vectors of tokens, alone or together with the one vector of a text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from embed_assets.models.token_projection import TOKENS, layers_for_tokens, token_vectors
from embed_assets.training.loss import Masked, MaskedCosine, by_length, parts_of_all, shortened, trained_dimensions
from embed_assets.training.settings import TrainingSettings

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense

    from embed_assets.training.false_negatives import KnownAnswers

ONE_VECTOR, MASK = "sentence_embedding", "attention_mask"
QUERIES_AT_ONCE = 8


class MaskedMaxSim(Masked):
    """Mean MaxSim of queries and passages, as a loss of sentence-transformers asks for it: passages query by query."""

    __name__ = "mean_colbert_scores"

    def _in_order(self, mask: "torch.Tensor", batch_size: int) -> "torch.Tensor":
        return mask.view(len(mask), -1, batch_size).transpose(1, 2).reshape(len(mask), -1)

    def __call__(self, queries, passages, queries_mask, documents_mask) -> "torch.Tensor":
        from sentence_transformers.multi_vector_encoder.scoring import mean_colbert_scores
        from torch.utils.checkpoint import checkpoint

        # The products of all tokens would take more memory than the model; they are computed twice instead.
        scores = checkpoint(mean_colbert_scores, queries, passages, queries_mask, documents_mask, use_reentrant=False)
        return self.masked(scores)


def token_loss(
    model: "SentenceTransformer",
    settings: TrainingSettings,
    mini_batch_tokens: int,
    processes: int,
    known: "KnownAnswers | None" = None,
) -> "torch.nn.Module":
    """InfoNCE over in-batch and hard negatives, with MaxSim as the score; with ``kind: both`` plus that of contrastive_loss.

    The score of two texts is the mean, over the tokens of the query, of the best cosine to a token of the passage, as in
    retrieval (late_interaction.maxsim), so that one temperature does for both losses. The model computes each text once.

    Args:
        model: the model that is trained, with its projection of the tokens if it has one.
        settings: kind, temperature and dimensions.
        mini_batch_tokens: tokens that are computed at once, with padding; what the backward pass needs of them is computed
            again when it is needed. 0 keeps it, and so do several processes.
        processes: how many train together.
        known: what is no negative of which query; the labels that the loss is given are then the numbers of its examples.

    Raises:
        ValueError: a dimension is larger than the model's.
    """
    import torch
    from sentence_transformers.base.losses.merged_forward import column_merging_disabled
    from sentence_transformers.multi_vector_encoder.losses import MultiVectorMultipleNegativesRankingLoss
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    # What is computed again in the backward pass would confuse the processes' exchange of gradients.
    mini_batch_tokens = 0 if processes > 1 else mini_batch_tokens
    layers = layers_for_tokens(model)
    scale, gather = 1.0 / settings.temperature, processes > 1
    cosine, maxsim = MaskedCosine(known, processes), MaskedMaxSim(known, processes)
    dimensions = trained_dimensions(model, settings) if settings.kind == "both" else []

    class Computed(torch.nn.Module):
        """Stands for the model in a loss whose features hold what the model has computed."""

        def forward(self, features, task=None):
            return features

    class TokenLoss(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model
            self.late = MultiVectorMultipleNegativesRankingLoss(
                Computed(),
                scale=scale,
                similarity_fct=maxsim,
                score_mini_batch_size=QUERIES_AT_ONCE,
                gather_across_devices=gather,
            )
            self.dense = MultipleNegativesRankingLoss(
                Computed(), scale=scale, similarity_fct=cosine, gather_across_devices=gather
            )

        def forward(self, sentence_features, labels):
            columns = compute_by_length(self.model, list(sentence_features), layers, mini_batch_tokens)
            maxsim.expect(labels)
            with column_merging_disabled():
                loss = self.late([{TOKENS: column[TOKENS], MASK: column[MASK]} for column in columns], labels)
            for leading in dimensions:
                cosine.expect(labels)
                vectors = [column[ONE_VECTOR][:, :leading] for column in columns]
                loss = loss + self.dense.compute_loss_from_embeddings(vectors, labels)
            return loss

        def get_config_dict(self) -> dict[str, Any]:
            return {"kind": settings.kind, "scale": scale, "similarity_fct": maxsim.__name__}

        @property
        def citation(self) -> str:
            return self.late.citation

    return TokenLoss()


def compute_by_length(
    model: "torch.nn.Module", columns: Sequence[dict], layers: "Sequence[Dense]" = (), tokens: int = 0, parts: int = 0
) -> "list[dict[str, torch.Tensor]]":
    """All texts of a batch, computed in parts of similar length, so that few tokens are padding.

    Args:
        model: a SentenceTransformer, or what wraps it.
        columns: token batches of the same number of texts, such as anchors, positives and negatives.
        layers: what projects the tokens, if the model itself does not.
        tokens: the most in a part, with padding; its activations are then computed again in the backward pass. 0: no limit.
        parts: how many forward passes, where there is no limit; 0: as many as pay.

    Returns:
        For each column ``sentence_embedding``, (texts, dimensions), ``token_embeddings``, unit vectors of shape (texts,
        tokens, dimensions), and their ``attention_mask``.
    """
    import torch
    from torch.utils.checkpoint import checkpoint

    def compute(features: dict) -> tuple:
        found = model(dict(features))
        return found[ONE_VECTOR], torch.nn.functional.normalize(token_vectors(found, layers).float(), dim=-1)

    def part(features: dict) -> tuple:
        return checkpoint(compute, features, use_reentrant=False) if tokens else compute(features)

    merged = by_length(columns)
    if merged is None:
        computed = [part(column) for column in columns]
        return [
            {ONE_VECTOR: vector, TOKENS: vectors, MASK: column[MASK]}
            for (vector, vectors), column in zip(computed, columns, strict=True)
        ]
    batch, order, lengths = merged
    found, width = [], int(lengths.max())
    parts = min(parts or parts_of_all(model, order, width), len(order))
    for rows in _rows_of_parts(order, lengths, tokens) if tokens else order.tensor_split(parts):
        vector, vectors = part(shortened(batch, rows, int(lengths[rows].max())))
        found.append((vector, torch.nn.functional.pad(vectors, (0, 0, 0, width - vectors.shape[1]))))
    back = torch.argsort(order)
    sides = [torch.cat(side)[back].chunk(len(columns)) for side in zip(*found, strict=True)]
    masks = batch[MASK][:, :width].chunk(len(columns))
    return [{ONE_VECTOR: vector, TOKENS: vectors, MASK: mask} for vector, vectors, mask in zip(*sides, masks, strict=True)]


def _rows_of_parts(order: "torch.Tensor", lengths: "torch.Tensor", tokens: int) -> "list[torch.Tensor]":
    """The rows, from the shortest text to the longest, in parts that hold at most so many tokens with their padding."""
    starts, first = [], 0
    for place, length in enumerate(lengths[order].tolist()):
        if place > first and (place - first + 1) * length > tokens:
            starts.append(place)
            first = place
    return list(order.tensor_split(starts))
