"""The models that are scored beside each other."""

from pathlib import Path

from embed_assets.artifacts.store import Artifact
from embed_assets.models.encoders import Encoder, FirstDimensions
from embed_assets.models.hardware import Compute
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.token_encoder import TokenEncoder
from embed_assets.retrieval.late_interaction import LateInteraction

LATE = "late"


def base_and_tuned(
    base_model: BaseModelSettings, checkpoint: Artifact, memos: Path, compute: Compute = Compute()
) -> dict[str, Encoder]:
    """``base``, the model before fine-tuning, and ``tuned``, the checkpoint, both with the same prompts and length."""
    return {
        "base": Encoder(base_model, memos, compute=compute),
        "tuned": Encoder(base_model, memos, str(checkpoint.folder / "model"), compute),
    }


def first_dimensions(tuned: Encoder, checkpoint: Artifact) -> dict[str, FirstDimensions]:
    """``tuned_64`` and so on: the checkpoint with the first dimensions alone, for each number that it was trained for."""
    dimensions = checkpoint.manifest["settings"].get("training", {}).get("matryoshka_dimensions", ())
    return {f"tuned_{number}": FirstDimensions(tuned, number) for number in dimensions}


def encoder_of(checkpoint: Artifact, memos: Path, compute: Compute = Compute()) -> Encoder:
    """The encoder of a checkpoint, with the length and the prompts that it was trained with."""
    return Encoder(as_trained(checkpoint), memos, str(checkpoint.folder / "model"), compute)


def token_encoder_of(checkpoint: Artifact, compute: Compute = Compute()) -> TokenEncoder:
    """The encoder of the tokens of a checkpoint, with the length and the prompts that it was trained with."""
    return TokenEncoder(as_trained(checkpoint), str(checkpoint.folder / "model"), compute)


def as_trained(checkpoint: Artifact) -> BaseModelSettings:
    """The length and the prompts that a checkpoint was trained with."""
    return BaseModelSettings.model_validate(checkpoint.manifest["settings"]["base_model"])


def late_interaction_of(
    base_model: BaseModelSettings, checkpoint: Artifact, memos: Path, compute: Compute = Compute()
) -> LateInteraction:
    """What compares queries and passages by the tokens of a checkpoint, with the prompts and the length of the base model."""
    return LateInteraction(TokenEncoder(base_model, str(checkpoint.folder / "model"), compute), memos)
