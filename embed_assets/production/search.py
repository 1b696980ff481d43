"""Search in the published index, with the model that it was made with, with its tokens, and with the re-ranker."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from embed_assets.artifacts.store import MissingArtifactError
from embed_assets.artifacts.workspace import Workspace
from embed_assets.corpus.encodings import composed
from embed_assets.corpus.production_rows import ROW_ID
from embed_assets.evaluation.settings import LateInteractionSettings, RerankingSettings
from embed_assets.models.encoders import Encoder, TextEncoder
from embed_assets.models.onnx import OnnxEncoder, OnnxReranker
from embed_assets.models.rerankers import PairScorer, open_reranker
from embed_assets.production.published import Published, model_of_table
from embed_assets.production.published_index import PublishingError, metadata_of
from embed_assets.production.published_tokens import COLUMN, search_tokens, stored_scores
from embed_assets.production.published_vectors import search_vectors
from embed_assets.retrieval.fusion import DEFAULT_WEIGHT, DEPTH, convex_fusion, fuse_hits, query_weights
from embed_assets.retrieval.late_interaction import LateInteraction
from embed_assets.text.identifiers import IDENTIFIER_PATTERNS
from embed_assets.training.settings import RerankerSettings

if TYPE_CHECKING:
    from lancedb.table import Table

SCORE = "score of the search"
Mode = Literal["dense", "full-text", "hybrid", "late", "tokens", "reranked"]
# What is read of the rows that are found; the vectors stay where they are.
FETCHED = ("id", "document_id", "text", "passage")


@dataclass(frozen=True)
class Hit:
    """One chunk that was found; a higher score is better."""

    chunk_id: str
    document_id: str
    score: float
    text: str


class IndexSearch:
    """Search in the index of a collection that is in production; the models stay loaded from one query to the next.

    Args:
        published: what is in production.
        late_interaction: what late interaction re-orders.
        reranking: what the re-ranker re-orders.
    """

    def __init__(self, published: Published, late_interaction: LateInteractionSettings, reranking: RerankingSettings):
        self._published, self._late_interaction, self._reranking = published, late_interaction, reranking
        self._kept: dict[str, tuple[str, Any]] = {}

    def search(self, query: str, mode: Mode = "hybrid", limit: int = 10) -> list[Hit]:
        """The first hits of a query; arguments and errors as of search_index."""
        if not (query := composed(query)).strip():
            return []
        published = self._published
        reranker = _reranker(published.workspace, published.collection) if mode == "reranked" else None
        table = published.open()
        metadata = metadata_of(table)
        if mode == "full-text":
            return _hits(_full_text(table, query, limit), limit)
        with_tokens = COLUMN in table.schema.names
        if mode == "tokens":
            if not with_tokens:
                raise PublishingError(
                    f"{published.collection}: the index has no tokens: set publishing.tokens to true and materialize "
                    "published_index"
                )
            rows = search_tokens(table, self._query_tokens(metadata, query), limit, FETCHED)
            return _hits([row | {SCORE: 1 - row["_distance"]} for row in rows], limit)
        vector = self._encoder(metadata).encode_queries([query])[0]
        if mode == "dense":
            return _hits(_dense(table, vector, limit, published.settings.rescore), limit)
        patterns = metadata.get("identifier_patterns", IDENTIFIER_PATTERNS)
        weight = query_weights([query], metadata.get("hybrid_weight", DEFAULT_WEIGHT), patterns).item()
        settings = self._late_interaction if mode == "late" else self._reranking
        fetched = max(limit, DEPTH, settings.top_k if mode != "hybrid" else 0)
        dense, words = _dense(table, vector, fetched, published.settings.rescore), _full_text(table, query, fetched)
        rows = _fused(dense, words, weight, metadata.get("cosine_deviation"))
        if mode == "hybrid":
            return _hits(rows, limit)
        first, others = rows[: settings.top_k], rows[settings.top_k :]
        if mode == "late" and with_tokens:
            scores = stored_scores(table, [row[ROW_ID] for row in first], self._query_tokens(metadata, query))
        else:
            scorer = reranker or self._keep("late", metadata, lambda: _late_interaction(published, metadata))
            scores = np.asarray(scorer.score([(query, row["passage"]) for row in first]), dtype=np.float32)
        return _hits(_reordered(first, scores, others, settings.weight), limit)

    def load(self) -> None:
        """Load the model of the index now, and not with the first query; errors as of search."""
        encoder = self._encoder(metadata_of(self._published.open()))
        if isinstance(encoder, Encoder):
            encoder.load()

    def _query_tokens(self, metadata: dict, query: str) -> np.ndarray:
        """Unit vectors of the tokens of a query, float32, shape (tokens, dimensions), from the ONNX export if it gives them."""
        encoder = self._encoder(metadata)
        if isinstance(encoder, OnnxEncoder) and encoder.tokens and not model_of_table(metadata).passages:
            return encoder.encode_query_tokens(query)
        tokens = self._keep("tokens", metadata, lambda: self._published.token_encoder(model_of_table(metadata)))
        return tokens.encode_queries([query])[0].float().cpu().numpy()

    def _encoder(self, metadata: dict) -> TextEncoder:
        return self._keep("encoder", metadata, lambda: _encoder(self._published, metadata))

    def _keep(self, kind: str, metadata: dict, load: Callable[[], Any]) -> Any:
        """A model of the table that is in production now, loaded once."""
        name = metadata["fingerprint"]
        if self._kept.get(kind, ("",))[0] != name:
            self._kept[kind] = (name, load())
        return self._kept[kind][1]


def search_index(
    published: Published,
    query: str,
    late_interaction: LateInteractionSettings,
    reranking: RerankingSettings,
    mode: Mode = "hybrid",
    limit: int = 10,
) -> list[Hit]:
    """Search the index of a collection that is in production, once.

    Args:
        published: what is in production.
        query: what to look for.
        late_interaction: what late interaction re-orders.
        reranking: what the re-ranker re-orders.
        mode: dense (cosine), full-text (BM25), hybrid, which fuses the first 100 of both with the weight that the index was
            scored with (convex_fusion), late and reranked, which re-order the first ``top_k`` of hybrid, as the settings
            blocks ``late_interaction`` and ``reranking`` say, or tokens, which compares the tokens of all chunks
            (search_tokens). late and tokens read the vectors of tokens from the index; late computes them where it has none.
        limit: how many hits.

    Raises:
        ValueError: there is no such mode, or the limit is below 1.
        PublishingError: nothing is published, or no tokens are, and mode is tokens.
        MissingArtifactError: the model of the index is not in the store, or no re-ranker was trained.
    """
    if mode not in get_args(Mode) or limit < 1:
        raise ValueError(f"the mode is one of {', '.join(get_args(Mode))}, and the limit 1 or more; found {mode!r} and {limit!r}")
    return IndexSearch(published, late_interaction, reranking).search(query, mode, limit)


def _dense(table: "Table", vector: np.ndarray, limit: int, rescore: int) -> list[dict]:
    rows = search_vectors(table, vector, limit, FETCHED, rescore).to_pylist()
    return [row | {SCORE: 1 - row["_distance"]} for row in rows]


def _full_text(table: "Table", query: str, limit: int) -> list[dict]:
    from lancedb.query import MatchQuery

    asked = table.search(MatchQuery(query, "passage"), query_type="fts").limit(limit)
    rows = asked.select([*FETCHED, "_score"]).with_row_id(True).to_list()
    return [row | {SCORE: row["_score"]} for row in rows]


def _fused(dense: list[dict], full_text: list[dict], weight: float, deviation: float | None) -> list[dict]:
    rows = {row["id"]: row for row in [*dense, *full_text]}
    first, second = ({row["id"]: row[SCORE] for row in found} for found in (dense, full_text))
    fused = fuse_hits(first, second, weight, deviation=deviation)
    return [rows[name] | {SCORE: score} for name, score in fused.items()]


def _reordered(rows: list[dict], scores: np.ndarray, others: list[dict], weight: float | None) -> list[dict]:
    """The first rows by scores of their own, fused with those they had, and then the others."""
    if not rows:
        return []
    if weight is not None:
        retrieved = np.array([[row[SCORE] for row in rows]], dtype=np.float32)
        scores = convex_fusion(scores[None], retrieved, weight, len(rows))[0]
    rows = [row | {SCORE: value} for row, value in zip(rows, scores.tolist(), strict=True)]
    rows.sort(key=lambda row: -row[SCORE])
    # The score of what was not re-ranked says only that it is lower.
    return rows + [row | {SCORE: rows[-1][SCORE] - place} for place, row in enumerate(others, start=1)]


def _hits(rows: list[dict], limit: int) -> list[Hit]:
    return [Hit(row["id"], row["document_id"], row[SCORE], row["text"]) for row in rows[:limit]]


def _encoder(published: Published, metadata: dict) -> TextEncoder:
    """The model that a table was made with: its ONNX export if there is one, which starts faster than torch."""
    if (exported := published.exported_model(metadata)) is not None:
        return OnnxEncoder(exported.folder)
    return published.encoder(model_of_table(metadata))


def _late_interaction(published: Published, metadata: dict) -> LateInteraction:
    return LateInteraction(published.token_encoder(model_of_table(metadata)), published.workspace.memos)


def _reranker(workspace: Workspace, collection: str) -> PairScorer:
    """The current re-ranker: its ONNX export if there is one, which starts faster than torch."""
    if (trained := workspace.store.find_current("reranker", collection)) is None:
        raise MissingArtifactError(f"{collection}: no re-ranker was trained: embed-assets run {collection} --until onnx_reranker")
    for exported in workspace.store.artifacts("onnx_reranker", collection):
        same_settings = exported.manifest["settings"]["reranker"] == trained.manifest["settings"]["reranker"]
        if exported.manifest["inputs"]["reranker"] == trained.digest and same_settings:
            return OnnxReranker(exported.folder)
    settings = RerankerSettings.model_validate(trained.manifest["settings"]["reranker"])
    return open_reranker(trained.folder / "model", workspace.memos, settings)
