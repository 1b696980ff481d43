"""Which queries a re-ranker is scored on."""

import hashlib

import polars as pl

from embed_assets.evaluation.settings import RerankingSettings


def draw_queries(queries: pl.DataFrame, labels: pl.DataFrame, settings: RerankingSettings) -> pl.DataFrame:
    """The test queries on which re-ranking is scored: at most ``max_queries`` of each label source that have a label.

    Which ones is up to a hash of their ids, so that a new query changes at most one of them.

    Args:
        queries: queries of the evaluation set.
        labels: its labels, as they apply now.
        settings: how many; 0 is all.
    """
    if not settings.max_queries:
        return queries
    place = pl.col("query_id").map_elements(lambda name: hashlib.sha256(name.encode()).hexdigest(), return_dtype=pl.String)
    labelled = queries.filter((pl.col("split") == "test") & pl.col("query_id").is_in(labels["query_id"].to_list()))
    drawn = labelled.sort(place).group_by("source", maintain_order=True).head(settings.max_queries).select(queries.columns)
    # The weight of the hybrid is chosen on all dev queries.
    return pl.concat([drawn, queries.filter(pl.col("split") == "dev")])
