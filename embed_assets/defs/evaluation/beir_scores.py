import json
from pathlib import Path

import polars as pl
from dagster import AssetExecutionContext, MaterializeResult

from embed_assets.artifacts.store import HTML_REPORT, REPORT
from embed_assets.defs.resources import GpuResource, WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.evaluation.evaluation_set import read_evaluation_set
from embed_assets.evaluation.scoring import join_scores, score_systems
from embed_assets.evaluation.stages import BEIR_SCORES
from embed_assets.models.encoders import Encoder
from embed_assets.reports.evaluation import write_scores
from embed_assets.reports.html_report import write_html_report

HYBRIDS = {"hybrid_base": "base", "hybrid": "tuned"}
REPORTED = ("checkpoint", "triplets", "evaluation_set", "qa_pairs", "corpus_chunks")
COMPARISONS = (("tuned", "base"), ("tuned", "bm25"), ("hybrid", "bm25"), ("hybrid", "hybrid_base"), ("hybrid", "tuned"))


@stage_asset(BEIR_SCORES, group="evaluation", kinds={"ranx"}, gpu=True)
def beir_scores(context: AssetExecutionContext, workspace: WorkspaceResource, gpu: GpuResource) -> MaterializeResult:
    """nDCG, Recall, MAP and MRR of the base model, the fine-tuned one, BM25 and the hybrids, with paired tests."""
    place = workspace.open()
    collection = context.partition_key
    settings = place.settings(collection)

    def write(folder: Path, scratch: Path) -> None:
        corpus = place.store.current("corpus_chunks", collection).folder
        chunks = pl.read_parquet(corpus / "chunks.parquet")
        yardstick = place.store.current("evaluation_set", collection)
        queries, labels = read_evaluation_set(yardstick.folder, corpus)
        model = place.store.current("checkpoint", collection).folder / "model"
        scores = score_systems(
            collection,
            chunks,
            queries,
            labels,
            {
                "base": Encoder(settings.base_model, place.memos, compute=gpu.compute()),
                "tuned": Encoder(settings.base_model, place.memos, str(model), gpu.compute()),
            },
            settings.scoring,
            HYBRIDS,
            COMPARISONS,
        )
        (folder / "scores.json").write_text(json.dumps([score.summary for score in scores], indent=2))
        per_query, runs = join_scores(scores)
        per_query.write_parquet(folder / "per_query.parquet")
        runs.write_parquet(folder / "runs.parquet")
        before = place.store.latest("beir_scores", collection, {"evaluation_set": yardstick.digest})
        before_scores = pl.read_parquet(before.folder / "per_query.parquet") if before else None
        write_scores(folder, scores, labels, before_scores, settings.scoring)
        shown = {name: place.store.current(name, collection).report for name in REPORTED}
        title = f"{collection}: {settings.base_model.name}, fine-tuned"
        write_html_report(folder / REPORT / HTML_REPORT, title, {"beir_scores": folder / REPORT, **shown})

    return materialize_stage(context, place, BEIR_SCORES, write)
