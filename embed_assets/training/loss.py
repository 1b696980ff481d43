"""The loss of fine-tuning."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from embed_assets.training.settings import TrainingSettings

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer


# Padding of real triplets, as a multiple of their tokens: 1.6 to 1.7 without parts, 1.26 with 4, 1.12 with 8, 1.08 with 12.
PARTS = 8


def contrastive_loss(
    model: "SentenceTransformer", settings: TrainingSettings, mini_batch_size: int, processes: int
) -> "torch.nn.Module":
    """InfoNCE over in-batch and hard negatives (van den Oord et al., arXiv:1807.03748), of all processes together.

    With ``matryoshka_dimensions`` it is the sum of the losses of the leading dimensions of each vector and of the
    full vector (Kusupati et al., arXiv:2205.13147).

    Args:
        model: the model that is trained.
        settings: temperature and dimensions.
        mini_batch_size: of GradCache (arXiv:2101.06983); 0 does without.
        processes: how many train together.

    Raises:
        ValueError: a dimension is larger than the model's.
    """
    from sentence_transformers.sentence_transformer import losses

    options = {"scale": 1.0 / settings.temperature, "gather_across_devices": processes > 1}
    if mini_batch_size:
        loss = losses.CachedMultipleNegativesRankingLoss(model, mini_batch_size=mini_batch_size, **options)
    else:
        loss = _loss_by_length(model, options)
    if not settings.matryoshka_dimensions:
        return loss
    full = model.get_embedding_dimension()
    largest = max(settings.matryoshka_dimensions)
    if largest > full:
        raise ValueError(
            f"training.matryoshka_dimensions: {largest} is more than the {full} dimensions of the base model; "
            f"name numbers from 1 to {full}"
        )
    return losses.MatryoshkaLoss(model, loss, sorted({full, *settings.matryoshka_dimensions}, reverse=True))


def _loss_by_length(model: "SentenceTransformer", options: dict):
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    class LossByLength(MultipleNegativesRankingLoss):
        """MultipleNegativesRankingLoss with less padding."""

        def forward(self, sentence_features, labels):
            columns = list(sentence_features)
            embeddings = embed_by_length(self.model, columns)
            if embeddings is None:
                return super().forward(columns, labels)
            return self.compute_loss_from_embeddings(embeddings, labels)

    # The model card shows the name of the loss.
    LossByLength.__name__ = MultipleNegativesRankingLoss.__name__
    return LossByLength(model, **options)


def embed_by_length(model: "torch.nn.Module", columns: Sequence[dict], parts: int = PARTS) -> "list[torch.Tensor] | None":
    """Embed all texts of a batch in parts of similar length, so that few tokens are padding.

    The batch stays as it was drawn, and so do loss and gradients, but for rounding. Batches of triplets of
    similar length would save less (padding stays at 1.3 times the tokens) and be less random.

    Args:
        model: a SentenceTransformer, or what wraps it.
        columns: token batches of the same number of texts, such as anchors, positives and negatives.
        parts: how many forward passes.

    Returns:
        One tensor (texts, dimensions) for each column; None if the texts cannot be mixed.
    """
    import torch
    from sentence_transformers.base.losses.merged_forward import merge_feature_batches

    batch = merge_feature_batches(columns)
    mask = (batch or {}).get("attention_mask")
    if mask is None or not mask[:, 0].all():  # padded on the left
        return None
    lengths = mask.sum(dim=1)
    order = torch.argsort(lengths, stable=True)
    embeddings = []
    for rows in order.tensor_split(min(parts, len(order))):
        width = int(lengths[rows].max())
        part = {
            key: value[rows, :width] if isinstance(value, torch.Tensor) and value.shape[:2] == mask.shape else value
            for key, value in batch.items()
        }
        embeddings.append(model(part)["sentence_embedding"])
    return list(torch.cat(embeddings)[torch.argsort(order)].chunk(len(columns)))
