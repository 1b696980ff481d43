"""How good a model is on dev queries, asked while it is trained."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from embed_assets.evaluation.dev_set import DevSet, dev_ndcg, metrics_of_scores
from embed_assets.evaluation.metrics import HEADLINE
from embed_assets.models.hardware import Compute, require_finite
from embed_assets.models.lengths import PASSAGE, QUERY, Task, as_task
from embed_assets.models.prompts import prompt_of
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.token_projection import PROJECTED, TOKENS, layers_for_tokens, token_vectors
from embed_assets.retrieval.late_interaction import maxsim
from embed_assets.training.settings import Kind

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.evaluation import BaseEvaluator

DEV_METRIC = f"dev_{HEADLINE}"
# Passages whose tokens are compared with those of all queries at once.
AT_ONCE = 64
# Of which all that the model computes lies in memory at once.
TEXTS_IN_A_BLOCK = 256


class ModelInTraining:
    """A model whose weights change: nothing that it encodes is kept.

    Args:
        model: as it is now.
        base_model: with the prompts and the lengths.
        compute: dtype and batch size.
        passages: encodes passages in its place, where it is trained for queries alone.
    """

    def __init__(
        self,
        model: "SentenceTransformer",
        base_model: BaseModelSettings,
        compute: Compute,
        passages: Callable[[Sequence[str]], np.ndarray] | None = None,
    ):
        self.model, self._base_model, self._compute, self._passages = model, base_model, compute, passages

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        return self._encode(texts, QUERY)

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        return self._encode(texts, PASSAGE) if self._passages is None else self._passages(texts)

    def dev_ndcg(self, dev: DevSet, kind: Kind) -> np.ndarray:
        """nDCG@10 on each query of a dev set, by what is trained: the one vector, the tokens, or the mean of the two."""
        if kind == "dense":
            return dev_ndcg(self, dev)
        queries = self._tokens(list(dev.queries.values()), QUERY)
        passages = self.tokens_of_passages(dev.passages["passage"].to_list())
        blocks = [maxsim(queries[1], passages[1][start : start + AT_ONCE]) for start in range(0, len(passages[1]), AT_ONCE)]
        late = metrics_of_scores(np.hstack([block.cpu().numpy() for block in blocks]), dev)[HEADLINE]
        return late if kind == "late" else (late + metrics_of_scores(queries[0] @ passages[0].T, dev)[HEADLINE]) / 2

    def tokens_of_passages(self, texts: Sequence[str]) -> "tuple[np.ndarray, list[torch.Tensor]]":
        """Unit vectors of passages, shape (len(texts), dimensions), and those of the tokens of each, float32."""
        return self._tokens(texts, PASSAGE)

    def _encode(self, texts: Sequence[str], task: Task) -> np.ndarray:
        return self._unit(self._computed(texts, task, convert_to_tensor=True))

    def _tokens(self, texts: Sequence[str], task: Task) -> "tuple[np.ndarray, list[torch.Tensor]]":
        import torch

        vectors, tokens, layers = [], [], layers_for_tokens(self.model)
        for start in range(0, len(texts), TEXTS_IN_A_BLOCK):
            for features in self._computed(texts[start : start + TEXTS_IN_A_BLOCK], task, output_value=None):
                vectors.append(features["sentence_embedding"])
                computed = {name: features[name].float() for name in (TOKENS, PROJECTED) if name in features}
                of_text = token_vectors(computed, layers)[features["attention_mask"].bool()]
                tokens.append(torch.nn.functional.normalize(of_text.float(), dim=1))
        return self._unit(torch.stack(vectors)), tokens

    def _computed(self, texts: Sequence[str], task: Task, **what: Any) -> Any:
        with self._compute.autocast():
            return self.model.encode(
                list(texts),
                prompt=prompt_of(self._base_model, task),
                batch_size=self._compute.batch_size,
                show_progress_bar=False,
                # Else all processes of a training share the texts, and only this one is in autocast.
                device=str(self.model.device),
                **as_task(self._base_model, task),
                **what,
            )

    def _unit(self, vectors: "torch.Tensor") -> np.ndarray:
        import torch

        require_finite(vectors, "the model that is trained", self._compute)
        return torch.nn.functional.normalize(vectors.float(), dim=1).cpu().numpy()


def dev_evaluator(
    dev: DevSet,
    base_model: BaseModelSettings,
    kind: Kind,
    compute: Compute,
    passages: Callable[[Sequence[str]], np.ndarray] | None = None,
) -> "BaseEvaluator":
    """An evaluator for the trainer of sentence-transformers: nDCG@10 on a dev set, by which early stopping goes.

    Args:
        dev: the queries, and what they are searched in.
        base_model: with the prompts.
        kind: what is trained, and judged.
        compute: dtype and batch size.
        passages: as of ModelInTraining.
    """
    from sentence_transformers.base.evaluation import BaseEvaluator

    class DevEvaluator(BaseEvaluator):
        def __init__(self) -> None:
            super().__init__()
            self.primary_metric = DEV_METRIC

        def __call__(self, model: Any, output_path: str | None = None, epoch: int = -1, steps: int = -1) -> dict[str, float]:
            metrics = {DEV_METRIC: float(ModelInTraining(model, base_model, compute, passages).dev_ndcg(dev, kind).mean())}
            self.store_metrics_in_model_card_data(model, metrics, epoch, steps)
            return metrics

    return DevEvaluator()
