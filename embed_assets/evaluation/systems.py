"""The models that are scored beside each other."""

from embed_assets.artifacts.store import Artifact
from embed_assets.artifacts.workspace import Workspace
from embed_assets.models.encoders import Encoder
from embed_assets.models.hardware import Compute
from embed_assets.models.settings import BaseModelSettings


def encoder_of(workspace: Workspace, checkpoint: Artifact, compute: Compute = Compute()) -> Encoder:
    """The encoder of a checkpoint, with the length and the prompts that it was trained with."""
    as_trained = BaseModelSettings.model_validate(checkpoint.manifest["settings"]["base_model"])
    return Encoder(as_trained, workspace.memos, str(checkpoint.folder / "model"), compute)
