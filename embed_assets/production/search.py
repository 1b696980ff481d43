"""Search in the published index, with the model that it was made with, and with the re-ranker of the collection."""

from dataclasses import dataclass
from typing import Literal

from embed_assets.artifacts.store import MissingArtifactError
from embed_assets.artifacts.workspace import Workspace
from embed_assets.evaluation.settings import RerankingSettings
from embed_assets.models.encoders import TextEncoder
from embed_assets.models.onnx import OnnxEncoder, OnnxReranker
from embed_assets.models.rerankers import PairScorer, open_reranker
from embed_assets.production.published import Published
from embed_assets.production.published_index import metadata_of
from embed_assets.retrieval.fusion import fuse_with_order
from embed_assets.training.settings import RerankerSettings

Mode = Literal["dense", "full-text", "hybrid", "reranked"]
FUSED = 100


@dataclass(frozen=True)
class Hit:
    """One chunk that was found; a higher score is better."""

    chunk_id: str
    document_id: str
    score: float
    text: str


def search_index(
    published: Published,
    query: str,
    reranking: RerankingSettings,
    rrf_k: int,
    mode: Mode = "hybrid",
    limit: int = 10,
) -> list[Hit]:
    """Search the index of a collection that is in production.

    Args:
        published: what is in production.
        query: what to look for.
        reranking: what the re-ranker re-orders.
        rrf_k: constant of reciprocal rank fusion.
        mode: dense (cosine), full-text (BM25), hybrid, which fuses the first 100 of both by reciprocal rank, or reranked,
            which re-orders the first ``reranking.top_k`` of hybrid, as the settings block ``reranking`` says.
        limit: how many hits.

    Raises:
        PublishingError: nothing is published.
        MissingArtifactError: the model of the index is not in the store, or no re-ranker was trained.
    """
    reranker = _reranker(published.workspace, published.collection) if mode == "reranked" else None
    table = published.index.open()
    if mode == "full-text":
        found, score = table.search(_literal(query), query_type="fts"), "_score"
    else:
        vector = _encoder(published, metadata_of(table)).encode_queries([query])[0]
        if mode == "dense":
            found, score = table.search(vector).distance_type("cosine"), "_distance"
        else:
            from lancedb.rerankers import RRFReranker

            found = table.search(query_type="hybrid").vector(vector).text(_literal(query)).distance_type("cosine")
            found, score = found.rerank(RRFReranker(K=rrf_k)), "_relevance_score"
    top_k = reranking.top_k
    fetched = {"hybrid": FUSED, "reranked": max(FUSED, top_k)}.get(mode, limit)
    rows = found.limit(max(limit, fetched)).to_list()
    if reranker is not None and rows:
        rows, others = rows[:top_k], rows[top_k:]
        scores = reranker.score([(query, row["passage"]) for row in rows])
        if reranking.weight is not None:
            scores = fuse_with_order(scores[None], reranking.weight, rrf_k)[0]
        rows = [row | {score: value} for row, value in zip(rows, scores.tolist(), strict=True)]
        rows.sort(key=lambda row: -row[score])
        # The score of what was not re-ranked says only that it is lower.
        rows += [row | {score: rows[-1][score] - place} for place, row in enumerate(others, start=1)]
    return [
        Hit(row["id"], row["document_id"], 1 - row[score] if mode == "dense" else row[score], row["text"]) for row in rows[:limit]
    ]


def _literal(query: str):
    from lancedb.query import MatchQuery

    return MatchQuery(query, "passage")


def _encoder(published: Published, metadata: dict) -> TextEncoder:
    """The model that a table was made with: its ONNX export if there is one, which starts faster than torch."""
    if (exported := published.exported_model(metadata)) is not None:
        return OnnxEncoder(exported.folder)
    return published.encoder(metadata)


def _reranker(workspace: Workspace, collection: str) -> PairScorer:
    """The current re-ranker: its ONNX export if there is one, which starts faster than torch."""
    try:
        trained = workspace.store.current("reranker", collection)
    except MissingArtifactError:
        raise MissingArtifactError(
            f"{collection}: no re-ranker was trained: embed-assets run {collection} --until onnx_reranker"
        ) from None
    for exported in workspace.store.artifacts("onnx_reranker", collection):
        same_settings = exported.manifest["settings"]["reranker"] == trained.manifest["settings"]["reranker"]
        if exported.manifest["inputs"]["reranker"] == trained.digest and same_settings:
            return OnnxReranker(exported.folder)
    settings = RerankerSettings.model_validate(trained.manifest["settings"]["reranker"])
    return open_reranker(trained.folder / "model", workspace.memos, settings)
