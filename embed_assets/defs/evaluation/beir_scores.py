from pathlib import Path

import polars as pl
from dagster import AssetExecutionContext, MaterializeResult

from embed_assets.artifacts.inputs import Inputs
from embed_assets.artifacts.store import HTML_REPORT, REPORT
from embed_assets.defs.resources import GpuResource, WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.evaluation.runs import RerankedSystem
from embed_assets.evaluation.scoring import Contest, LabelledCollection, Scores, score_systems, write_scored
from embed_assets.evaluation.settings import LateInteractionSettings, ScoringSettings
from embed_assets.evaluation.stages import BEIR_SCORES
from embed_assets.evaluation.systems import LATE, base_and_tuned, first_dimensions, late_interaction_of
from embed_assets.lineage import lineage_of
from embed_assets.models.hardware import Compute
from embed_assets.models.settings import BaseModelSettings
from embed_assets.reports.evaluation import write_scores
from embed_assets.reports.html_report import write_html_report
from embed_assets.text.settings import IdentifierSettings

HYBRIDS = {"hybrid_base": "base", "hybrid": "tuned"}
REPORTED = ("checkpoint", "triplets", "evaluation_set", "qa_pairs", "corpus_chunks")
COMPARISONS = (("tuned", "base"), ("tuned", "bm25"), ("hybrid", "bm25"), ("hybrid", "hybrid_base"), ("hybrid", "tuned"))


@stage_asset(BEIR_SCORES, kinds={"ranx"}, gpu=True)
def beir_scores(context: AssetExecutionContext, workspace: WorkspaceResource, gpu: GpuResource) -> MaterializeResult:
    """nDCG, Recall, MAP and MRR of the base and the fine-tuned model, BM25, hybrids and late interaction, with paired tests."""
    place = workspace.open()

    def write(folder: Path, scratch: Path, inputs: Inputs) -> None:
        labelled = LabelledCollection.of(inputs)
        scores = _score(labelled, inputs, place.memos, gpu.compute())
        write_scored(folder, scores)
        before = place.store.latest(
            inputs.stage, inputs.collection, {"evaluation_set": inputs.artifacts["evaluation_set"].digest}
        )
        before_scores = pl.read_parquet(before.folder / "per_query.parquet") if before else None
        write_scores(folder, scores, labelled.labels, before_scores, inputs.block(ScoringSettings))
        made_of = lineage_of(place, inputs.artifacts["checkpoint"], inputs.collection) | dict(inputs.artifacts)
        shown = {name: made_of[name].report for name in REPORTED if name in made_of}
        title = f"{inputs.collection}: {inputs.block(BaseModelSettings).name}, fine-tuned"
        write_html_report(folder / REPORT / HTML_REPORT, title, {inputs.stage: folder / REPORT, **shown})

    return materialize_stage(context, place, BEIR_SCORES, write)


def _score(labelled: LabelledCollection, inputs: Inputs, memos: Path, compute: Compute) -> list[Scores]:
    """The scores of the base and the fine-tuned model, its first dimensions, BM25, hybrids and late interaction."""
    checkpoint, late = inputs.artifacts["checkpoint"], inputs.block(LateInteractionSettings)
    models = (inputs.block(BaseModelSettings), checkpoint, memos, compute)
    reranked = {}
    if late.enabled:
        reranked = {LATE: RerankedSystem("hybrid", late_interaction_of(*models), late.top_k, late.weight)}
    encoders = base_and_tuned(*models)
    short = first_dimensions(encoders["tuned"], checkpoint)
    contest = Contest(
        {**encoders, **short},
        HYBRIDS,
        reranked,
        comparisons=[*COMPARISONS, *((name, it.system) for name, it in reranked.items())],
        variants=[(name, "tuned") for name in short],
    )
    scoring, patterns = inputs.block(ScoringSettings), inputs.block(IdentifierSettings).all_patterns
    return score_systems(labelled, contest, scoring, patterns=patterns, cluster=compute.cluster)
