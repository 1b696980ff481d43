"""A fine-tuned model and its base model, made one."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from embed_assets.evaluation.dev_set import DevSet
from embed_assets.evaluation.evaluation_set import SYNTHETIC
from embed_assets.evaluation.statistics import above_error, nearest_within_error
from embed_assets.models.encoders import load_sentence_transformer
from embed_assets.models.settings import BaseModelSettings
from embed_assets.training.evaluator import DEV_METRIC

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)
CANDIDATES = (0.0, 0.3, 0.5, 0.7, 1.0)
# Where no dev query tells which is best.
UNDECIDED = 0.5
# Standard errors by which written questions have to speak against it: they are few, and like what was trained on.
ERRORS_OF_WRITTEN = 2
MERGES_SCHEMA = {"merge": pl.Float64, DEV_METRIC: pl.Float64, "chosen": pl.Boolean}


class Merger:
    """Averages the weights of a fine-tuned model with those of the model that it started from, in place.

    What the base model knew of other matters comes back, at little cost in what was learnt (LM-Cocktail, Xiao et al.,
    arXiv:2311.13534; model soups, Wortsman et al., arXiv:2203.05482).

    Args:
        model: the fine-tuned model.
        base_model: what it started from.
        more: weights that the model started with and the base model does not have, by name.

    Raises:
        ValueError: the two do not have the same weights.
    """

    def __init__(
        self,
        model: "SentenceTransformer",
        base_model: BaseModelSettings,
        more: "Mapping[str, torch.Tensor] | None" = None,
    ):
        self._model = model
        self._tuned = {
            name: tensor.detach().to("cpu", copy=True)
            for name, tensor in model.state_dict().items()
            if tensor.is_floating_point()
        }
        before = load_sentence_transformer(base_model, "cpu").state_dict() | dict(more or {})
        self._base = {name: before[name] for name in self._tuned if name in before}
        if {name: t.shape for name, t in self._tuned.items()} != {name: t.shape for name, t in self._base.items()}:
            raise ValueError(f"training.merge: the fine-tuned model has other weights than {base_model.name}; set it to 1")

    def merge(self, weight: float) -> None:
        """Give the model the average of the two.

        Args:
            weight: of the fine-tuned weights; 0 is the base model, 1 the fine-tuned one.
        """
        import torch

        with torch.no_grad():
            for name, tensor in self._model.state_dict().items():
                if name in self._tuned:
                    # One weight after another goes to a GPU, which averages in a fraction of the time of a CPU.
                    base, tuned = (weights[name].to(tensor.device).float() for weights in (self._base, self._tuned))
                    tensor.copy_(torch.lerp(base, tuned, weight))


def choose_merge(merger: Merger, dev: DevSet, judge: Callable[[DevSet], np.ndarray]) -> pl.DataFrame:
    """Merge with that of CANDIDATES which is the best share of the fine-tuned weights on dev queries.

    Written questions are like those that were trained on, and would take more than people gain by: at most UNDECIDED there.

    Args:
        merger: of the fine-tuned model.
        dev: by what it is judged.
        judge: gives nDCG@10 of the model that is merged, on each query.

    Returns:
        ``merge``, ``dev_ndcg@10`` and ``chosen`` of each candidate.
    """
    judged: dict[float, np.ndarray] = {}
    for weight in CANDIDATES:
        if dev.source == SYNTHETIC and weight > UNDECIDED:
            break
        merger.merge(weight)
        judged[weight] = judge(dev)
        logger.info("merged with %g of the fine-tuned weights: nDCG@10 %.4f on dev queries", weight, judged[weight].mean())
    chosen = best_share(judged, dev.clusters, dev.source)
    if not chosen:
        logger.warning("no share of the fine-tuned weights is better on the dev queries: the checkpoint is the base model")
    merger.merge(chosen)
    rows = [(weight, float(values.mean()), weight == chosen) for weight, values in judged.items()]
    return pl.DataFrame(rows, schema=MERGES_SCHEMA, orient="row")


def best_share(judged: Mapping[float, np.ndarray], clusters: Sequence[Any], source: str) -> float:
    """Of the shares that are about as good as the best, the one nearest to UNDECIDED, and none that is below the base model.

    On queries of people that is a loss, however small, and on written ones, which flatter what was learnt from their like, a
    larger one. Of the shares that people judge, only those that gain by more than a standard error count.
    Written questions take another share than UNDECIDED only if that is worse by ERRORS_OF_WRITTEN of them.

    Args:
        judged: share of the fine-tuned weights → nDCG@10 on each dev query; 0 is the base model.
        clusters: of the queries, as in paired_difference; where all are of one document, each query counts for itself.
        source: of the labels of these queries.
    """
    of_documents = clusters if len(set(clusters)) > 1 else None

    def helps(gains: np.ndarray) -> bool:
        return float(gains.mean()) >= 0 if source == SYNTHETIC else above_error(gains, of_documents)

    counted = {share: values for share, values in judged.items() if not share or helps(values - judged[0.0])}
    return nearest_within_error(counted, of_documents, UNDECIDED, ERRORS_OF_WRITTEN if source == SYNTHETIC else 1)


def chosen_merge(merges: pl.DataFrame) -> float:
    """The weight that choose_merge has taken."""
    return float(merges.filter("chosen")["merge"].item())
