"""MaxSim of one query and its candidates against sentence-transformers."""

import time
from collections.abc import Callable, Sequence

import polars as pl

from embed_assets.models.hardware import Compute
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.token_encoder import TokenEncoder
from embed_assets.retrieval.late_interaction import maxsim


def benchmark_late_interaction(
    queries: Sequence[str], passages: Sequence[str], base_model: BaseModelSettings, compute: Compute = Compute()
) -> pl.DataFrame:
    """Time of scoring candidates by their tokens, query by query, as search does, against ``mean_maxsim``.

    Each gets the vectors in the form that its encoder gives: float16 here, and what the model computes in there.

    Args:
        queries: each is scored against all passages.
        passages: the candidates of a query.
        base_model: encodes.
        compute: device, dtype and batch size.

    Returns:
        One row each for sentence-transformers, for the same in float32 and for this package: milliseconds for a query, the
        largest difference of a score to that of sentence-transformers in float32, and how many times faster than
        sentence-transformers it was. A last row has the time of encoding the candidates, which search needs besides.
    """
    from sentence_transformers.util.similarity import mean_maxsim

    encoder = TokenEncoder(base_model, compute=compute)
    of_queries = encoder.encode_queries(queries)
    started = time.perf_counter()
    of_passages = encoder.encode_passages(passages)
    encoding = 1000 * (time.perf_counter() - started)
    exact_queries, exact_passages = ([tokens.float() for tokens in side] for side in (of_queries, of_passages))
    own_queries, own_passages = ([tokens.to(compute.torch_dtype()) for tokens in side] for side in (of_queries, of_passages))
    exact = [mean_maxsim([query], exact_passages)[0] for query in exact_queries]
    rows = []
    for system, score, of_each, candidates in (
        ("sentence-transformers", mean_maxsim, own_queries, own_passages),
        ("sentence-transformers, float32", mean_maxsim, exact_queries, exact_passages),
        ("embed_assets", maxsim, of_queries, of_passages),
    ):
        scores, milliseconds = _timed(score, of_each, candidates)
        difference = max(float((found - expected).abs().max()) for found, expected in zip(scores, exact, strict=True))
        rows.append({"system": system, "ms_per_query": milliseconds, "largest_difference": difference})
    rows.append({"system": f"encoding {len(passages)} candidates", "ms_per_query": encoding, "largest_difference": None})
    table = pl.DataFrame(rows)
    ratio = pl.when(pl.col("largest_difference").is_not_null()).then(pl.col("ms_per_query").first() / pl.col("ms_per_query"))
    return table.with_columns(pl.col("ms_per_query").round(2), ratio=ratio.round(2))


def _timed(score: Callable, queries: Sequence, passages: Sequence) -> tuple[list, float]:
    """The scores of each query, and the milliseconds that one took."""
    score([queries[0]], passages)
    started = time.perf_counter()
    scores = [score([query], passages)[0] for query in queries]
    return scores, 1000 * (time.perf_counter() - started) / len(queries)
