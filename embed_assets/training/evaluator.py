"""How good a model is on dev queries, asked while it is trained."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from embed_assets.evaluation.dev_set import DevSet, dev_ndcg
from embed_assets.evaluation.metrics import HEADLINE
from embed_assets.models.hardware import Compute
from embed_assets.models.settings import BaseModelSettings

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.evaluation import BaseEvaluator

DEV_METRIC = f"dev_{HEADLINE}"


class ModelInTraining:
    """A model whose weights change: nothing that it encodes is kept.

    Args:
        model: as it is now.
        base_model: with the prompts.
        compute: dtype and batch size.
    """

    def __init__(self, model: "SentenceTransformer", base_model: BaseModelSettings, compute: Compute):
        self._model, self._base_model, self._compute = model, base_model, compute

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        return self._encode(texts, self._base_model.query_prompt)

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        return self._encode(texts, self._base_model.passage_prompt)

    def _encode(self, texts: Sequence[str], prompt: str | None) -> np.ndarray:
        import torch

        dtype, device = self._compute.torch_dtype(), self._model.device
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            vectors = self._model.encode(
                list(texts),
                prompt=prompt,
                batch_size=self._compute.batch_size,
                convert_to_tensor=True,
                show_progress_bar=False,
                device=str(device),  # else all processes of a training share the texts, and only this one is in autocast
            )
        if not vectors.isfinite().all():
            raise ValueError(f"vectors in {dtype} are not finite: set dtype of the resource 'gpu' to float32")
        return torch.nn.functional.normalize(vectors.float(), dim=1).cpu().numpy()


def dev_evaluator(dev: DevSet, base_model: BaseModelSettings, compute: Compute) -> "BaseEvaluator":
    """An evaluator for the trainer of sentence-transformers: nDCG@10 on a dev set, by which early stopping goes.

    Args:
        dev: the queries, and what they are searched in.
        base_model: with the prompts.
        compute: dtype and batch size.
    """
    from sentence_transformers.base.evaluation import BaseEvaluator

    class DevEvaluator(BaseEvaluator):
        def __init__(self) -> None:
            super().__init__()
            self.primary_metric = DEV_METRIC

        def __call__(self, model: Any, output_path: str | None = None, epoch: int = -1, steps: int = -1) -> dict[str, float]:
            metrics = {DEV_METRIC: float(dev_ndcg(ModelInTraining(model, base_model, compute), dev).mean())}
            self.store_metrics_in_model_card_data(model, metrics, epoch, steps)
            return metrics

    return DevEvaluator()
