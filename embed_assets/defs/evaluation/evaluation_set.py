from pathlib import Path

import polars as pl
from dagster import AssetExecutionContext, MaterializeResult

from embed_assets.artifacts.inputs import Inputs
from embed_assets.defs.resources import WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.evaluation.evaluation_set import hold_out_queries, without_refused
from embed_assets.evaluation.human_labels import read_human_labels
from embed_assets.evaluation.settings import EvaluationSetSettings
from embed_assets.evaluation.stages import EVALUATION_SET, HELD_OUT_QUERIES
from embed_assets.queries.reviews import refused_of
from embed_assets.reports.evaluation import write_evaluation_set
from embed_assets.text.settings import IdentifierSettings


@stage_asset(EVALUATION_SET, kinds={"polars"})
def evaluation_set(context: AssetExecutionContext, workspace: WorkspaceResource) -> MaterializeResult:
    """The fixed yardstick: human labels, and synthetic queries held out once and then frozen."""
    place = workspace.open()

    def write(folder: Path, scratch: Path, inputs: Inputs) -> None:
        settings = inputs.block(EvaluationSetSettings)

        def hold_out(frozen: Path, scratch: Path) -> None:
            pairs, chunks = inputs.table("qa_pairs", "pairs"), inputs.table("corpus_chunks", "chunks")
            patterns = inputs.block(IdentifierSettings).all_patterns
            queries, labels = hold_out_queries(pairs, chunks, settings, patterns)
            queries.write_parquet(frozen / "queries.parquet")
            labels.write_parquet(frozen / "labels.parquet")

        # Only its own settings make up the fingerprint of the held-out queries: nothing else ever draws new ones.
        made_of = {"settings": settings.model_dump(mode="json")}
        frozen = place.store.build(HELD_OUT_QUERIES, inputs.collection, made_of, hold_out).folder
        documents = inputs.table("corpus_chunks", "documents", ["document_id"])["document_id"].to_list()
        queries, labels, notes = read_human_labels(place.collection_folder(inputs.collection), documents)
        drawn, answers = (pl.read_parquet(frozen / f"{name}.parquet") for name in ("queries", "labels"))
        drawn, answers = without_refused(drawn, answers, refused_of(inputs))
        queries = pl.concat([queries, drawn])
        queries.write_parquet(folder / "queries.parquet")
        pl.concat([labels, answers]).write_parquet(folder / "labels.parquet")
        write_evaluation_set(folder, queries, notes)

    return materialize_stage(context, place, EVALUATION_SET, write)
