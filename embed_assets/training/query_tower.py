"""Fine-tuning of the model of queries alone: passages keep the vectors that they have.

An index of passages can then stay as it is when a new model is published. Passages are encoded once, before training, and a
step computes nothing but the queries of its batch.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from embed_assets.evaluation.dev_set import DevSet
from embed_assets.training.examples import Examples
from embed_assets.training.loss import Masked, trained_dimensions, whole_batch
from embed_assets.training.settings import TrainingSettings

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

    from embed_assets.training.evaluator import ModelInTraining
    from embed_assets.training.false_negatives import KnownAnswers

CARD = """
## Queries alone

This model was fine-tuned for queries. Passages are encoded by the model that it started from, `{base}`:

```python
from sentence_transformers import SentenceTransformer

queries, passages = SentenceTransformer("FOLDER"), SentenceTransformer("{base}")
cosines = queries.similarity(
    queries.encode_query(["a query"]), passages.encode(["a passage"], prompt=queries.prompts["document"])
)
```
"""


class FrozenPassages:
    """The vectors of the passages of a training, as the model has them before it.

    Args:
        encoder: with the model as it is before training.
        examples: whose passages are encoded.
        dev: those of its passages too.
    """

    def __init__(self, encoder: "ModelInTraining", examples: Examples, dev: DevSet | None):
        import torch

        tables = pl.concat([examples.train, examples.dev]).drop("anchor")
        texts = [text for name in tables.columns for text in tables[name]]
        others = [] if dev is None else dev.passages["passage"].to_list()
        unique = list(dict.fromkeys([*texts, *others]))
        self._rows = {text: row for row, text in enumerate(unique)}
        self.vectors = encoder.encode_passages(unique)
        self.passages = torch.tensor([[self._rows[text] for text in row] for row in tables.iter_rows()])

    def encode(self, texts: Sequence[str]):
        """Unit vectors of passages that were encoded before, float32, shape (len(texts), dimensions)."""
        return self.vectors[[self._rows[text] for text in texts]]


def query_loss(
    model: "SentenceTransformer",
    settings: TrainingSettings,
    frozen: FrozenPassages,
    processes: int,
    known: "KnownAnswers | None" = None,
) -> "torch.nn.Module":
    """InfoNCE of queries over the passages of their batch, whose vectors do not change (van den Oord et al., arXiv:1807.03748).

    With ``matryoshka_dimensions`` it is the sum of the losses of the leading dimensions and of the whole vectors.

    Args:
        model: the model that is trained.
        settings: temperature and dimensions.
        frozen: the passages; the labels that the loss is given are the numbers of its examples.
        processes: how many train together, each on its part of a batch.
        known: what is no negative of which query.

    Raises:
        ValueError: a dimension is larger than the model's.
    """
    import torch

    similarity, dimensions = Masked(known, processes), trained_dimensions(model, settings)
    vectors = torch.from_numpy(frozen.vectors).to(model.device)
    passages = frozen.passages.to(model.device)

    class FrozenPassagesRankingLoss(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, sentence_features, labels):
            (queries,) = list(sentence_features)
            embeddings = self.model(queries)["sentence_embedding"].float()
            batch, first = whole_batch(labels, processes)
            # All positives, all first negatives and so on, as the mask has them.
            others = vectors[passages[batch].T.reshape(-1)]
            targets = torch.arange(first, first + len(labels), device=embeddings.device)
            similarity.expect(labels)
            return sum(self._loss(embeddings[:, :number], others[:, :number], targets) for number in dimensions)

        def _loss(self, queries, others, targets):
            cosines = torch.nn.functional.normalize(queries, dim=1) @ torch.nn.functional.normalize(others, dim=1).T
            return torch.nn.functional.cross_entropy(similarity.masked(cosines) / settings.temperature, targets)

        def get_config_dict(self):
            return {"scale": 1 / settings.temperature, "passages": "frozen"}

    return FrozenPassagesRankingLoss()


def note_passages(folder: Path, base_model: str) -> None:
    """Write into the card of a saved model which model its passages are encoded by."""
    with (folder / "README.md").open("a", encoding="utf-8") as card:
        card.write(CARD.format(base=base_model))
