from pathlib import Path

from dagster import AssetExecutionContext, MaterializeResult

from embed_assets.artifacts.inputs import Inputs
from embed_assets.defs.resources import GpuResource, WorkspaceResource
from embed_assets.defs.stage_asset import materialize_stage, stage_asset
from embed_assets.evaluation.dev_set import draw_dev_set
from embed_assets.evaluation.evaluation_set import read_evaluation_set
from embed_assets.evaluation.settings import EvaluationSetSettings
from embed_assets.models.encoders import Encoder
from embed_assets.models.lengths import PASSAGE, tokens_of
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.tokenizers import load_tokenizer, tokens_around_passages
from embed_assets.reports.training import write_triplets
from embed_assets.text.settings import IdentifierSettings
from embed_assets.training.checks import check_lengths, check_triplets
from embed_assets.training.joined_triplets import with_own_triplets
from embed_assets.training.leaks import training_pairs
from embed_assets.training.negatives import mine_triplets
from embed_assets.training.settings import NegativesSettings
from embed_assets.training.stages import OWN_TRIPLETS, TRIPLETS


@stage_asset(TRIPLETS, kinds={"polars"}, gpu=True)
def triplets(context: AssetExecutionContext, workspace: WorkspaceResource, gpu: GpuResource) -> MaterializeResult:
    """Training examples: a query, the chunk that answers it, and hard negatives from hybrid retrieval."""
    place = workspace.open()

    def write(folder: Path, scratch: Path, inputs: Inputs) -> None:
        base_model, negatives = inputs.block(BaseModelSettings), inputs.block(NegativesSettings)
        chunks, pairs = inputs.table("corpus_chunks", "chunks"), inputs.table("qa_pairs", "pairs")
        tested, labels = (inputs.table("evaluation_set", name) for name in ("queries", "labels"))
        encoder = Encoder(base_model, place.memos, compute=gpu.compute())
        patterns, splits = inputs.block(IdentifierSettings).all_patterns, inputs.block(EvaluationSetSettings)
        own = place.collection_folder(inputs.collection) if OWN_TRIPLETS in inputs.sources else None
        pairs, passages, notes = with_own_triplets(own, pairs, chunks, negatives, splits)
        pairs, left_out = training_pairs(pairs, chunks, tested, encoder, splits, patterns)
        mined, counts = mine_triplets(pairs, passages, base_model, negatives, place.memos, scratch, gpu.compute(), patterns)
        mined.write_parquet(folder / "triplets.parquet")
        now = read_evaluation_set(inputs.folder("evaluation_set"), inputs.folder("corpus_chunks"))
        if dev := draw_dev_set(*now, chunks, encoder):
            dev.write(folder)
        around = tokens_around_passages(base_model, load_tokenizer(base_model.name, base_model.revision))
        findings = check_triplets(mined, chunks, tested, labels, counts["drawn at random"])
        findings.append(check_lengths(chunks, tokens_of(base_model, PASSAGE), around))
        write_triplets(folder, mined, left_out, counts, findings, notes)

    return materialize_stage(context, place, TRIPLETS, write)
