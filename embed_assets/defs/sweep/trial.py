import json
from pathlib import Path

import polars as pl
from dagster import AssetExecutionContext, MaterializeResult

from embed_assets.defs.partitions import collections_and_trials
from embed_assets.defs.resources import GpuResource, WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.defs.training.checkpoint import trainer
from embed_assets.evaluation.evaluation_set import read_evaluation_set
from embed_assets.evaluation.scoring import join_scores, score_systems
from embed_assets.lineage import ingredients
from embed_assets.models.encoders import Encoder
from embed_assets.reports.sweep import write_trial
from embed_assets.sweep.stages import TRIAL
from embed_assets.sweep.trials import EXAMPLES, PER_QUERY, trial_place, with_trial
from embed_assets.training.fine_tuning import training_examples
from embed_assets.training.stages import CHECKPOINT


@stage_asset(TRIAL, group="sweep", kinds={"pytorch"}, gpu=True, automatic=False, partitions=collections_and_trials)
def trial(context: AssetExecutionContext, workspace: WorkspaceResource, gpu: GpuResource) -> MaterializeResult:
    """A checkpoint with some training settings changed, as the partition's name says, and its scores on dev and test."""
    place = workspace.open()
    names = context.partition_key.keys_by_dimension
    collection, name = names["collection"], names["trial"]
    settings = with_trial(place.settings(collection), name)

    def write(folder: Path, scratch: Path) -> None:
        store = place.store
        made_of = ingredients(place, CHECKPOINT, collection, settings=settings)
        train = trainer(place, collection, settings, gpu.compute())
        trained = store.build("checkpoint", collection, made_of, train, make_current=False)
        corpus = store.current("corpus_chunks", collection).folder
        chunks = pl.read_parquet(corpus / "chunks.parquet")
        queries, labels = read_evaluation_set(store.current("evaluation_set", collection).folder, corpus)
        encoders = {
            "base": Encoder(settings.base_model, place.memos, compute=gpu.compute()),
            "tuned": Encoder(settings.base_model, place.memos, str(trained.folder / "model"), gpu.compute()),
        }
        comparisons = [("tuned", "base")]
        of_split = {
            split: score_systems(
                collection, chunks, queries, labels, encoders, settings.scoring, comparisons=comparisons, split=split
            )
            for split in ("dev", "test")
        }
        tables = [join_scores(scores)[0].with_columns(split=pl.lit(split)) for split, scores in of_split.items()]
        pl.concat(tables).write_parquet(folder / PER_QUERY)
        summaries = {split: [score.summary for score in scores] for split, scores in of_split.items()}
        (folder / "scores.json").write_text(json.dumps(summaries, indent=2))
        triplets = pl.read_parquet(store.current("triplets", collection).folder / "triplets.parquet")
        (folder / EXAMPLES).write_text(json.dumps(len(training_examples(triplets, settings.training)[0])))
        write_trial(folder, trained, summaries)

    made_of = ingredients(place, TRIAL, collection, settings=settings)
    return materialize_stage(context, place, TRIAL, write, made_of, trial_place(collection, name))
