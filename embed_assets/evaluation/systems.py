"""The models that are scored beside each other."""

from pathlib import Path

from embed_assets.artifacts.store import Artifact
from embed_assets.models.encoders import Encoder, FirstDimensions, TextEncoder
from embed_assets.models.hardware import Compute
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.token_encoder import TokenEncoder
from embed_assets.models.two_towers import TwoTowers
from embed_assets.retrieval.late_interaction import LateInteraction

LATE = "late"


def base_and_tuned(
    base_model: BaseModelSettings, checkpoint: Artifact, memos: Path, compute: Compute = Compute()
) -> dict[str, Encoder | TwoTowers]:
    """``base``, the model before fine-tuning, and ``tuned``, the checkpoint, both with the same prompts and length."""
    return {
        "base": Encoder(base_model, memos, compute=compute),
        "tuned": tuned(base_model, checkpoint, memos, compute),
    }


def tuned(base_model: BaseModelSettings, checkpoint: Artifact, memos: Path, compute: Compute = Compute()) -> Encoder | TwoTowers:
    """The encoder of a checkpoint; where it is for queries alone, the base model encodes passages."""
    encoder = Encoder(base_model, memos, str(checkpoint.folder / "model"), compute)
    return TwoTowers(encoder, Encoder(base_model, memos, compute=compute)) if is_for_queries(checkpoint) else encoder


def is_for_queries(checkpoint: Artifact) -> bool:
    """Whether a checkpoint was trained to encode queries alone, and the base model encodes passages."""
    return checkpoint.manifest["settings"].get("training", {}).get("towers") == "query"


def first_dimensions(tuned: TextEncoder, checkpoint: Artifact) -> dict[str, FirstDimensions]:
    """``tuned_64`` and so on: the checkpoint with the first dimensions alone, for each number that it was trained for."""
    dimensions = checkpoint.manifest["settings"].get("training", {}).get("matryoshka_dimensions", ())
    return {f"tuned_{number}": FirstDimensions(tuned, number) for number in dimensions}


def encoder_of(checkpoint: Artifact, memos: Path, compute: Compute = Compute()) -> Encoder | TwoTowers:
    """The encoder of a checkpoint, with the length and the prompts that it was trained with."""
    return tuned(as_trained(checkpoint), checkpoint, memos, compute)


def token_encoder_of(checkpoint: Artifact, compute: Compute = Compute()) -> TokenEncoder:
    """The encoder of the tokens of a checkpoint, with the length and the prompts that it was trained with.

    Where it is for queries alone, that of the base model: its tokens are not in the space of those of passages.
    """
    return TokenEncoder(as_trained(checkpoint), _of_tokens(checkpoint), compute)


def as_trained(checkpoint: Artifact) -> BaseModelSettings:
    """The length and the prompts that a checkpoint was trained with."""
    return BaseModelSettings.model_validate(checkpoint.manifest["settings"]["base_model"])


def late_interaction_of(
    base_model: BaseModelSettings, checkpoint: Artifact, memos: Path, compute: Compute = Compute()
) -> LateInteraction:
    """What compares queries and passages by the tokens of a checkpoint, with the prompts and the length of the base model."""
    return LateInteraction(TokenEncoder(base_model, _of_tokens(checkpoint), compute), memos)


def _of_tokens(checkpoint: Artifact) -> str | None:
    return None if is_for_queries(checkpoint) else str(checkpoint.folder / "model")
