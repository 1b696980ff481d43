"""BEIR metrics of several systems on the fixed evaluation set, with tests and intervals."""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from embed_assets.corpus.spans import language_of
from embed_assets.evaluation.evaluation_set import HUMAN, Split
from embed_assets.evaluation.labels import NO_SUCH_UNIT, own_units, relevant_units, tested_queries
from embed_assets.evaluation.metrics import HEADLINE, METRICS
from embed_assets.evaluation.settings import ScoringSettings
from embed_assets.evaluation.statistics import bootstrap_interval, ranx_p_values
from embed_assets.models.encoders import TextEncoder
from embed_assets.models.rerankers import PairScorer
from embed_assets.retrieval.bm25 import Bm25Index
from embed_assets.retrieval.fusion import fuse_with_order, reciprocal_rank_fusion
from embed_assets.retrieval.ranking import QUERIES_IN_A_BLOCK, best_per_group, group_numbers, rerank, top_k

PER_QUERY_SCHEMA = dict.fromkeys(("query_id", "query", "style", "source", "system"), pl.String)
PER_QUERY_SCHEMA |= dict.fromkeys(METRICS, pl.Float64)
RUNS_SCHEMA = {
    "query_id": pl.String,
    "unit": pl.String,
    "rank": pl.Int64,
    "score": pl.Float32,
    "source": pl.String,
    "system": pl.String,
}


@dataclass(frozen=True)
class RerankedSystem:
    """Another system whose first passages are re-ordered.

    Args:
        system: name of the other system.
        reranker: scores the passages.
        top_k: how many passages of each query it scores.
        weight: of its order, fused with that of the other system; None puts it in the place of that.
    """

    system: str
    reranker: PairScorer
    top_k: int
    weight: float | None = None


@dataclass(frozen=True)
class Scores:
    """The scores of all systems on the test queries of one label source.

    ``summary`` is what ``embed-assets scores --json`` prints; ``per_query`` has one row for each query and
    system; ``runs`` has the retrieved units with rank and score; ``qrels`` is query id → unit → relevance.
    """

    summary: dict[str, Any]
    per_query: pl.DataFrame
    runs: pl.DataFrame
    qrels: dict[str, dict[str, int]]


def score_systems(
    collection: str,
    chunks: pl.DataFrame,
    queries: pl.DataFrame,
    labels: pl.DataFrame,
    encoders: Mapping[str, TextEncoder],
    settings: ScoringSettings,
    hybrids: Mapping[str, str] | None = None,
    comparisons: Sequence[tuple[str, str]] = (),
    reranked: Mapping[str, RerankedSystem] | None = None,
    split: Split = "test",
) -> list[Scores]:
    """Score systems on the queries of a split, human labels, the user's own pairs and synthetic ones apart.

    Human labels name documents: a document scores as its best chunk. All others name spans: the
    chunks that share at least half of the shorter of the two with a span are relevant.

    Args:
        collection: name for the summary.
        chunks: the collection's chunks.
        queries: queries of the evaluation set.
        labels: its labels, as they apply to the documents (evaluation_set.current_labels). Queries without a
            label are left out.
        encoders: dense systems by name.
        settings: length of the runs, fusion and statistics.
        hybrids: name of a hybrid system → the dense system that is fused with BM25; BM25 itself is
            scored as ``bm25`` where this is not None.
        comparisons: (system, baseline) pairs that are tested.
        reranked: systems that re-order the chunks of another one, by name.
        split: whose queries are used; choices are made on dev, so that test stays a fair judge.

    Returns:
        One Scores for each label source that has queries, human first.
    """
    passages = chunks["passage"].to_list()
    vectors = {name: encoder.encode_passages(passages) for name, encoder in encoders.items()}
    bm25 = Bm25Index(passages, language_of(chunks)) if hybrids is not None else None
    results = []
    for source, tested in tested_queries(queries, labels, split):
        by_document = source == HUMAN
        groups = group_numbers(chunks["document_id"]) if by_document else np.arange(len(chunks))
        units = (chunks["document_id"].unique(maintain_order=True) if by_document else chunks["chunk_id"]).to_list()
        relevant = relevant_units(tested, labels, chunks, by_document)
        texts = tested["query"].to_list()
        own = own_units(relevant, units) if by_document else {}
        runs = _retrieve(texts, passages, encoders, vectors, bm25, groups, own, settings, hybrids or {}, reranked or {})
        results.append(_evaluate(collection, source, tested, relevant, runs, units, settings, comparisons))
    return results


def join_scores(scores: Sequence[Scores]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The ``per_query`` and the ``runs`` of all label sources; without a source, tables without rows."""
    per_query = pl.concat([pl.DataFrame(schema=PER_QUERY_SCHEMA), *(score.per_query for score in scores)])
    return per_query, pl.concat([pl.DataFrame(schema=RUNS_SCHEMA), *(score.runs for score in scores)])


def score_first_ten(relevant: Mapping[str, Mapping[str, int]], found: Mapping[str, Sequence[str]]) -> float:
    """Mean nDCG@10 of queries of which only the first ten units are known.

    Args:
        relevant: for each query, from relevant_units; a query without any counts as not answered.
        found: for each query, the units that were found, best first.
    """
    from ranx import Qrels, Run, evaluate

    qrels = Qrels.from_dict({name: dict(units) or {NO_SUCH_UNIT: 1} for name, units in relevant.items()})
    return float(evaluate(qrels, Run.from_dict(_ranx_run(found)), HEADLINE))


def _ranx_run(ranked: Mapping[str, Sequence[str]]) -> dict[str, dict[str, float]]:
    """The units that were found for each query, best first, as ranx takes them.

    ranx sorts by score and breaks ties as it likes: ranks keep the order. A query that found nothing needs one
    entry all the same.
    """
    return {
        name: {unit: -float(rank) for rank, unit in enumerate(units)} or {"(nothing found)": 0.0}
        for name, units in ranked.items()
    }


def _retrieve(
    texts: list[str],
    passages: list[str],
    encoders: Mapping[str, TextEncoder],
    vectors: Mapping[str, np.ndarray],
    bm25: Bm25Index | None,
    groups: np.ndarray,
    own: Mapping[int, int],
    settings: ScoringSettings,
    hybrids: Mapping[str, str],
    reranked: Mapping[str, RerankedSystem],
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Units (columns, best first, -1 where none is left) and scores of each system, both of shape (queries, top_k).

    ``own`` are the units that are no hits of a query (labels.own_units).
    """
    query_vectors = {name: encoder.encode_queries(texts) for name, encoder in encoders.items()}
    blocks: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for start in range(0, len(texts), QUERIES_IN_A_BLOCK):
        block = slice(start, start + QUERIES_IN_A_BLOCK)
        of_chunks = {name: query_vectors[name][block] @ vectors[name].T for name in encoders}
        if bm25 is not None:
            of_chunks["bm25"] = bm25.scores(texts[block])
        for row, unit in own.items():
            if start <= row < start + QUERIES_IN_A_BLOCK:
                for values in of_chunks.values():
                    values[row - start, groups == unit] = -np.inf
        of_units = {name: best_per_group(values, groups) for name, values in of_chunks.items()}
        found = _rank(of_units, hybrids, settings.rrf_k, settings.top_k)
        for name, system in reranked.items():
            chunks, _ = _rank(of_chunks, hybrids, settings.rrf_k, max(settings.top_k, system.top_k))[system.system]
            candidates = chunks[:, : system.top_k]
            values = _score_candidates(system.reranker, texts[block], passages, candidates)
            if system.weight is not None:
                values = fuse_with_order(values, system.weight, settings.rrf_k)
            found[name] = rerank(found[system.system][0], candidates, values, groups)
        for name, run in found.items():
            blocks.setdefault(name, []).append(run)
    return {name: tuple(np.concatenate(part) for part in zip(*parts, strict=True)) for name, parts in blocks.items()}


def _rank(
    scores: Mapping[str, np.ndarray], hybrids: Mapping[str, str], rrf_k: int, k: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The first k columns of each system, best first, and their scores; hybrids come after what they are fused from."""
    scores = dict(scores)
    best = {name: top_k(values, k, 0 if name == "bm25" else -np.inf) for name, values in scores.items()}
    for name, dense in hybrids.items():
        scores[name] = reciprocal_rank_fusion([best["bm25"], best[dense]], scores[dense].shape[1], rrf_k)
        best[name] = top_k(scores[name], k, above=0)
    return {name: (columns, np.take_along_axis(scores[name], columns, axis=1)) for name, columns in best.items()}


def _score_candidates(reranker: PairScorer, texts: list[str], passages: list[str], candidates: np.ndarray) -> np.ndarray:
    scores = np.full(candidates.shape, -np.inf, dtype=np.float32)
    found = candidates >= 0
    rows = np.nonzero(found)[0].tolist()
    pairs = [(texts[row], passages[column]) for row, column in zip(rows, candidates[found].tolist(), strict=True)]
    scores[found] = reranker.score(pairs)
    return scores


def _evaluate(
    collection: str,
    source: str,
    queries: pl.DataFrame,
    relevant: dict[str, dict[str, int]],
    runs: dict[str, tuple[np.ndarray, np.ndarray]],
    units: list[str],
    settings: ScoringSettings,
    comparisons: Sequence[tuple[str, str]],
) -> Scores:
    from numba.core.errors import NumbaTypeSafetyWarning
    from ranx import Qrels, Run, evaluate

    warnings.filterwarnings("ignore", category=NumbaTypeSafetyWarning)

    qrels = Qrels.from_dict(relevant)
    names = queries["query_id"].to_list()
    place = {name: i for i, name in enumerate(qrels.keys())}
    order = [place[name] for name in names]
    per_query, ranked, ranx_runs = [], [], {}
    for system, (columns, scores) in runs.items():
        rows = zip(names, columns.tolist(), strict=True)
        found = {name: [units[column] for column in row if column >= 0] for name, row in rows}
        ranx_runs[system] = Run.from_dict(_ranx_run(found), name=system)
        values = evaluate(qrels, ranx_runs[system], METRICS, return_mean=False)
        per_query.append(
            queries.select("query_id", "query", "style").with_columns(
                pl.lit(source).alias("source"),
                pl.lit(system).alias("system"),
                *(pl.Series(metric, np.asarray(values[metric])[order]) for metric in METRICS),
            )
        )
        ranked.append(
            pl.DataFrame(
                {
                    "query_id": np.repeat(names, columns.shape[1]),
                    "unit": [units[column] if column >= 0 else None for column in columns.ravel().tolist()],
                    "rank": np.tile(np.arange(1, columns.shape[1] + 1), len(names)),
                    "score": scores.ravel(),
                }
            )
            .drop_nulls("unit")
            .with_columns(pl.lit(source).alias("source"), pl.lit(system).alias("system"))
        )
    table = pl.concat(per_query)
    means = table.group_by("system", maintain_order=True).agg(pl.col(METRICS).mean())
    p_values = ranx_p_values(qrels, ranx_runs, settings)
    summary = {
        "collection": collection,
        "labels": source,
        "queries": len(names),
        "systems": {row.pop("system"): row for row in means.iter_rows(named=True)},
        "intervals": {system: list(bootstrap_interval(_column(table, system, HEADLINE), settings)) for system in runs},
        "tests": [_test(table, system, baseline, p_values[system, baseline], settings) for system, baseline in comparisons],
        "styles": _slices(table),
    }
    return Scores(summary, table, pl.concat(ranked), relevant)


def _test(table: pl.DataFrame, system: str, baseline: str, p_value: float, settings: ScoringSettings) -> dict[str, Any]:
    differences = _column(table, system, HEADLINE) - _column(table, baseline, HEADLINE)
    low, high = bootstrap_interval(differences, settings)
    return {
        "system": system,
        "baseline": baseline,
        "metric": HEADLINE,
        "difference": float(differences.mean()),
        "low": low,
        "high": high,
        "p_value": p_value,
        "test": settings.significance_test,
    }


def _column(table: pl.DataFrame, system: str, metric: str) -> np.ndarray:
    return table.filter(pl.col("system") == system)[metric].to_numpy()


def _slices(table: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """The headline metric by query style, where the queries have styles."""
    slices: dict[str, dict[str, Any]] = {}
    grouped = table.filter(pl.col("style") != "").group_by("style", "system", maintain_order=True)
    for row in grouped.agg(pl.len().alias("queries"), pl.col(HEADLINE).mean()).iter_rows(named=True):
        slices.setdefault(row["style"], {"queries": row["queries"]})[row["system"]] = row[HEADLINE]
    return slices


def scores_table(summary: Mapping[str, Any]) -> str:
    """The scores of one label source as a Markdown table, followed by its tests in words."""
    columns = ("ndcg@1", "ndcg@10", "recall@10", "recall@100", "map@10", "mrr@10")
    head = ["system", *columns, f"95% of {HEADLINE}"]
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(columns) + 1)}"]
    for system, values in summary["systems"].items():
        low, high = summary["intervals"][system]
        cells = [f"{values[column]:.3f}" for column in columns]
        lines.append(f"| {system} | {' | '.join(cells)} | {low:.3f} – {high:.3f} |")
    tests = [
        f"{test['system']} against {test['baseline']}: {test['difference']:+.3f} {test['metric']} "
        f"(95% {test['low']:+.3f} to {test['high']:+.3f}, p = {test['p_value']:.2g}, {test['test']})"
        for test in summary["tests"]
    ]
    title = f"{summary['collection']}: {summary['queries']} {summary['labels']} queries"
    return "\n".join([title, "", *lines, "", *(f"- {test}" for test in tests)])


def write_scored(folder: Path, scores: Sequence[Scores]) -> None:
    """Write scores.json, per_query.parquet and runs.parquet into an artifact."""
    write_summaries(folder, [score.summary for score in scores])
    per_query, runs = join_scores(scores)
    per_query.write_parquet(folder / "per_query.parquet")
    runs.write_parquet(folder / "runs.parquet")


def write_summaries(folder: Path, summaries: Any) -> None:
    """Write the summaries of scores, as JSON values, to scores.json of an artifact."""
    (folder / "scores.json").write_text(json.dumps(summaries, indent=2), encoding="utf-8")
