import json
from pathlib import Path
from typing import Any

import polars as pl
from dagster import AssetExecutionContext, MaterializeResult

from embed_assets.artifacts.inputs import Inputs
from embed_assets.defs.partitions import collections_and_trials
from embed_assets.defs.resources import GpuResource, WorkspaceResource
from embed_assets.defs.stage_asset import build_stage, materialize_stage, stage_asset
from embed_assets.defs.training.checkpoint import write_checkpoint
from embed_assets.evaluation.evaluation_set import Split
from embed_assets.evaluation.scoring import Contest, LabelledCollection, join_scores, score_systems, write_summaries
from embed_assets.evaluation.settings import ScoringSettings
from embed_assets.evaluation.systems import base_and_tuned
from embed_assets.lineage import of_checkpoint, resolve_trial
from embed_assets.models.settings import BaseModelSettings
from embed_assets.reports.sweep import write_trial
from embed_assets.sweep.stages import TRIAL
from embed_assets.sweep.trials import EXAMPLES, PER_QUERY
from embed_assets.training.examples import draw_examples
from embed_assets.training.settings import TrainingSettings
from embed_assets.training.stages import CHECKPOINT

SPLITS: tuple[Split, ...] = ("dev", "test")


@stage_asset(TRIAL, kinds={"pytorch"}, gpu=True, automatic=False, partitions=collections_and_trials)
def trial(context: AssetExecutionContext, workspace: WorkspaceResource, gpu: GpuResource) -> MaterializeResult:
    """A checkpoint with some training settings changed, as the partition's name says, and its scores on dev and test."""
    place, compute = workspace.open(), gpu.compute()
    names = context.partition_key.keys_by_dimension

    def train(folder: Path, scratch: Path, inputs: Inputs) -> None:
        write_checkpoint(folder, scratch, inputs, place, compute)

    def write(folder: Path, scratch: Path, inputs: Inputs) -> None:
        trained = build_stage(place, CHECKPOINT, of_checkpoint(inputs), train, settle=False)
        encoders = base_and_tuned(inputs.block(BaseModelSettings), trained, place.memos, compute)
        judged = (
            LabelledCollection.of(inputs),
            Contest(encoders, comparisons=[("tuned", "base")]),
            inputs.block(ScoringSettings),
        )
        scored = {split: score_systems(*judged, split, cluster=compute.cluster) for split in SPLITS}
        tables = [join_scores(scores)[0].with_columns(split=pl.lit(split)) for split, scores in scored.items()]
        pl.concat(tables).write_parquet(folder / PER_QUERY)
        summaries: dict[str, Any] = {split: [score.summary for score in scores] for split, scores in scored.items()}
        write_summaries(folder, summaries)
        examples = draw_examples(inputs.table("triplets", "triplets"), inputs.block(TrainingSettings))
        (folder / EXAMPLES).write_text(json.dumps(len(examples.train)))
        write_trial(folder, trained, summaries)

    return materialize_stage(context, place, TRIAL, write, resolve_trial(place, names["collection"], names["trial"]))
