"""The loss of fine-tuning."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from embed_assets.training.memory import least_of_all
from embed_assets.training.settings import TrainingSettings

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

    from embed_assets.training.false_negatives import KnownAnswers


# Padding of real triplets, as a multiple of their tokens: 1.6 to 1.7 without parts, 1.26 with 4, 1.12 with 8, 1.08 with 12.
PARTS = 8
# On a GPU a part must be worth the launch of its kernels: weights of a layer times tokens. A step of 96 texts took an H200, with
# one part and with eight, 25 and 132 ms of 23 million weights, and 94 and 443 ms (24 texts) of 1.2 billion.
WORK_OF_A_PART = 2e11


def contrastive_loss(
    model: "SentenceTransformer",
    settings: TrainingSettings,
    mini_batch_tokens: int,
    processes: int,
    known: "KnownAnswers | None" = None,
) -> "torch.nn.Module":
    """InfoNCE over in-batch and hard negatives (van den Oord et al., arXiv:1807.03748), of all processes together.

    With ``matryoshka_dimensions`` it is the sum of the losses of the leading dimensions of each vector and of the
    full vector (Kusupati et al., arXiv:2205.13147).

    Args:
        model: the model that is trained.
        settings: temperature and dimensions.
        mini_batch_tokens: of GradCache (arXiv:2101.06983), with padding; 0 does without.
        processes: how many train together.
        known: what is no negative of which query; the labels that the loss is given are then the numbers of its examples.

    Raises:
        ValueError: a dimension is larger than the model's.
    """
    from sentence_transformers.sentence_transformer import losses

    similarity = MaskedCosine(known, processes)
    options = {"scale": 1.0 / settings.temperature, "gather_across_devices": processes > 1, "similarity_fct": similarity}
    kind: Any = _loss_by_tokens(mini_batch_tokens) if mini_batch_tokens else _loss_by_length()

    class MaskedLoss(kind):
        def forward(self, sentence_features, labels):
            similarity.expect(labels)
            return super().forward(sentence_features, labels)

    # The model card shows the name of the loss.
    MaskedLoss.__name__ = kind.__name__
    loss = MaskedLoss(model, **options)
    dimensions = trained_dimensions(model, settings)
    return losses.MatryoshkaLoss(model, loss, dimensions) if settings.matryoshka_dimensions else loss


def trained_dimensions(model: "SentenceTransformer", settings: TrainingSettings) -> list[int]:
    """How many leading dimensions of a vector have a loss of their own, all of them first.

    Raises:
        ValueError: a dimension is larger than the model's.
    """
    full = model.get_embedding_dimension()
    assert full is not None
    largest = max(settings.matryoshka_dimensions, default=0)
    if largest > full:
        raise ValueError(
            f"training.matryoshka_dimensions: {largest} is more than the {full} dimensions of the base model; "
            f"name numbers from 1 to {full}"
        )
    return sorted({full, *settings.matryoshka_dimensions}, reverse=True)


class Masked:
    """Puts -inf in the place of the scores of what is no negative; losses ask for the rows of a batch in order.

    Args:
        known: what is no negative of which query; None masks nothing.
        processes: how many train together.
    """

    def __init__(self, known: "KnownAnswers | None", processes: int):
        self._known, self._processes = known, processes
        self._mask: torch.Tensor | None = None
        self._row = 0

    def expect(self, labels: "torch.Tensor | None") -> None:
        """Take the batch whose examples have these numbers, in this process."""
        import torch

        if self._known is None or labels is None:
            return
        batch, first = whole_batch(labels, self._processes)
        mask = self._known.mask(batch.cpu().numpy(), range(first, first + len(labels)))
        self._mask, self._row = self._in_order(torch.from_numpy(mask).to(labels.device), len(batch)), 0

    def _in_order(self, mask: "torch.Tensor", batch_size: int) -> "torch.Tensor":
        """The mask, whose columns are all positives, then all first negatives and so on, in the order of the scores."""
        return mask

    def masked(self, scores: "torch.Tensor") -> "torch.Tensor":
        """The scores of the next queries, shape (queries, passages)."""
        if self._mask is None:
            return scores
        mask = self._mask[self._row : self._row + len(scores)]
        self._row = (self._row + len(scores)) % len(self._mask)
        return scores.masked_fill(mask, float("-inf"))


def whole_batch(labels: "torch.Tensor", processes: int) -> "tuple[torch.Tensor, int]":
    """The labels of the examples of all processes, and where those of this one begin."""
    from sentence_transformers.util import all_gather, get_rank

    return (all_gather(labels), get_rank() * len(labels)) if processes > 1 else (labels, 0)


class MaskedCosine(Masked):
    """Cosines of queries and passages, as a loss of sentence-transformers asks for them."""

    __name__ = "cos_sim"

    def __call__(self, queries: "torch.Tensor", passages: "torch.Tensor") -> "torch.Tensor":
        from sentence_transformers.util import cos_sim

        return self.masked(cos_sim(queries, passages))


def _loss_by_length() -> type:
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    class LossByLength(MultipleNegativesRankingLoss):
        """MultipleNegativesRankingLoss with less padding."""

        def forward(self, sentence_features, labels):
            columns = list(sentence_features)
            embeddings = embed_by_length(self.model, columns)
            if embeddings is None:
                return super().forward(columns, labels)
            return self.compute_loss_from_embeddings(embeddings, labels)

    LossByLength.__name__ = MultipleNegativesRankingLoss.__name__
    return LossByLength


def _loss_by_tokens(tokens: int) -> type:
    from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss

    class LossByTokens(CachedMultipleNegativesRankingLoss):
        """CachedMultipleNegativesRankingLoss whose mini-batches hold so many tokens, padding included.

        Its own mini_batch_num_tokens counts no padding, so that a long text among short ones takes several times the memory.
        """

        def forward(self, sentence_features, labels):
            columns = list(sentence_features)
            fitting = max(1, tokens // max(column["input_ids"].shape[1] for column in columns))
            self.mini_batch_size = least_of_all(fitting, columns[0]["input_ids"].device)
            return super().forward(columns, labels)

        def get_config_dict(self):
            # The model card is part of the model, and the mini-batches depend on the machine.
            return {name: value for name, value in super().get_config_dict().items() if not name.startswith("mini_batch")}

    LossByTokens.__name__ = CachedMultipleNegativesRankingLoss.__name__
    return LossByTokens


def embed_by_length(model: "torch.nn.Module", columns: Sequence[dict], parts: int = 0) -> "list[torch.Tensor] | None":
    """Embed all texts of a batch in parts of similar length, so that few tokens are padding.

    The batch stays as it was drawn, and so do loss and gradients, but for rounding. Batches of triplets of
    similar length would save less (padding stays at 1.3 times the tokens) and be less random.

    Args:
        model: a SentenceTransformer, or what wraps it.
        columns: token batches of the same number of texts, such as anchors, positives and negatives.
        parts: how many forward passes; 0: as many as pay.

    Returns:
        One tensor (texts, dimensions) for each column; None if the texts cannot be mixed.
    """
    import torch

    merged = by_length(columns)
    if merged is None:
        return None
    batch, order, lengths = merged
    ordered = lengths[order].tolist()  # a GPU is waited for once
    parts = min(parts or parts_of_all(model, order, ordered[-1]), len(order))
    ends = [part[-1] for part in np.array_split(ordered, parts)]
    embeddings = [
        model(shortened(batch, rows, int(longest)))["sentence_embedding"]
        for rows, longest in zip(order.tensor_split(parts), ends, strict=True)
    ]
    return list(torch.cat(embeddings)[torch.argsort(order)].chunk(len(columns)))


def parts_of_all(model: "torch.nn.Module", order: "torch.Tensor", longest: int) -> int:
    """parts_that_pay of a batch; as few in all processes, which have to make their forward passes together.

    Args:
        model: as of parts_that_pay.
        order: of the texts, on the device that computes them.
        longest: tokens of the longest text.
    """
    return least_of_all(parts_that_pay(model, order.device.type, len(order) * longest), order.device)


def parts_that_pay(model: "torch.nn.Module", device: str, tokens: int) -> int:
    """Into how many forward passes a batch is divided.

    Each saves padding. On a GPU each also launches the kernels of all layers, which takes longer than computing them where a
    model is small: a layer has about 12 times the square of its width in weights (Kaplan et al., arXiv:2001.08361).

    Args:
        model: a SentenceTransformer, or what wraps it.
        device: "cpu", "cuda" …
        tokens: of the batch, with padding.
    """
    if device == "cpu":
        return PARTS
    transformer = getattr(getattr(model, "module", model), "transformers_model", None)
    width = getattr(getattr(transformer, "config", None), "hidden_size", 0)
    return max(1, min(PARTS, int(12 * width**2 * tokens / WORK_OF_A_PART)))


def by_length(columns: Sequence[dict]) -> "tuple[dict, torch.Tensor, torch.Tensor] | None":
    """All texts of the columns as one batch, their rows from the shortest text to the longest, and their lengths in tokens.

    None if the texts cannot be mixed.
    """
    import torch
    from sentence_transformers.base.losses.merged_forward import merge_feature_batches

    batch = merge_feature_batches(columns)
    mask = (batch or {}).get("attention_mask")
    if mask is None or not least_of_all(int(mask[:, 0].all()), mask.device):  # padded on the left
        return None
    lengths = mask.sum(dim=1)
    return batch, torch.argsort(lengths, stable=True), lengths


def shortened(batch: dict, rows: "torch.Tensor", width: int) -> dict:
    """Some rows of a batch, up to a number of tokens."""
    import torch

    shape = batch["attention_mask"].shape
    return {
        key: value[rows, :width] if isinstance(value, torch.Tensor) and value.shape[:2] == shape else value
        for key, value in batch.items()
    }
