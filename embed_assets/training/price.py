"""What mining and training would take, told without doing it."""

from pathlib import Path

from embed_assets.artifacts.inputs import Inputs
from embed_assets.models.encoders import count_unencoded
from embed_assets.models.settings import BaseModelSettings, CheckpointSettings
from embed_assets.training.examples import draw_examples
from embed_assets.training.settings import TrainingSettings


def texts_to_encode(inputs: Inputs, memos: Path) -> dict[str, int]:
    """How many queries and passages the base model has not encoded, of those that hard negatives are mined with.

    Args:
        inputs: of triplets.
        memos: folder of the memos.
    """
    queries, passages = inputs.table("qa_pairs", "pairs")["query"], inputs.table("corpus_chunks", "chunks")["passage"]
    return {"texts": count_unencoded(inputs.block(BaseModelSettings), memos, queries, passages)}


def triplets_to_train(inputs: Inputs, memos: Path) -> dict[str, int]:
    """How many triplets an epoch has; nothing where nothing is trained."""
    if inputs.block(CheckpointSettings).name:
        return {}
    examples = draw_examples(inputs.table("triplets", "triplets"), inputs.block(TrainingSettings))
    return {"triplets": len(examples.train)}
