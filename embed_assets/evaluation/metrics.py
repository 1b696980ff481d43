"""The metrics of every score table, as BEIR and ranx name them."""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np

METRICS = [f"{name}@{k}" for name in ("ndcg", "recall") for k in (1, 5, 10, 100)] + ["map@10", "mrr@10"]
HEADLINE = "ndcg@10"
# Stands for what a label points to if there is no such thing any more: the query counts as not answered.
NO_SUCH_UNIT = "(no such unit)"


def evaluate_run(
    relevant: Mapping[str, Mapping[str, int]], found: Mapping[str, Sequence[str]], metrics: Sequence[str] = (HEADLINE,)
) -> dict[str, np.ndarray]:
    """The metrics of each query, in the order of ``relevant``.

    Args:
        relevant: query id → unit → relevance, from relevant_units; a query without any counts as not answered.
        found: for each query, the units that were found, best first.
        metrics: names of metrics.

    Returns:
        Name of the metric → its values, float64, shape (queries,).
    """
    from numba.core.errors import NumbaTypeSafetyWarning
    from ranx import Qrels, Run, evaluate

    warnings.filterwarnings("ignore", category=NumbaTypeSafetyWarning)
    # ranx sorts by score and breaks ties as it likes: ranks keep the order. A query that found nothing needs one entry.
    run = Run.from_dict(
        {name: {unit: -float(rank) for rank, unit in enumerate(found[name])} or {"(nothing found)": 0.0} for name in relevant}
    )
    qrels = Qrels.from_dict({name: dict(units) or {NO_SUCH_UNIT: 1} for name, units in relevant.items()})
    values = evaluate(qrels, run, list(metrics), return_mean=False)
    values = values if len(metrics) > 1 else {metrics[0]: values}
    place = {name: i for i, name in enumerate(qrels.keys())}
    order = [place[name] for name in relevant]
    return {metric: np.asarray(values[metric], dtype=np.float64)[order] for metric in metrics}


def found_units(names: Sequence[str], columns: np.ndarray, units: Sequence[str]) -> dict[str, list[str]]:
    """The names of the units that each query has found, best first, as evaluate_run takes them.

    Args:
        names: ids of the queries.
        columns: places of the units, best first, shape (queries, k); -1 after the last that was found.
        units: their names.
    """
    rows = zip(names, columns.tolist(), strict=True)
    return {name: [units[column] for column in row if column >= 0] for name, row in rows}


def score_first_ten(relevant: Mapping[str, Mapping[str, int]], found: Mapping[str, Sequence[str]]) -> np.ndarray:
    """nDCG@10 of each query, of which only the first ten units are known; the arguments are those of evaluate_run."""
    return evaluate_run(relevant, found)[HEADLINE]
