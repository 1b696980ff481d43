"""How much the dense model counts beside BM25: chosen for each collection, on dev queries."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from embed_assets.artifacts.blocks import AUTO
from embed_assets.evaluation.evaluation_set import HUMAN, SYNTHETIC
from embed_assets.evaluation.labels import FEWEST_TO_DECIDE, dev_queries_to_decide, query_clusters, relevant_units
from embed_assets.evaluation.metrics import found_units, score_first_ten
from embed_assets.evaluation.runs import Systems
from embed_assets.evaluation.statistics import nearest_within_error
from embed_assets.retrieval.fusion import DEFAULT_WEIGHT
from embed_assets.retrieval.ranking import best_per_group, top_k

GRID = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
FIRST = 10


@dataclass(frozen=True)
class HybridWeight:
    """The weight of a dense system in its hybrid with BM25.

    Args:
        dense: the dense system.
        weight: from 0, BM25 alone, to 1, the dense system alone.
        why: what it was chosen on, in words.
        deviation: of the cosines of the dense system (fusion.cosine_deviation).
    """

    dense: str
    weight: float
    why: str
    deviation: float | None = None


def choose_weights(
    systems: Systems, hybrids: Mapping[str, str], queries: pl.DataFrame, labels: pl.DataFrame, setting: float | str
) -> dict[str, HybridWeight]:
    """The weight of each hybrid system: of GRID, the nearest to .5 that is about as good as the best by nDCG@10 on dev queries.

    The dev queries are human ones where there are enough, else the user's own pairs, else written questions. Whoever
    writes a question has read its passage and takes words from it, which flatters BM25: so written questions may raise the
    weight of the model, but not lower it. Look-ups are BM25's own: a weight that is tuned on them costs up to .05 on what
    people ask. Where there are fewer than FEWEST_TO_DECIDE queries of any other kind, it is DEFAULT_WEIGHT.

    Args:
        systems: the dense systems, and BM25.
        hybrids: name of a hybrid system → its dense system.
        queries: of all splits.
        labels: of the queries, as they apply now.
        setting: AUTO, or a weight that is given.
    """

    def of(dense: str, weight: float, why: str) -> HybridWeight:
        return HybridWeight(dense, weight, why, systems.deviations[dense])

    if setting != AUTO:
        return {name: of(dense, float(setting), "scoring.hybrid_weight") for name, dense in hybrids.items()}
    source, asked = dev_queries_to_decide(queries, labels)
    count = len(asked)
    if not hybrids or source is None or count < FEWEST_TO_DECIDE:
        why = f"{count} {source} dev queries are too few to choose by" if count else "there is no dev query to choose by"
        return {name: of(dense, DEFAULT_WEIGHT, why) for name, dense in hybrids.items()}
    grid = [weight for weight in GRID if source != SYNTHETIC or weight >= DEFAULT_WEIGHT]
    scores = _scores(systems, sorted(set(hybrids.values())), asked, labels, source == HUMAN, grid)
    clusters = query_clusters(asked, labels)
    best = {dense: nearest_within_error(of_weight, clusters, DEFAULT_WEIGHT) for dense, of_weight in scores.items()}
    why = f"chosen on {count} {source} dev queries"
    return {name: of(dense, best[dense], why) for name, dense in hybrids.items()}


def weight_for_search(summaries: Sequence[Mapping[str, Any]], system: str = "hybrid") -> tuple[float, float | None]:
    """How a hybrid system was fused, as the scores of beir_scores name it: search fuses with what was scored.

    Args:
        summaries: content of scores.json.
        system: the hybrid system.

    Returns:
        The weight of the model, and the deviation of its cosines; DEFAULT_WEIGHT and None where the scores name none.
    """
    named = (summary.get("hybrid_weights", {}).get(system) for summary in summaries)
    return next(((float(it["weight"]), it.get("deviation")) for it in named if it), (DEFAULT_WEIGHT, None))


def weights_summary(weights: Mapping[str, HybridWeight]) -> dict[str, dict[str, Any]]:
    """The weights for scores.json."""
    return {name: asdict(weight) for name, weight in weights.items()}


def _scores(
    systems: Systems,
    dense_systems: Sequence[str],
    queries: pl.DataFrame,
    labels: pl.DataFrame,
    by_document: bool,
    grid: Sequence[float],
) -> dict[str, dict[float, np.ndarray]]:
    """Dense system → weight → nDCG@10 of its hybrid on each query."""
    relevant = relevant_units(queries, labels, systems.chunks, by_document)
    units, groups = systems.units(by_document)
    columns: dict[tuple[str, float], list[np.ndarray]] = {(dense, weight): [] for dense in dense_systems for weight in grid}
    for texts, scores in systems.search_blocks(queries, relevant, by_document, FIRST):
        for (dense, weight), found in columns.items():
            fused = systems.fuse(texts, scores, dense, weight)
            found.append(top_k(best_per_group(fused, groups), FIRST))
    names = queries["query_id"].to_list()
    results: dict[str, dict[float, np.ndarray]] = {dense: {} for dense in dense_systems}
    for (dense, weight), found in columns.items():
        results[dense][weight] = score_first_ten(relevant, found_units(names, np.concatenate(found), units))
    return results
