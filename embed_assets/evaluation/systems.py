"""The models that are scored beside each other."""

from pathlib import Path

from embed_assets.artifacts.store import Artifact
from embed_assets.models.encoders import Encoder
from embed_assets.models.hardware import Compute
from embed_assets.models.settings import BaseModelSettings


def base_and_tuned(
    base_model: BaseModelSettings, checkpoint: Artifact, memos: Path, compute: Compute = Compute()
) -> dict[str, Encoder]:
    """``base``, the model before fine-tuning, and ``tuned``, the checkpoint, both with the same prompts and length."""
    return {
        "base": Encoder(base_model, memos, compute=compute),
        "tuned": Encoder(base_model, memos, str(checkpoint.folder / "model"), compute),
    }


def encoder_of(checkpoint: Artifact, memos: Path, compute: Compute = Compute()) -> Encoder:
    """The encoder of a checkpoint, with the length and the prompts that it was trained with."""
    as_trained = BaseModelSettings.model_validate(checkpoint.manifest["settings"]["base_model"])
    return Encoder(as_trained, memos, str(checkpoint.folder / "model"), compute)
